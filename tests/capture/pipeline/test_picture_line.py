"""The pipeline for raw pictures: every command, without a gap and without a lost picture."""

from __future__ import annotations

import logging
from itertools import pairwise
from typing import Any

import av
import pytest
from pipeline_fixture import Rig, grey, pixels
from worker_fixture import decode_video, luma

from appliance.capture.board import Board, Profile
from appliance.capture.fault import ChangeRefused, SourceFault
from appliance.capture.options import MaskOptions, OverlayOptions, SubOptions
from appliance.capture.pipeline import console, encoding, line, stills
from appliance.media.aac import AacConfig
from appliance.media.track import Track
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.messages import (
    AUDIO_ID,
    SUB_VIDEO_ID,
    VIDEO_ID,
    Recover,
    RequestKeyframe,
    Rung,
    SetBitrate,
)

SOUND = Track(AUDIO_ID, AacConfig.lc(48_000, 1), 48_000)
SUB = SubOptions(width=128, height=72, fps=15, bitrate_bps=100_000)
STEP_US = 1_000_000 // 30
QUIET_BOARD = Board("", 4, None)


@pytest.fixture(autouse=True)
def _held_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture is as new as it is fed, on however busy a machine."""
    monkeypatch.setattr(line, "LATE_US", 1 << 60)


class HeldTime:
    """A module's clock, which moves when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
        self.now_us = 0
        monkeypatch.setattr(module, "monotonic_us", lambda: self.now_us)


def sound_unit(at_us: int) -> AccessUnit:
    return AccessUnit(SOUND, at_us, at_us, True, (b"x",))


def is_continuous(units: list[AccessUnit], step_us: int = STEP_US) -> bool:
    return all(after.dts_us - before.dts_us == step_us for before, after in pairwise(units))


def test_pipeline_makes_a_unit_of_each_picture_with_its_time() -> None:
    rig = Rig()
    rig.feed(10)
    assert [unit.dts_us for unit in rig.sink.main] == [
        1_000_000_000 + n * STEP_US for n in range(10)
    ]
    assert [unit.key for unit in rig.sink.main] == [True] + [False] * 9
    assert rig.sink.tracks == [(rig.sink.main[0].track,)]
    assert rig.sink.events[0] == rig.sink.tracks[0]
    config: Any = rig.sink.main[0].track.config
    assert (config.width_px, config.height_px, config.fps) == (256, 144, 30)


def test_pipeline_describes_sound_with_the_picture_and_drops_what_was_before() -> None:
    rig = Rig(audio="auto")
    rig.pipeline.set_audio_track(SOUND)
    rig.pipeline.write_audio([sound_unit(1)])
    assert rig.sink.events == []
    rig.feed(1)
    rig.pipeline.write_audio([sound_unit(2)])
    assert [[track.id for track in tracks] for tracks in rig.sink.tracks] == [[VIDEO_ID, AUDIO_ID]]
    assert [unit.dts_us for unit in rig.sink.sound] == [2]


def test_pipeline_that_awaits_sound_makes_no_picture_before_it_is_known() -> None:
    rig = Rig(audio="auto", awaits_audio=True)
    rig.feed(3)
    assert rig.sink.events == []
    rig.pipeline.set_audio_track(None)
    rig.feed(1)
    assert [len(tracks) for tracks in rig.sink.tracks] == [1]
    assert rig.sink.main[0].key


def test_pipeline_awaits_sound_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(audio="auto", awaits_audio=True)
    time = HeldTime(monkeypatch, line)
    for time.now_us in range(0, 1_000_000, 100_000):
        rig.feed(1)
    assert 1 <= len(rig.sink.main) <= 4
    rig.pipeline.set_audio_track(SOUND)  # comes late, is told nevertheless
    assert [len(tracks) for tracks in rig.sink.tracks] == [1, 2]


def test_pipeline_sound_that_goes_is_taken_back() -> None:
    rig = Rig(audio="auto")
    rig.pipeline.set_audio_track(SOUND)
    rig.feed(1)
    rig.pipeline.set_audio_track(None)
    rig.pipeline.write_audio([sound_unit(5)])
    assert [len(tracks) for tracks in rig.sink.tracks] == [2, 1]
    assert rig.sink.sound == []


# -- changes --------------------------------------------------------------------------------------


def test_change_of_bitrate_loses_no_picture_and_tells_no_new_track() -> None:
    rig = Rig()
    rig.feed(5)
    assert rig.change(bitrate=400_000) == ""
    rig.feed(5)
    rig.commands.handle(SetBitrate(500_000))
    rig.feed(5)
    assert len(rig.sink.main) == 15
    assert is_continuous(rig.sink.main)
    assert len(rig.sink.tracks) == 1
    assert len({id(unit.track) for unit in rig.sink.main}) == 1
    assert [n for n, unit in enumerate(rig.sink.main) if unit.key] == [0, 5, 10]
    assert rig.sink.states[-1]["bitrate_bps"] == 500_000
    assert len(decode_video(rig.sink.main)) == 15


def test_change_to_the_bitrate_there_is_costs_no_keyframe() -> None:
    rig = Rig()
    rig.feed(3)
    assert rig.change(bitrate=200_000) == ""
    rig.feed(3)
    assert sum(unit.key for unit in rig.sink.main) == 1


def test_change_of_fps_thins_pictures_on_one_timeline() -> None:
    rig = Rig()
    rig.feed(30)
    assert rig.change(fps=10) == ""
    rig.feed(60)
    assert rig.change(fps=30) == ""
    rig.feed(30)
    assert len(rig.sink.main) == pytest.approx(80, abs=2)
    steps = [after.dts_us - before.dts_us for before, after in pairwise(rig.sink.main)]
    assert set(steps) <= {STEP_US, 2 * STEP_US, 3 * STEP_US}
    assert len(rig.sink.tracks) == 1
    assert rig.sink.dropped == 0  # left out on purpose is not lost
    assert len(decode_video(rig.sink.main)) == len(rig.sink.main)


def test_pace_of_the_options_is_where_the_rate_begins_and_not_where_it_ends() -> None:
    rig = Rig(pace=10)
    rig.feed(60)
    assert len(rig.sink.main) == pytest.approx(20, abs=2)
    assert rig.change(fps=30) == ""
    rig.feed(30)
    assert len(rig.sink.main) == pytest.approx(50, abs=2)
    assert rig.sink.states[-1]["fps"] == 30
    assert len(rig.sink.tracks) == 1


def test_change_of_keyframe_interval_moves_the_keyframes() -> None:
    rig = Rig()
    rig.feed(30)
    assert rig.change(keyframe=500_000) == ""
    rig.feed(60)
    keys = [n for n, unit in enumerate(rig.sink.main) if unit.key]
    assert keys == [0, 30, 45, 60, 75]


def test_keyframe_request_makes_one() -> None:
    rig = Rig()
    rig.feed(5)
    rig.commands.handle(RequestKeyframe())
    rig.feed(5)
    assert [n for n, unit in enumerate(rig.sink.main) if unit.key] == [0, 5]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"fps": 31}, "fps = 31: give 1 to 30"),
        ({"fps": 0}, "give 1 to 30"),
        ({"fps": 12.5}, "give 1 to 30"),
        ({"fps": True}, "give 1 to 30"),
        ({"bitrate": 5}, "give 10000 to 200000000"),
        ({"bitrate": "2M"}, "give 10000"),
        ({"keyframe": 1}, "give 100000 to 60000000"),
        ({"text": "x" * 201}, "at most 200"),
        ({"text": 3}, "at most 200"),
        ({"overlay": 1}, "true or false"),
        ({"sub": True}, "no second stream"),
        ({"sub": "yes"}, "true or false"),
        ({"controls": {"gain": 3}}, "no controls"),
        ({"controls": [1]}, "an object"),
        ({"controls": {"a": {}}}, "an object"),
        ({"colour": 3}, "'colour' cannot be changed; there are bitrate"),
        ({"x" * 5000: 3}, "cannot be changed"),
    ],
)
def test_change_that_cannot_be_is_refused_with_what_can(values: dict[str, Any], words: str) -> None:
    rig = Rig()
    rig.feed(1)
    answer = rig.change(**({"bitrate": 300_000, "text": "no"} | values))
    assert words in answer
    assert len(answer) < 300
    rig.feed(2)
    assert rig.sink.states[-1]["bitrate_bps"] == 200_000  # all or nothing
    assert rig.sink.states[-1]["overlay"]["text"] == ""
    assert sum(unit.key for unit in rig.sink.main) == 1


class Knob:
    """Controls of a device with one that goes to ten."""

    def __init__(self) -> None:
        self.value = 1

    def describe(self) -> dict[str, dict[str, Any]]:
        return {"gain": {"type": "int", "min": 0, "max": 10, "value": self.value}}

    def set(self, values: Any) -> None:
        for name, value in values.items():
            if name != "gain" or not 0 <= value <= 10:
                raise ChangeRefused("gain: give 0 to 10")
        self.value = values["gain"]


def test_change_of_controls_reaches_the_device_and_the_state() -> None:
    rig, knob = Rig(), Knob()
    rig.pipeline.set_device({"device": "front", "driver": "knob"}, knob)
    rig.feed(1)
    assert rig.change(controls={"gain": 7}) == ""
    assert knob.value == 7
    assert rig.sink.states[-1]["controls"]["gain"]["value"] == 7
    assert rig.sink.states[-1]["driver"] == "knob"
    why = rig.sink.states[-1]["why"]
    assert why == "libx264, as this machine has no hardware encoder that works"
    rig.pipeline.set_device({"device": "front", "why": "unplugged"}, knob)
    rig.feed(1)
    assert rig.sink.states[-1]["why"] == "unplugged"
    assert rig.change(controls={"gain": 70}, text="hi") == "gain: give 0 to 10"
    assert rig.sink.states[-1]["overlay"]["text"] == ""


def test_state_is_told_once_a_second_at_most_and_after_each_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = Rig()
    time = HeldTime(monkeypatch, console)
    rig.pipeline.set_device({"device": "x"})
    for _ in range(300):
        time.now_us += STEP_US
        rig.feed(1)
    assert 2 <= len(rig.sink.states) <= 11
    told = len(rig.sink.states)
    rig.change(text="a")
    assert len(rig.sink.states) == told + 1
    assert {"fps", "measured_fps", "encoder", "width", "ladder", "masks"} <= rig.sink.states[
        -1
    ].keys()


# -- words, masks, the second stream --------------------------------------------------------------

WORDS = OverlayOptions(shown=True, name="front", size_percent=20.0)


def brightest(frame: av.VideoFrame) -> int:
    return max(max(row) for row in pixels(frame))


def test_overlay_is_on_both_sizes_and_goes_when_told() -> None:
    rig = Rig(overlay=WORDS, sub=SUB, bitrate_bps=2_000_000)
    assert rig.change(sub=True) == ""
    rig.feed(10)
    assert rig.change(overlay=False) == ""
    rig.feed(20)
    for units in (rig.sink.main, rig.sink.sub):
        frames = decode_video(units)
        assert brightest(frames[0]) > 180
        assert brightest(frames[-1]) < 140


def test_overlay_does_not_stay_on_pictures_their_source_draws_on_again() -> None:
    rig = Rig(overlay=WORDS, bitrate_bps=2_000_000)
    frame = grey(256, 144)
    rig.feed(3, frame, keep=True)
    assert brightest(frame) == 120
    assert brightest(decode_video(rig.sink.main)[-1]) > 180


def test_mask_is_on_every_size_and_every_still() -> None:
    mask = MaskOptions(0.25, 0.25, 0.5, 0.5)
    rig = Rig(masks=(mask,), sub=SUB, bitrate_bps=2_000_000)
    rig.change(sub=True)
    rig.ask(width=0, quality=95)
    rig.ask(width=128, quality=95)
    rig.feed(10)
    wait_for(lambda: len(rig.sink.pictures) == 2)
    views = [decode_video(rig.sink.main)[-1], decode_video(rig.sink.sub)[-1]]
    decoder = av.VideoCodecContext.create("mjpeg", "r")
    for picture in rig.sink.pictures:
        assert picture.error == ""
        views += decoder.decode(av.Packet(picture.jpeg))
    assert [view.width for view in views] == [256, 128, 256, 128]
    for view in views:
        at = luma(view)
        middle = at(view.width // 2, view.height // 2)
        assert middle < 24, view
        assert at(4, 4) > 100


def wait_for(condition: Any) -> None:
    """What a thread is about to do."""
    import time

    end_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.005)


def test_second_stream_is_made_only_while_wanted() -> None:
    rig = Rig(sub=SUB)
    rig.feed(10)
    assert rig.sink.sub == []
    rig.change(sub=True)
    rig.feed(30)
    made = len(rig.sink.sub)
    assert made == pytest.approx(15, abs=1)
    assert rig.sink.sub[0].key
    config: Any = rig.sink.sub[0].track.config
    assert (config.width_px, config.height_px) == (128, 72)
    assert [[track.id for track in tracks] for tracks in rig.sink.tracks] == [
        [VIDEO_ID], [VIDEO_ID, SUB_VIDEO_ID],
    ]  # fmt: skip
    assert rig.sink.tracks[0][0] is rig.sink.tracks[1][0]  # nothing is new for the first stream
    rig.change(sub=False)
    rig.feed(10)
    assert len(rig.sink.sub) == made
    rig.change(sub=True)
    rig.feed(4)
    assert rig.sink.sub[made].key
    assert len(rig.sink.tracks) == 2
    assert rig.sink.states[-1]["sub"]["active"] is True
    assert len(rig.sink.main) == 54


def test_rotation_left_to_viewers_is_told_in_the_track() -> None:
    rig = Rig(rotation=270, sub=SUB)
    rig.change(sub=True)
    rig.feed(3)
    assert {unit.track.rotation_deg for unit in rig.sink.units} == {270}


# -- stills ---------------------------------------------------------------------------------------


def test_still_is_of_a_picture_of_the_stream_with_its_time() -> None:
    rig = Rig()
    rig.ask()
    rig.ask(width=64, quality=30)
    rig.feed(5)
    wait_for(lambda: len(rig.sink.pictures) == 2)
    first, second = sorted(rig.sink.pictures, key=lambda picture: picture.serial)
    assert (first.width, first.height, second.width) == (256, 144, 64)
    assert first.time_us in {unit.dts_us for unit in rig.sink.main}
    assert first.jpeg[:3] == b"\xff\xd8\xff"
    assert len(second.jpeg) < len(first.jpeg)


def test_still_nobody_gives_a_picture_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    time = HeldTime(monkeypatch, console)
    rig.ask()
    for time.now_us in (0, 2_900_000, 3_100_000):
        assert rig.sink.pictures == []
        rig.pipeline.obey()
    (picture,) = rig.sink.pictures
    assert "gave no picture for 3 s" in picture.error


def test_still_is_of_memory_of_its_own_where_the_source_draws_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The thread may begin when the next picture has been drawn already."""
    views: list[stills.View] = []
    monkeypatch.setattr(stills.StillDesk, "offer", lambda desk, make: views.append(make()))
    rig = Rig()
    frame = grey(256, 144)
    rig.ask()
    rig.feed(1, frame, keep=True)
    frame.planes[0].update(bytes(frame.planes[0].buffer_size))
    assert pixels(views[0].frame)[5][5] == 120


def test_stills_asked_for_faster_than_pictures_come_are_bounded() -> None:
    rig = Rig()
    for _ in range(5):
        for _ in range(20):
            rig.ask()
        rig.pipeline.obey()
    refused = [picture for picture in rig.sink.pictures if "too many" in picture.error]
    assert len(refused) == 100 - 32
    rig.feed(1)
    wait_for(lambda: len(rig.sink.pictures) == 100)
    jpegs = [picture.jpeg for picture in rig.sink.pictures if picture.jpeg]
    assert len(jpegs) == 32
    assert len(set(jpegs)) == 1  # all of one encoding


def test_stills_ten_a_second_lose_no_picture() -> None:
    rig = Rig()
    for _ in range(40):
        rig.ask()
        rig.feed(3)
    wait_for(lambda: len(rig.sink.pictures) >= 30)
    assert len(rig.sink.main) == 120
    assert is_continuous(rig.sink.main)
    assert rig.sink.dropped == 0


# -- recovery and keeping up ----------------------------------------------------------------------


def test_recover_encoder_opens_it_anew_and_viewers_notice_only_a_keyframe() -> None:
    rig = Rig()
    rig.feed(5)
    rig.commands.handle(Recover(Rung.ENCODER))
    assert rig.pipeline.obey() is None
    rig.feed(5)
    assert [n for n, unit in enumerate(rig.sink.main) if unit.key] == [0, 5]
    assert is_continuous(rig.sink.main)
    assert len(rig.sink.tracks) == 1


def test_recover_camera_is_for_the_source() -> None:
    rig = Rig()
    rig.feed(2)
    rig.commands.handle(Recover(Rung.CAMERA))
    assert rig.pipeline.obey() is Rung.CAMERA
    rig.feed(1)
    assert rig.sink.main[-1].key


class Broken:
    """An encoder of hardware that stops working after a while."""

    name, threads, track = "h264_v4l2m2m", 0, None

    def __init__(self, real: Any, good: int) -> None:
        self._real, self._good = real, good

    def encode(self, *given: Any, **named: Any) -> list[AccessUnit]:
        self._good -= 1
        if self._good < 0:
            raise av.FFmpegError(5, "Input/output error")
        units: list[AccessUnit] = self._real.encode(*given, **named)
        return units

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def test_encoder_that_fails_twice_is_replaced_by_software(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    real = encoding.open_encoder

    def open_one(*given: Any, without: str = "") -> Any:
        opened.append(without)
        made = real(*given, without="h264_v4l2m2m")
        return made if without else Broken(made, good=3)

    monkeypatch.setattr(encoding, "open_encoder", open_one)
    rig = Rig()
    rig.feed(20)
    assert opened == ["", "", "h264_v4l2m2m"]
    assert len(rig.sink.main) == 18
    assert rig.sink.states[-1]["encoder"] == "libx264" or rig.change(text="x") == ""


def test_encoder_that_always_fails_ends_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    real = encoding.open_encoder

    def open_one(*given: Any, without: str = "") -> Any:
        made = Broken(real(*given), good=0)
        made.name = "libx264"
        return made

    monkeypatch.setattr(encoding, "open_encoder", open_one)
    with pytest.raises(SourceFault, match="does not go on"):
        Rig().feed(5)


class Throttled:
    """x264 on a slow machine, in simulated time: so many µs for a thousand pixels."""

    def __init__(self, real: Any, rig: SlowRig) -> None:
        self._real, self._rig = real, rig

    def encode(self, frame: av.VideoFrame, *given: Any, **named: Any) -> list[AccessUnit]:
        self._rig.now_us += int(frame.width * frame.height / 1000 * self._rig.us_per_kilopixel)
        units: list[AccessUnit] = self._real.encode(frame, *given, **named)
        return units

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class SlowRig(Rig):
    """Time passes only by encoding, and by waiting for the camera's next picture."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, us_per_kilopixel: float, **options: Any):
        self.us_per_kilopixel = us_per_kilopixel
        real = encoding.open_encoder
        monkeypatch.setattr(line, "monotonic_us", lambda: self.now_us)
        monkeypatch.setattr(
            encoding,
            "open_encoder",
            lambda *given, **named: Throttled(real(*given, **named), self),
        )
        super().__init__(**options)

    def run(self, seconds: float) -> None:
        end_us = self.now_us + int(seconds * 1_000_000)
        frame = grey(self.options.width, self.options.height)
        while self.now_us < end_us:
            # A camera overwrites what nobody took: the newest picture is the one there is.
            self.pipeline.obey()
            slot_us = self.now_us // STEP_US * STEP_US
            self.pipeline.feed(frame, slot_us, keep=True)
            self.now_us = max(self.now_us, slot_us + STEP_US)


def test_pipeline_too_slow_steps_down_and_recovered_steps_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    rig = SlowRig(monkeypatch, us_per_kilopixel=3_350)  # 123 ms for a picture
    rig.run(40)
    assert rig.pipeline._figures(rig.now_us)["ladder"] | {"reason": ""} == {
        "step": 4, "of": 5, "reason": "",
    }  # fmt: skip
    assert "ms" in rig.pipeline._figures(rig.now_us)["ladder"]["reason"]
    config: Any = rig.sink.main[-1].track.config
    assert (config.width_px, config.height_px) == (192, 108)
    assert len(rig.sink.tracks) == 2  # the smaller size is told
    slow = [unit.dts_us for unit in rig.sink.main if unit.dts_us > rig.now_us - 5_000_000]
    assert len(slow) == pytest.approx(50, abs=3)
    rig.us_per_kilopixel = 80
    rig.run(300)
    assert rig.pipeline._figures(rig.now_us)["ladder"] == {"step": 0, "of": 5, "reason": ""}
    config = rig.sink.main[-1].track.config
    assert (config.width_px, config.height_px) == (256, 144)
    steps = [record for record in caplog.records if "step" in record.getMessage()]
    assert len(steps) == 8  # four down, four up, a line for each
    levels = [record.levelno for record in steps]
    assert levels == [logging.WARNING] * 4 + [logging.INFO] * 4  # what is well again is no warning


def test_pipeline_that_shall_not_adapt_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = SlowRig(monkeypatch, us_per_kilopixel=3_350, adapt=False)
    rig.run(40)
    config: Any = rig.sink.main[-1].track.config
    assert config.width_px == 256
    figures = rig.pipeline._figures(rig.now_us)
    assert figures["ladder"]["step"] == 0
    assert figures["encode_ms_p95"] > 100


SLOW_BOARD = Board("Tiny Board", 4, Profile(128, 72, 15, 2, "ultrafast"))


def test_pipeline_on_a_small_board_begins_at_its_profile(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(board=SLOW_BOARD)
    rig.feed(30)
    config: Any = rig.sink.main[-1].track.config
    assert (config.width_px, config.height_px) == (128, 72)
    assert len(rig.sink.tracks) == 1  # viewers do not see it begin larger
    assert rig.sink.main[0].key
    assert rig.change(text="x") == ""
    state = rig.sink.states[-1]
    assert (state["width"], state["fps"], state["threads"]) == (128, 15, 2)
    assert "Tiny Board" in state["ladder"]["reason"]
    assert sum("Tiny Board" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize(
    "options",
    [{"board": QUIET_BOARD}, {"board": SLOW_BOARD, "adapt": False},
     {"board": SLOW_BOARD, "width": 128, "height": 72, "fps": 15}],
)  # fmt: skip
def test_pipeline_takes_settings_as_they_are(options: dict[str, Any]) -> None:
    """On a machine nobody knows, when told so, and within the profile."""
    rig = Rig(**options)
    rig.feed(10)
    config: Any = rig.sink.main[-1].track.config
    assert config.width_px == rig.options.width
    assert len(rig.sink.tracks) == 1


def test_pipeline_that_is_behind_leaves_pictures_out_and_counts_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(line, "LATE_US", 400_000)
    rig = Rig()
    ahead_us = 0
    monkeypatch.setattr(line, "monotonic_us", lambda: rig.now_us + ahead_us)
    rig.feed(5)
    ahead_us = 500_000
    rig.feed(5)
    ahead_us = 200_000
    rig.feed(5)
    ahead_us = 50_000
    rig.feed(5)
    assert len(rig.sink.main) == 10
    assert rig.sink.dropped == 10
    ahead_us = 900_000  # for good: the stamps are wrong, and some pictures are better than none
    rig.feed(310)
    assert len(rig.sink.main) == 20
