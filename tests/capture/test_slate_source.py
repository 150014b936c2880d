"""`slate:` as its own process: one picture, silence, the end; decoded by others."""

from __future__ import annotations

import subprocess
from array import array
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from worker_fixture import Worker, decode_audio, decode_video, run_to_end

from appliance.capture.commands import Commands
from appliance.capture.fault import SourceFault
from appliance.capture.options import Options
from appliance.capture.picture.canvas import Canvas
from appliance.capture.picture.slate import draw_slate
from appliance.capture.sources import open_source
from appliance.capture.sources.slate import encode_silence
from appliance.media.nal import join_annexb
from appliance.media.track import Codec, Kind
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.messages import AUDIO_ID, VIDEO_ID, Reason

TEXT = "camera lost, retrying: /dev/video0 is not there"


def press(width: int, height: int, **options: object) -> Worker:
    """The worker, which has ended."""
    with Worker("slate:", width=width, height=height, slate_text=TEXT, **options) as worker:
        assert worker.read_end() is None, worker.fault
        assert worker.process.returncode == 0
        return worker


def ffmpeg_luma(unit: AccessUnit, folder: Path) -> bytes:
    """The picture's luma as ffmpeg decodes it."""
    config = unit.track.config
    coded, raw = folder / "slate.h264", folder / "slate.yuv"
    coded.write_bytes(join_annexb([*config.sps, *config.pps, *unit.parts]))  # type: ignore[attr-defined]
    command = ["ffmpeg", "-v", "error", "-xerror", "-i", str(coded), "-pix_fmt", "yuv420p"]
    shown = subprocess.run([*command, str(raw)], capture_output=True, text=True, timeout=30)
    assert (shown.returncode, shown.stderr) == (0, "")
    return raw.read_bytes()[: config.width_px * config.height_px]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (320, 240), (64, 64)])
def test_slate_is_one_keyframe_with_the_drawn_picture(
    width: int, height: int, tmp_path: Path
) -> None:
    worker = press(width, height, device="front-door")
    ((video, _),) = worker.descriptions
    assert (video.id, video.codec, video.rotation_deg) == (VIDEO_ID, Codec.H264, 0)
    assert (video.config.width_px, video.config.height_px) == (width, height)
    (unit,) = worker.units(Kind.VIDEO)
    assert unit.key
    assert unit.size_bytes < 30_000
    drawn = Canvas.blank(width, height)
    draw_slate(drawn, "front-door", TEXT)
    decoded = ffmpeg_luma(unit, tmp_path)
    differences = [abs(a - b) for a, b in zip(drawn.luma.data, decoded, strict=True)]
    assert sum(differences) < len(differences)  # on average less than one step of luma
    assert max(differences) < 60


def test_slate_decodes_again_and_again() -> None:
    """It is repeated with new stamps: every picture of that stream must be the same."""
    (unit,) = press(320, 240).units(Kind.VIDEO)
    repeated = [
        AccessUnit(unit.track, n * 1_000_000, n * 1_000_000, True, unit.parts) for n in range(4)
    ]
    frames = decode_video(repeated)
    assert [frame.pts for frame in frames] == [unit.pts_us for unit in repeated]
    assert len({bytes(frame.planes[0]) for frame in frames}) == 1


@pytest.mark.parametrize(("rate_hz", "channels"), [(48_000, 1), (44_100, 2), (8_000, 1)])
def test_slate_brings_silence_that_can_be_repeated(rate_hz: int, channels: int) -> None:
    worker = press(320, 240, audio_rate_hz=rate_hz, audio_channels=channels)
    ((_, audio),) = worker.descriptions
    assert (audio.id, audio.config.sample_rate_hz, audio.config.channels) == (
        AUDIO_ID, rate_hz, channels,
    )  # fmt: skip
    first, second = worker.units(Kind.AUDIO)
    assert 0 <= first.dts_us < second.dts_us
    repeated = [AccessUnit(audio, n * 20_000, n * 20_000, True, second.parts) for n in range(10)]
    for frame in decode_audio([first, *repeated]):
        for plane in frame.planes:
            assert not any(array("f", bytes(plane)))


def test_slate_without_sound_has_none() -> None:
    worker = press(320, 240, audio="none")
    ((video,),) = worker.descriptions
    assert video.kind is Kind.VIDEO
    assert worker.units(Kind.AUDIO) == []


def test_slate_with_a_rate_nobody_encodes_is_silent() -> None:
    assert encode_silence(Options(audio_rate_hz=12_345)) == []


def test_slate_with_something_behind_the_colon_is_refused() -> None:
    assert run_to_end("slate:now").reason is Reason.SOURCE_INVALID


class Nowhere:
    """A `Sink` that must not get anything."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        raise AssertionError(f"{name} was called")


def test_slate_on_a_machine_without_libx264_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.capture.sources.slate.ENCODER", "no-such-encoder")
    source = open_source("slate:", Options(width=64, height=64))
    with pytest.raises(SourceFault) as caught:
        source.run(Nowhere(), Commands())  # type: ignore[arg-type]
    assert caught.value.reason is Reason.ENCODER
    assert "libx264" in str(caught.value)


def test_slate_tells_an_honest_frame_rate() -> None:
    (unit,) = press(64, 64).units(Kind.VIDEO)
    assert Fraction(unit.track.config.fps) == 1
