"""The line for cameras that encode themselves: passed on, and looked at only on demand."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import av
import pytest
from pipeline_fixture import Collector, grey
from worker_fixture import ROOT, decode_video

from appliance.capture.commands import Commands
from appliance.capture.encoders.h264 import H264Encoder
from appliance.capture.fault import ChangeRefused
from appliance.capture.options import Options, SubOptions
from appliance.capture.pipeline import viewfinder
from appliance.capture.pipeline.passing import CameraEncoder, PassingLine
from appliance.media.aac import AacConfig
from appliance.media.nal import join_annexb
from appliance.media.track import Track
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.messages import (
    AUDIO_ID,
    SUB_VIDEO_ID,
    VIDEO_ID,
    Change,
    Recover,
    RequestKeyframe,
    RequestPicture,
    Rung,
    SetBitrate,
)

STEP_US = 40_000
SOUND = Track(AUDIO_ID, AacConfig.lc(48_000, 1), 48_000)


class Camera:
    """H.264 as cameras give it: Annex B, parameter sets with each keyframe or once."""

    def __init__(self, width: int = 256, height: int = 144, *, keys: int = 25) -> None:
        from fractions import Fraction

        self._encoder = H264Encoder(
            9, width, height, Fraction(25), bitrate_bps=200_000, keyframe_us=keys * STEP_US
        )
        self._size = width, height
        self.number = 0
        self.now_us = 5_000_000

    def shoot(self, *, with_sets: bool = True, luma: int = 100) -> tuple[bytes, int]:
        """The next unit and its time."""
        self.number += 1
        self.now_us += STEP_US
        frame = grey(*self._size, luma=luma)
        (unit,) = self._encoder.encode(frame, self.now_us)
        config: Any = unit.track.config
        sets = (*config.sps, *config.pps) if unit.key and with_sets else ()
        return join_annexb((b"\x09\xf0", *sets, *unit.parts)), self.now_us


class Rig:
    def __init__(
        self, encoder: CameraEncoder | None = None, *, awaits_audio: bool = False, **options: Any
    ) -> None:
        self.sink = Collector()
        self.commands = Commands()
        self.camera = Camera()
        self.line = PassingLine(
            Options(fps=25, **options), self.sink, self.commands, encoder,
            awaits_audio=awaits_audio,
        )  # fmt: skip
        self._serial = 0

    def feed(self, count: int, **shot: Any) -> None:
        for _ in range(count):
            self.line.obey()
            self.line.pass_unit(*self.camera.shoot(**shot))

    def change(self, **values: Any) -> str:
        self._serial += 1
        self.commands.handle(Change(self._serial, values))
        self.line.obey()
        return self.sink.answers[self._serial]

    def feed_until(self, condition: Callable[[], Any], **shot: Any) -> None:
        """At a pace that leaves the decoder's thread its time."""
        end_s = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < end_s
            self.feed(1, **shot)
            time.sleep(0.01)


def test_passing_line_does_not_load_libav() -> None:
    """A board without encoders passes a camera on in a third of the memory."""
    code = (
        "import sys; import appliance.capture.pipeline.passing;"
        "sys.exit(any(name.split('.')[0] in {'av', 'numpy'} for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_passing_line_hands_on_units_as_they_are() -> None:
    rig = Rig()
    rig.feed(60)
    assert len(rig.sink.main) == 60
    assert all(after.dts_us - before.dts_us == STEP_US for before, after in pairwise(rig.sink.main))
    assert [n for n, unit in enumerate(rig.sink.main) if unit.key] == [0, 25, 50]
    ((track,),) = rig.sink.tracks
    assert all(unit.track is track for unit in rig.sink.main)
    assert not any(bytes(part)[0] & 31 in {7, 8, 9} for u in rig.sink.main for part in u.parts)
    assert len(decode_video(rig.sink.main)) == 60


def test_passing_line_begins_at_a_keyframe_and_asks_for_one() -> None:
    asked: list[int] = []
    rig = Rig(CameraEncoder(request_keyframe=lambda: asked.append(1)))
    rig.camera.shoot()
    for _ in range(3):
        rig.line.pass_unit(*rig.camera.shoot())
    assert rig.sink.events == []
    assert asked == [1]  # not with each unit
    rig.feed(30)
    assert rig.sink.main[0].key


def test_passing_line_knows_sets_that_come_alone_and_once() -> None:
    rig = Rig()
    data, at_us = rig.camera.shoot()
    sets, _, picture = data.partition(b"\0\0\0\1\x65")
    rig.line.pass_unit(sets, at_us)
    assert rig.sink.events == []
    rig.line.pass_unit(b"\0\0\0\1\x65" + picture, at_us)
    rig.feed(30, with_sets=False)
    assert len(rig.sink.main) == 31
    assert len(rig.sink.tracks) == 1


def test_passing_line_of_another_size_is_another_track() -> None:
    rig = Rig()
    rig.feed(3)
    now_us = rig.camera.now_us
    rig.camera = Camera(128, 96)
    rig.camera.now_us = now_us
    rig.feed(3)
    sizes = [track.config.width_px for (track,) in rig.sink.tracks]  # type: ignore[attr-defined]
    assert sizes == [256, 128]
    assert rig.sink.main[3].key


@pytest.mark.parametrize(
    "damaged", [b"", b"\xff" * 50, b"\0\0\1", b"\0\0\1\x67" + b"\xff" * 3, b"\0\0\1\x00"]
)
def test_passing_line_leaves_out_damage_and_what_refers_to_it(damaged: bytes) -> None:
    rig = Rig()
    rig.feed(5)
    rig.line.pass_unit(damaged, rig.camera.now_us + 1)
    rig.feed(30)
    assert len(decode_video(rig.sink.main)) == len(rig.sink.main)
    assert len(rig.sink.main) in {15, 35}  # begun anew at the keyframe, or nothing was lost
    if len(rig.sink.main) == 15:
        assert rig.sink.main[5].key
        assert rig.sink.dropped == 1


def test_passing_line_with_sound_describes_both_and_waits_for_the_microphone() -> None:
    rig = Rig(awaits_audio=True)
    rig.feed(10)
    assert rig.sink.events == []
    rig.line.set_audio_track(SOUND)
    rig.feed(30)
    rig.line.write_audio([AccessUnit(SOUND, 9, 9, True, (b"x",))])
    assert [[track.id for track in tracks] for tracks in rig.sink.tracks] == [[VIDEO_ID, AUDIO_ID]]
    assert rig.sink.main[0].key
    assert len(rig.sink.sound) == 1


# -- what the camera can be told ------------------------------------------------------------------


def test_passing_line_hands_commands_to_the_camera() -> None:
    told: list[Any] = []
    rig = Rig(
        CameraEncoder(
            request_keyframe=lambda: told.append("key"),
            set_bitrate=told.append,
            set_keyframe_us=told.append,
        )
    )
    rig.feed(1)
    rig.commands.handle(RequestKeyframe())
    rig.commands.handle(SetBitrate(700_000))
    rig.line.obey()
    assert rig.change(bitrate=800_000, keyframe=900_000) == ""
    assert told == ["key", 700_000, 800_000, 900_000]
    assert rig.sink.states[-1]["bitrate_bps"] == 800_000
    assert rig.sink.states[-1]["encoder"] == "camera"


@pytest.mark.parametrize(
    "values", [{"bitrate": 500_000}, {"fps": 5}, {"text": "a"}, {"overlay": True}]
)
def test_passing_line_refuses_what_the_camera_cannot(values: dict[str, Any]) -> None:
    rig = Rig()
    answer = rig.change(**values)
    assert answer.startswith(next(iter(values)))
    assert "libx264" in answer


class Knob:
    def __init__(self) -> None:
        self.gain = 1

    def describe(self) -> dict[str, dict[str, Any]]:
        return {"gain": {"type": "int", "value": self.gain}}

    def set(self, values: Any) -> None:
        self.gain = values["gain"]


def test_passing_line_change_the_camera_refuses_leaves_controls_as_they_were() -> None:
    def refuse(bitrate_bps: int) -> None:
        raise ChangeRefused("bitrate: this camera takes 1 to 2")

    rig, knob = Rig(CameraEncoder(set_bitrate=refuse)), Knob()
    rig.line.set_device({}, knob)
    assert rig.change(bitrate=500_000, controls={"gain": 9}) == "bitrate: this camera takes 1 to 2"
    assert knob.gain == 1
    assert rig.change(controls={"gain": 9}) == ""
    assert knob.gain == 9


@pytest.mark.parametrize("rung", list(Rung))
def test_passing_line_leaves_recovery_to_the_source(rung: Rung) -> None:
    rig = Rig()
    rig.feed(3)
    rig.commands.handle(Recover(rung))
    assert rig.line.obey() is rung
    rig.feed(3)
    assert len(rig.sink.main) == 3  # what comes before the next keyframe refers to what is gone
    rig.feed(25)
    assert rig.sink.main[3].key


# -- pictures -------------------------------------------------------------------------------------


def test_passing_line_makes_stills_by_decoding_from_the_last_keyframe() -> None:
    rig = Rig()
    rig.feed(20, luma=60)
    rig.commands.handle(RequestPicture(5))
    rig.commands.handle(RequestPicture(6, width=64))
    rig.feed_until(lambda: len(rig.sink.pictures) == 2, luma=200)
    first, second = sorted(rig.sink.pictures, key=lambda picture: picture.serial)
    assert (first.error, first.width, second.width) == ("", 256, 64)
    assert first.time_us > 5_000_000 + 20 * STEP_US  # one that came after the request
    decoder = av.VideoCodecContext.create("mjpeg", "r")
    (frame,) = decoder.decode(av.Packet(first.jpeg))
    assert bytes(frame.planes[0])[5000] > 150  # the newest light, not the keyframe's
    assert len(rig.sink.main) == rig.camera.number


def test_passing_line_decodes_nothing_while_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Track] = []

    class Counted(viewfinder.Decoder):
        def __init__(self, track: Track) -> None:
            made.append(track)
            super().__init__(track)

    monkeypatch.setattr(viewfinder, "Decoder", Counted)
    rig = Rig()
    rig.feed(60)
    assert made == []
    rig.commands.handle(RequestPicture(1))
    rig.feed_until(lambda: rig.sink.pictures)
    assert len(made) == 1
    for serial in range(2, 8):  # those who go on asking get what is being decoded
        rig.commands.handle(RequestPicture(serial))
        rig.feed_until(lambda serial=serial: len(rig.sink.pictures) == serial)
    assert len(made) == 1


def test_passing_line_second_stream_is_decoded_scaled_and_encoded() -> None:
    rig = Rig(sub=SubOptions(128, 72, 25, 100_000, keyframe_us=60_000_000))
    rig.feed(10)
    assert rig.change(sub=True) == ""
    rig.feed_until(lambda: len(rig.sink.sub) >= 20)
    assert [[track.id for track in tracks] for tracks in rig.sink.tracks] == [
        [VIDEO_ID], [VIDEO_ID, SUB_VIDEO_ID],
    ]  # fmt: skip
    assert [n for n, unit in enumerate(rig.sink.sub) if unit.key] == [0]
    frames = decode_video(rig.sink.sub)
    assert (frames[0].width, frames[0].height) == (128, 72)
    assert {unit.dts_us for unit in rig.sink.sub} <= {unit.dts_us for unit in rig.sink.main}
    rig.commands.handle(RequestKeyframe())
    rig.feed_until(lambda: sum(unit.key for unit in rig.sink.sub) == 2)
    rig.change(sub=False)
    rig.feed(3)
    made = len(rig.sink.sub)
    rig.feed(30)
    assert len(rig.sink.sub) <= made + 1
    assert rig.sink.states[-1]["sub"]["active"] is False


def test_passing_line_with_pictures_of_the_camera_s_own_does_not_decode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(track: Track) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(viewfinder, "Decoder", fail)
    rig = Rig(sub=SubOptions(128, 72, 25, 100_000))
    rig.line.show(grey(128, 72, luma=77), rig.camera.now_us)
    assert not rig.line.wants_picture
    rig.change(sub=True)
    rig.commands.handle(RequestPicture(1))
    rig.line.obey()
    assert rig.line.wants_picture
    for _ in range(10):
        rig.feed(1)
        rig.line.show(grey(128, 72, luma=77), rig.camera.now_us)
    rig.feed_until(lambda: rig.sink.pictures)
    assert rig.sink.pictures[0].width == 128
    assert len(rig.sink.sub) >= 9


def test_viewfinder_that_cannot_keep_up_goes_on_at_the_next_keyframe() -> None:
    """Its queue is bounded, and what it shows is whole."""
    shown: list[int] = []
    gate = threading.Event()

    def slow(frame: av.VideoFrame, time_us: int) -> None:
        gate.wait(30)
        shown.append(time_us)

    finder = viewfinder.Viewfinder(slow)
    finder.set_wanted(True)
    sink = Collector()
    line = PassingLine(Options(fps=25), sink, Commands())
    camera = Camera(keys=250)
    for _ in range(400):
        line.pass_unit(*camera.shoot())
        finder.offer(sink.main[-1])
        assert len(finder._queue) <= viewfinder.MAX_QUEUED_UNITS + viewfinder.MAX_HELD_UNITS
    gate.set()
    end_s = time.monotonic() + 30
    while not shown or shown[-1] < camera.now_us - 100 * STEP_US:
        assert time.monotonic() < end_s
        line.pass_unit(*camera.shoot())
        finder.offer(sink.main[-1])
        time.sleep(0.005)


def test_viewfinder_of_a_camera_without_keyframes_is_bounded() -> None:
    finder = viewfinder.Viewfinder(lambda frame, time_us: None)
    sink = Collector()
    line = PassingLine(Options(fps=25), sink, Commands())
    camera = Camera(keys=1_000_000)
    for _ in range(viewfinder.MAX_HELD_UNITS + 100):
        line.pass_unit(*camera.shoot())
        finder.offer(sink.main[-1])
    assert len(finder._held) <= viewfinder.MAX_HELD_UNITS
