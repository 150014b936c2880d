"""What a recording can be told: masks and words have it encoded, pictures are taken of any kind."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest
from worker_fixture import Worker, decode_video, luma, make_clip

from appliance.media.track import Kind
from appliance.wire.pipe.messages import (
    Answer,
    Change,
    Picture,
    Recover,
    RequestPicture,
    Rung,
    State,
)

MASK = {"x": 0.0, "y": 0.0, "width": 0.5, "height": 0.5}
SUB = {"width": 160, "height": 90, "fps": 10}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of light grey with B-frames, and a tone."""
    return make_clip(
        tmp_path_factory.mktemp("clips"), "grey.mp4",
        *("-f", "lavfi", "-i", "color=c=0xb0b0b0:size=320x180:rate=25:duration=2"),
        *("-f", "lavfi", "-i", "sine=sample_rate=48000:duration=2"),
        *("-c:v", "libx264", "-bf", "2", "-g", "25", "-pix_fmt", "yuv420p", "-c:a", "aac"),
    )  # fmt: skip


def every(worker: Worker, kind: type[Any]) -> list[Any]:
    return [event for event in worker.events if isinstance(event, kind)]


def still(worker: Worker, serial: int) -> av.VideoFrame:
    worker.send(RequestPicture(serial, quality=95))
    worker.read_until(lambda w: any(p.serial == serial for p in every(w, Picture)))
    picture = next(p for p in every(worker, Picture) if p.serial == serial)
    assert picture.error == ""
    (frame,) = av.VideoCodecContext.create("mjpeg", "r").decode(av.Packet(picture.jpeg))
    return frame


def test_file_with_masks_is_encoded_so_that_they_cannot_be_seen_through(clip: Path) -> None:
    with Worker(f"file:{clip}", masks=[MASK], sub=SUB) as worker:
        worker.read_units(2)
        worker.send(Change(1, {"sub": True}))
        taken = still(worker, 2)
        worker.read_until(lambda w: sum(u.track.id == 17 for u in w.units(Kind.VIDEO)) >= 3)
        units = worker.units(Kind.VIDEO)
        document = every(worker, State)[-1].document
    main = [unit for unit in units if unit.track.id == 1]
    small = [unit for unit in units if unit.track.id == 17]
    for frame in (taken, decode_video(main)[-1], decode_video(small)[-1]):
        at = luma(frame)
        assert at(frame.width // 5, frame.height // 5) < 24
        assert at(frame.width * 4 // 5, frame.height // 5) > 150
    assert document["encoder"] == "libx264"
    assert document["masks"] == 1


@pytest.mark.parametrize(
    "options",
    [{"overlay": {"shown": True, "name": "front"}}, {"encoder": "libx264"},
     {"rotation": 90, "rotate": "picture"}, {"rotation": 180}],
)  # fmt: skip
def test_file_is_encoded_when_the_settings_ask_for_it(clip: Path, options: dict[str, Any]) -> None:
    with Worker(f"file:{clip}", **options) as worker:
        units = worker.read_units(3)
    assert all(unit.dts_us == unit.pts_us for unit in units)  # the clip's own have B-frames
    assert units[0].track.rotation_deg == 0


def test_file_that_passes_tells_viewers_how_to_turn_it(clip: Path) -> None:
    with Worker(f"file:{clip}", rotation=90) as worker:
        units = worker.read_units(10)
    assert {unit.track.rotation_deg for unit in units} == {90}
    assert any(unit.pts_us > unit.dts_us for unit in units)


def test_file_that_passes_gives_stills_and_a_second_stream(clip: Path) -> None:
    with Worker(f"file:{clip}", sub=SUB) as worker:
        worker.read_units(2)
        frame = still(worker, 1)
        assert (frame.width, frame.height) == (320, 180)
        assert luma(frame)(20, 20) > 150
        worker.send(Change(2, {"sub": True}))
        worker.read_until(lambda w: sum(u.track.id == 17 for u in w.units(Kind.VIDEO)) >= 25)
        small = [unit for unit in worker.units(Kind.VIDEO) if unit.track.id == 17]
        document = every(worker, State)[-1].document
    assert all(after.dts_us > before.dts_us for before, after in pairwise(small))
    assert len(decode_video(small)) == len(small)
    assert document["encoder"] == "camera"
    assert (document["width"], document["height"]) == (320, 180)


@pytest.mark.parametrize(
    ("options", "values", "words"),
    [
        ({}, {"bitrate": 300_000}, "passed on as it is"),
        ({}, {"text": "hello"}, 'encoder = "libx264"'),
        ({"encoder": "libx264"}, {"text": "hello", "bitrate": 300_000, "overlay": True}, ""),
        ({"encoder": "libx264"}, {"fps": 10}, "its own rate"),
        ({"encoder": "libx264"}, {"controls": {"gain": 1}}, "no controls"),
        ({}, {"sub": True}, "no second stream"),
    ],
)
def test_file_is_changed_as_far_as_it_is_encoded(
    clip: Path, options: dict[str, Any], values: dict[str, Any], words: str
) -> None:
    with Worker(f"file:{clip}", **options) as worker:
        worker.read_units(2)
        worker.send(Change(1, values))
        worker.read_until(lambda w: every(w, Answer))
        (answer,) = every(worker, Answer)
        assert words in answer.error
        assert bool(answer.error) == bool(words)


def test_file_rung_encoder_begins_a_keyframe_on_the_same_track(clip: Path) -> None:
    with Worker(f"file:{clip}", encoder="libx264", keyframe_us=60_000_000) as worker:
        worker.read_units(3)
        worker.send(Recover(Rung.ENCODER))
        worker.read_until(lambda w: sum(unit.key for unit in w.units(Kind.VIDEO)) == 2)
        assert len(worker.descriptions) == 1


def test_file_rung_camera_ends_the_worker_with_a_word(clip: Path) -> None:
    with Worker(f"file:{clip}") as worker:
        worker.read_units(3)
        worker.send(Recover(Rung.CAMERA))
        fault = worker.read_end()
    assert fault is not None
    assert fault.reason == "source-lost"
