"""The V4L2 source against cameras that behave as real ones do: badly, away, or as somebody else."""

from __future__ import annotations

import errno
import os
from collections import deque
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from scripted_camera import (
    CONTROLS,
    FPS,
    GREY,
    HEIGHT,
    MODE,
    OPTIONS,
    RAW,
    WEBCAM,
    WIDTH,
    KeepingSink,
    ScriptedDevice,
    Stage,
    lost,
    play,
    stop,
)

from appliance.capture.clock import monotonic_us
from appliance.capture.commands import Commands
from appliance.capture.fault import SourceFault
from appliance.capture.options import MaskOptions
from appliance.capture.sources import open_source
from appliance.capture.sources import v4l2 as source_module
from appliance.capture.v4l2.codec_controls import BITRATE, FLIPS, FORCE_KEY, I_PERIOD
from appliance.capture.v4l2.device import Capability, ControlInfo, ControlType, Offer
from appliance.media.nal import join_annexb
from appliance.wire.pipe.messages import Change, Recover, RequestKeyframe, Rung, SetBitrate


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "RETURN_S", 0.3)
    monkeypatch.setattr(source_module, "WAIT_S", 0.02)


def plug(stage: Stage, steps: list[Any], node: str = "video0", **more: Any) -> str:
    links = {key: more.pop(key) for key in ("by_id", "by_path") if key in more}
    return stage.plug(node, lambda path: ScriptedDevice(path, deque(steps), **more), **links)


def encode(count: int) -> list[bytes]:
    """A camera's own H.264, a keyframe every four pictures."""
    context = av.VideoCodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    context.framerate, context.time_base, context.gop_size = Fraction(FPS), Fraction(1, FPS), 4
    context.options = {"tune": "zerolatency", "x264-params": "repeat-headers=1"}
    frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
    for plane in frame.planes:
        memoryview(plane).cast("B")[:] = bytes([128]) * plane.buffer_size
    units = []
    for number in range(count):
        frame.pts = number
        units += [bytes(packet) for packet in context.encode(frame)]
    return units


def test_source_refuses_what_is_no_device() -> None:
    with pytest.raises(SourceFault, match="v4l2:auto, or v4l2: and what `porthole cameras` shows"):
        open_source("v4l2:video0", OPTIONS)


def test_raw_camera_becomes_h264_of_its_pictures(stage: Stage) -> None:
    white = bytes([235]) * (WIDTH * HEIGHT) + bytes([128]) * (WIDTH * HEIGHT // 2)
    path = plug(stage, [GREY, white, GREY, stop])
    sink = KeepingSink()
    assert play(stage.source(path), sink) == ""
    track = sink.units[0].track
    decoder = av.VideoCodecContext.create("h264", "r")
    sets = (*track.config.sps, *track.config.pps)
    parts = [unit.parts for unit in sink.units]
    parts[0] = (*sets, *parts[0])
    lumas = [
        memoryview(frame.planes[0]).cast("B")[frame.planes[0].line_size * 30 + 30]
        for unit in parts
        for frame in decoder.decode(av.Packet(join_annexb(unit)))
    ] + [memoryview(f.planes[0]).cast("B")[30] for f in decoder.decode(None)]
    assert [round(luma / 10) for luma in lumas] == [13, 24, 13]
    assert sink.states[0]["device"] == path
    assert sink.states[0]["format"] == "YUV 4:2:0 64x64 at 120/s"
    assert "encoded here" in sink.states[0]["why"]
    assert stage.opened[0].held == 0


def test_units_carry_the_drivers_stamps(stage: Stage) -> None:
    path = plug(stage, [GREY, GREY, stop])
    sink = KeepingSink()
    source = stage.source(path)
    at_us = monotonic_us()
    real_open = stage.open

    def open_stamped(path: str) -> ScriptedDevice:
        device = real_open(path)
        device.stamps.extend([at_us - 300_000, at_us - 290_000])
        return device

    source._open_device = open_stamped
    play(source, sink)
    assert [unit.pts_us for unit in sink.units] == [at_us - 300_000, at_us - 290_000]


@pytest.mark.parametrize("stamps", [
    [None, None, None],
    [5, 6, 7],  # counted from the camera's own start
    [1 << 60, 1 << 60, 1 << 60],  # of what is to come
])  # fmt: skip
def test_stamps_of_another_clock_become_the_time_of_arrival(
    stage: Stage, stamps: list[int | None]
) -> None:
    path = plug(stage, [GREY, GREY, GREY, stop])
    sink = KeepingSink()
    source = stage.source(path)
    real_open = stage.open

    def open_stamped(path: str) -> ScriptedDevice:
        device = real_open(path)
        device.stamps.extend(stamps)
        return device

    source._open_device = open_stamped
    before_us = monotonic_us()
    play(source, sink)
    taken = [source._stamp(stamp) for stamp in stamps]
    assert taken == sorted(set(taken))
    assert all(before_us <= unit.pts_us <= monotonic_us() for unit in sink.units)


def test_pictures_that_are_empty_damaged_or_short_are_dropped_and_counted(stage: Stage) -> None:
    path = plug(stage, [GREY, b"", (GREY, True, 0), GREY[:100], GREY, stop])
    sink = KeepingSink()
    play(stage.source(path), sink)
    assert sink.dropped == 3
    assert stage.opened[0].held == 0


def test_pictures_the_driver_left_out_are_counted(stage: Stage) -> None:
    path = plug(stage, [GREY, (GREY, False, 4), (GREY, False, 1 << 30), GREY, stop])
    sink = KeepingSink()
    play(stage.source(path), sink)
    assert sink.dropped == 4


def test_input_error_restarts_the_stream_of_the_same_camera(stage: Stage) -> None:
    broken = OSError(errno.EIO, "Input/output error")
    path = plug(stage, [GREY, broken, broken, GREY, stop])
    sink = KeepingSink()
    play(stage.source(path), sink)
    assert stage.opened[0].log == ["start YU12 64x64", "restart", "restart"]
    assert len(stage.opened) == 1
    assert sink.dropped == 2


def test_input_error_while_a_picture_is_in_hand_restarts_the_stream(stage: Stage) -> None:
    """vivid's driver refuses the buffer that is given back after a fatal error of its queue."""

    def make(path: str) -> ScriptedDevice:
        device = ScriptedDevice(path, deque([GREY, GREY, stop]))
        device.give_back_errors.append(OSError(errno.EIO, "Input/output error"))
        return device

    sink = KeepingSink()
    assert play(stage.source(stage.plug("video0", make)), sink) == ""
    assert stage.opened[0].log == ["start YU12 64x64", "restart"]
    assert len(sink.units) == 2


def test_input_error_without_end_is_a_fault_that_says_what_to_check(stage: Stage) -> None:
    path = plug(stage, [GREY, *([OSError(errno.EIO, "Input/output error")] * 20)])
    words = play(stage.source(path), KeepingSink())
    assert words.startswith("cannot-open: ")
    assert "does not answer" in words
    assert stage.opened[0].is_closed


def test_camera_that_is_unplugged_and_comes_back_under_another_number_goes_on(
    stage: Stage, quick: None
) -> None:
    def replug() -> None:
        stage.unplug("video0")
        plug(stage, [GREY, GREY, stop], node="video7", by_id="usb-Cam_42-video-index0")

    node = plug(stage, [GREY, replug, lost()], by_id="usb-Cam_42-video-index0")
    sink = KeepingSink()
    assert play(stage.source(node), sink) == ""
    first, second = stage.opened
    assert first.is_closed
    assert second.path.endswith("video7")
    assert second.log == ["start YU12 64x64"]
    stamps = [unit.dts_us for unit in sink.units]
    assert stamps == sorted(set(stamps))


def test_camera_that_comes_back_is_awaited(stage: Stage, quick: None) -> None:
    """It returns only after the source has looked for it in vain."""
    looks: list[int] = []

    def unplug() -> None:
        stage.unplug("video0")

    path = plug(stage, [GREY, unplug, lost()])
    source, sink = stage.source(path), KeepingSink()
    pause = source._pause

    def pause_and_replug() -> None:
        looks.append(1)
        if len(looks) == 3:
            plug(stage, [GREY, stop])
        pause()

    source._pause = pause_and_replug  # type: ignore[method-assign]
    assert play(source, sink) == ""
    assert len(looks) == 3
    assert [state["why"] for state in sink.states].count("unplugged, waiting for it") == 1


def test_camera_that_stays_away_ends_the_worker_with_a_sentence(stage: Stage, quick: None) -> None:
    path = plug(stage, [GREY, lambda: stage.unplug("video0"), lost()])
    words = play(stage.source(path), KeepingSink())
    assert words == f"source-lost: {path} was unplugged: plug it in again"


def test_other_camera_in_the_place_of_the_lost_one_is_not_taken(stage: Stage, quick: None) -> None:
    def swap() -> None:
        stage.unplug("video0")
        plug(stage, [GREY, stop], by_id="usb-Other_1-video-index0")

    path = plug(stage, [GREY, swap, lost()], by_id="usb-Cam_42-video-index0")
    words = play(stage.source(path), KeepingSink())
    assert words.startswith("source-lost: ")
    assert len(stage.opened) == 1


def test_appliance_that_asks_for_the_camera_gets_it_closed_and_opened(stage: Stage) -> None:
    commands = Commands()
    steps = [[GREY, lambda: commands.handle(Recover(Rung.CAMERA)), GREY], [GREY, stop]]
    path = stage.plug("video0", lambda path: ScriptedDevice(path, deque(steps.pop(0))))
    assert play(stage.source(path), KeepingSink(), commands) == ""
    assert [device.is_closed for device in stage.opened] == [True, True]


def test_silent_camera_is_a_fault_of_its_own(
    stage: Stage, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "SILENCE_US", 100_000)
    path = plug(stage, [GREY])
    words = play(stage.source(path), KeepingSink())
    assert words.startswith(f"source-lost: {path} is there but gives no picture: check its cable")


def test_commands_are_obeyed_while_no_picture_comes(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change wakes a source that waits; this would take ten minutes otherwise."""
    monkeypatch.setattr(source_module, "WAIT_S", 600.0)
    commands, sink = Commands(), KeepingSink()
    path = plug(stage, [GREY], controls=CONTROLS)
    source = stage.source(path)

    def answer(serial: int, error: str = "") -> None:
        sink.answers[serial] = error
        stop()

    sink.answer = answer  # type: ignore[method-assign]
    sink.on_write = lambda count: ask(commands)
    play(source, sink, commands)
    assert sink.answers == {7: ""}
    assert stage.opened[0].values[1] == 12


def ask(commands: Commands) -> None:
    from threading import Timer

    Timer(0.05, commands.handle, [Change(7, {"controls": {"brightness": 12}})]).start()


def test_controls_are_set_again_on_a_camera_that_came_back(stage: Stage, quick: None) -> None:
    commands = Commands()

    def change() -> None:
        commands.handle(Change(1, {"controls": {"brightness": -5}}))

    def replug() -> None:
        stage.unplug("video0")
        plug(stage, [GREY, stop], controls=CONTROLS)

    path = plug(stage, [GREY, change, GREY, replug, lost()], controls=CONTROLS)
    options = replace(OPTIONS, controls={"exposure_time_absolute": 300})
    sink = KeepingSink()
    play(stage.source(path, options), sink, commands)
    assert sink.answers == {1: ""}
    assert stage.opened[1].values == {1: -5, 3: 300}


def test_configured_control_that_is_refused_is_told_and_the_others_are_set(stage: Stage) -> None:
    path = plug(stage, [GREY, stop], controls=CONTROLS)
    options = replace(OPTIONS, controls={"brightness": 9999, "exposure_time_absolute": 300})
    sink = KeepingSink()
    play(stage.source(path, options), sink)
    assert stage.opened[0].values == {3: 300}
    assert "brightness is a whole number from -64 to 64" in sink.states[0]["why"]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EBUSY, "is used by another program"),
        (errno.ENOSPC, "no bandwidth left"),
        (errno.EIO, "does not answer"),
        (errno.ENODEV, "was unplugged"),
        (errno.EINVAL, "does not stream as a camera does"),
        (errno.EACCES, "group video"),
        (errno.EPIPE, "through picamera2:0"),
        (errno.ENOMEM, "cannot be used"),
    ],
)
def test_camera_that_does_not_start_is_a_fault_and_closed(
    stage: Stage, number: int, words: str
) -> None:
    def make(path: str) -> ScriptedDevice:
        device = ScriptedDevice(path, deque())
        device.start_error = OSError(number, os.strerror(number))
        return device

    path = stage.plug("video0", make)
    assert words in play(stage.source(path), KeepingSink())
    assert stage.opened[0].is_closed


def test_camera_that_is_not_there_is_told_with_the_command_that_lists_them(stage: Stage) -> None:
    words = play(stage.source(str(stage.dev / "video9")), KeepingSink())
    assert words.startswith("source-missing: ")
    assert "`porthole cameras`" in words


def test_device_that_is_no_camera_is_refused(stage: Stage) -> None:
    codec = Capability("bcm2835-codec", "bcm2835-codec-decode", "platform", 0x04208000)
    path = plug(stage, [], capability=codec)
    assert "is no camera" in play(stage.source(path), KeepingSink())
    assert stage.opened[0].is_closed


# -- auto ------------------------------------------------------------------------------------------


def test_auto_takes_the_camera_and_not_what_only_looks_like_one(stage: Stage) -> None:
    flags = WEBCAM.flags
    plug(stage, [], "video0", capability=Capability("bcm2835-isp", "bcm2835-isp", "p", flags))
    plug(stage, [], "video1", capability=Capability("unicam", "unicam", "p", flags))
    plug(stage, [], "video2", capability=Capability("uvcvideo", "Meta", "u", 0x04A00000))
    plug(stage, [], "video3", offers=[Offer("RG10", "Bayer")])
    expected = plug(stage, [GREY, stop], "video4")
    plug(stage, [GREY, stop], "video5")
    sink = KeepingSink()
    assert play(stage.source("auto"), sink) == ""
    assert sink.states[0]["device"] == expected
    assert all(device.is_closed for device in stage.opened)


def test_auto_takes_the_same_camera_whatever_the_numbers_are(stage: Stage) -> None:
    plug(stage, [GREY, stop], "video0", by_path="platform-usb-0:1.4:1.0-video-index0")
    plug(stage, [GREY, stop], "video2", by_path="platform-usb-0:1.2:1.0-video-index0")
    sink = KeepingSink()
    play(stage.source("auto"), sink)
    assert sink.states[0]["device"].endswith("1.2:1.0-video-index0")


def test_auto_without_a_camera_says_what_to_do(stage: Stage) -> None:
    words = play(stage.source("auto"), KeepingSink())
    assert words.startswith("source-missing: no camera is found")
    assert "picamera2:0" in words


def test_auto_without_permission_says_so(stage: Stage) -> None:
    def deny(path: str) -> ScriptedDevice:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    stage.plug("video0", deny)
    assert "group video" in play(stage.source("auto"), KeepingSink())


# -- a camera that encodes itself ------------------------------------------------------------------

H264 = [Offer("H264", "H.264", (MODE,)), *RAW]
CODEC = [
    ControlInfo(BITRATE, "Video Bitrate", ControlType.INT, 100_000, 5_000_000, 1, 1_000_000),
    ControlInfo(I_PERIOD, "H264 I-Frame Period", ControlType.INT, 1, 600, 1, 60),
    ControlInfo(FORCE_KEY, "Force Key Frame", ControlType.BUTTON),
]
PASSING = replace(OPTIONS, encoder="auto")


def test_h264_of_the_camera_is_passed_on_as_it_is(stage: Stage) -> None:
    coded = encode(6)
    path = plug(stage, [*coded, stop], offers=H264)
    sink = KeepingSink()
    play(stage.source(path, PASSING), sink)
    assert [unit.key for unit in sink.units] == [True, False, False, False, True, False]
    assert sink.states[-1]["encoder"] == "camera"
    for unit, data in zip(sink.units, coded, strict=True):
        assert data.endswith(bytes(unit.parts[-1]))


def test_h264_after_a_replug_begins_at_a_keyframe(stage: Stage, quick: None) -> None:
    coded = encode(8)

    def replug() -> None:
        stage.unplug("video0")
        plug(stage, [*coded[2:6], stop], offers=H264)

    path = plug(stage, [*coded[:2], replug, lost()], offers=H264)
    sink = KeepingSink()
    play(stage.source(path, PASSING), sink)
    assert [unit.key for unit in sink.units] == [True, False, True, False]


def test_encoder_in_the_camera_is_told_rate_and_keyframes(stage: Stage) -> None:
    commands = Commands()

    def ask_both() -> None:
        commands.handle(SetBitrate(2_000_000))
        commands.handle(RequestKeyframe())

    def change() -> None:
        commands.handle(Change(1, {"bitrate": 9_000_000}))
        commands.handle(Change(2, {"keyframe": 500_000}))
        commands.handle(Change(3, {"text": "hello"}))

    coded = encode(4)
    path = plug(
        stage,
        [coded[0], ask_both, coded[1], change, coded[2], stop],
        offers=H264,
        controls=CODEC,
    )
    sink = KeepingSink()
    options = replace(PASSING, bitrate_bps=700_000, keyframe_us=2_000_000)
    play(stage.source(path, options), sink, commands)
    written = stage.opened[0].written
    assert written[:2] == [(BITRATE, 700_000), (I_PERIOD, 240)]
    assert (BITRATE, 2_000_000) in written
    assert (FORCE_KEY, 1) in written
    assert (I_PERIOD, 60) in written
    assert "100000 to 5000000" in sink.answers[1]
    assert sink.answers[2] == ""
    assert "cannot be told" in sink.answers[3]


@pytest.mark.parametrize(
    "options",
    [
        replace(PASSING, masks=(MaskOptions(0, 0, 0.5, 0.5),)),
        replace(PASSING, encoder="libx264"),
        replace(PASSING, rotation=90, rotate="picture"),
    ],
)
def test_settings_that_need_the_pictures_make_us_encode(stage: Stage, options: Any) -> None:
    path = plug(stage, [GREY, stop], offers=H264)
    sink = KeepingSink()
    play(stage.source(path, options), sink)
    assert stage.opened[0].log == ["start YU12 64x64"]


def test_masks_are_not_given_up_for_the_camera_s_own_encoder(stage: Stage) -> None:
    path = plug(stage, [*encode(1), stop], offers=H264)
    sink = KeepingSink()
    hiding = replace(PASSING, encoder="camera", masks=(MaskOptions(0, 0, 0.5, 0.5),))
    assert "cannot hide what is masked" in play(stage.source(path, hiding), sink)
    assert sink.tracks == []


def test_camera_that_can_mirror_turns_the_picture_itself(stage: Stage) -> None:
    flips = [ControlInfo(number, f"Flip {number}", ControlType.BOOL, 0, 1) for number in FLIPS]
    path = plug(stage, [*encode(1), stop], offers=H264, controls=flips)
    sink = KeepingSink()
    play(stage.source(path, replace(PASSING, rotation=180, rotate="picture")), sink)
    assert stage.opened[0].values == {FLIPS[0]: 1, FLIPS[1]: 1}
    assert sink.tracks[0][0].rotation_deg == 0
    assert sink.states[0]["encoder"] == "camera"
