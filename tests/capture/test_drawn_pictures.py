"""What is drawn on pictures, through the real worker: on both streams and on stills."""

from __future__ import annotations

import io
from typing import Any

import av
import pytest
from worker_fixture import Worker, decode_video, luma

from appliance.media.unit import AccessUnit
from appliance.wire.pipe.messages import (
    SUB_VIDEO_ID,
    VIDEO_ID,
    Answer,
    Change,
    Picture,
    RequestPicture,
)

MASK = {"x": 0.25, "y": 0.5, "width": 0.5, "height": 0.25}  # over bars and the moving box
OPTIONS: dict[str, Any] = {
    "width": 640, "height": 360, "fps": 10, "bitrate_bps": 3_000_000, "audio": "none",
    "masks": [MASK], "sub": {"width": 320, "height": 180, "fps": 10, "bitrate_bps": 1_000_000},
}  # fmt: skip
BLACK = 16


def units_of(worker: Worker, track_id: int) -> list[AccessUnit]:
    return [e for e in worker.events if isinstance(e, AccessUnit) and e.track.id == track_id]


def pictures(worker: Worker) -> list[Picture]:
    return [event for event in worker.events if isinstance(event, Picture)]


def jpeg_frame(picture: Picture) -> av.VideoFrame:
    assert not picture.error
    with av.open(io.BytesIO(picture.jpeg), format="mjpeg") as container:
        (frame,) = container.decode(video=0)
    return frame.reformat(format="yuv420p", dst_color_range="MPEG")


def take_all(worker: Worker) -> list[av.VideoFrame]:
    """The newest picture of the stream, of the second one, and two stills."""
    worker.read_units(3)
    worker.send(Change(1, {"sub": True}))
    worker.send(RequestPicture(2))
    worker.send(RequestPicture(3, width=200, quality=95))
    worker.read_until(lambda w: len(units_of(w, SUB_VIDEO_ID)) >= 3 and len(pictures(w)) == 2)
    assert Answer(1) in worker.events
    streams = [decode_video(units_of(worker, n))[-1] for n in (VIDEO_ID, SUB_VIDEO_ID)]
    return [*streams, *map(jpeg_frame, pictures(worker))]


def mean(frame: av.VideoFrame, x: float, y: float, width: float, height: float) -> float:
    """Of the luma in a rectangle given in fractions."""
    at = luma(frame)
    columns = range(round(x * frame.width), round((x + width) * frame.width))
    rows = range(round(y * frame.height), round((y + height) * frame.height))
    return sum(at(column, row) for column in columns for row in rows) / (len(columns) * len(rows))


def mask_seen(rotation: int) -> tuple[float, float, float, float]:
    """Where the mask is on the picture, turned clockwise."""
    x, y, width, height = MASK["x"], MASK["y"], MASK["width"], MASK["height"]
    match rotation:
        case 90:
            return 1 - y - height, x, height, width
        case 180:
            return 1 - x - width, 1 - y - height, width, height
        case 270:
            return y, 1 - x - width, height, width
    return x, y, width, height


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_mask_is_black_on_every_size_and_way_out(rotation: int) -> None:
    with Worker("pattern:", rotation=rotation, rotate="picture", **OPTIONS) as worker:
        frames = take_all(worker)
    sizes = [(640, 360), (320, 180), (640, 360), (200, 112)]
    for frame, size in zip(frames, sizes, strict=True):
        if rotation in {0, 180}:
            assert (frame.width, frame.height) == size
        assert (frame.height > frame.width) is (rotation in {90, 270})
        x, y, width, height = mask_seen(rotation)
        inner = (x + 0.02, y + 0.02, width - 0.04, height - 0.04)
        assert abs(mean(frame, *inner) - BLACK) < 3, frame
        for left, top, wide, high in (
            (x, y - 0.1, width, 0.05),
            (x, y + height + 0.02, width, 0.05),
        ):
            assert mean(frame, left, top, wide, high) > BLACK + 4, frame


def test_overlay_is_on_every_size_and_changes_by_command() -> None:
    overlay = {"shown": True, "name": "", "clock": "", "text": "", "size_percent": 8.0}
    with Worker("pattern:", overlay=overlay | {"position": "bottom-right"}, **OPTIONS) as worker:
        worker.read_units(2)
        worker.send(Change(9, {"text": "MMMMMMMM"}))
        worker.read_until(lambda w: Answer(9) in w.events)
        frames = take_all(worker)
        before = decode_video(units_of(worker, VIDEO_ID)[:1])[0]
    corner = (0.8, 0.92, 0.15, 0.05)
    for frame in frames:
        assert mean(frame, *corner) > mean(before, *corner) + 10, frame
