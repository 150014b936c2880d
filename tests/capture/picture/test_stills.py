"""Stills as others decode them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import av
import pytest
from picture_probe import plain_frame, visible

from appliance.capture.picture.canvas import rgb
from appliance.capture.picture.exif import exif_segment, with_exif
from appliance.capture.picture.frames import canvas_of
from appliance.capture.picture.stills import MAX_CONTEXTS, StillEncoder

TAKEN_US = 1_790_000_000_123_456


def halves(width: int = 320, height: int = 180) -> av.VideoFrame:
    """Red on the left, blue on the right."""
    frame = plain_frame(width, height, rgb(191, 0, 0))
    canvas_of(frame).fill(width // 2, 0, width // 2, height, rgb(0, 0, 191))
    return frame


def identify(path: Path, form: str, *operations: str) -> str:
    command = ["convert", str(path), *operations, "-format", form, "info:"]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


def ffprobe(path: Path) -> dict[str, object]:
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_streams", "-show_frames", str(path)]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
    assert shown.stderr == ""
    found: dict[str, object] = json.loads(shown.stdout)
    return found


def write_still(folder: Path, rotation_deg: int = 0, width: int = 0) -> Path:
    path = folder / "still.jpg"
    path.write_bytes(StillEncoder().encode(halves(), width, 90, rotation_deg, TAKEN_US)[0])
    return path


def test_still_is_a_full_range_jpeg_in_the_right_colours(tmp_path: Path) -> None:
    path = write_still(tmp_path)
    (stream,) = ffprobe(path)["streams"]  # type: ignore[misc]
    assert (stream["width"], stream["height"], stream["pix_fmt"]) == (320, 180, "yuvj420p")
    for x, expected in ((40, (191, 0, 0)), (280, (0, 0, 191))):
        shown = identify(path, f"%[fx:int(255*p{{{x},90}}.r)] %[fx:int(255*p{{{x},90}}.g)] "
                               f"%[fx:int(255*p{{{x},90}}.b)]")  # fmt: skip
        for value, wanted in zip(map(int, shown.split()), expected, strict=True):
            assert abs(value - wanted) <= 5


@pytest.mark.parametrize(
    ("rotation_deg", "orientation", "size"),
    [(0, "1", "320x180"), (90, "6", "180x320"), (180, "3", "320x180"), (270, "8", "180x320")],
)
def test_still_tells_how_to_turn_it(
    tmp_path: Path, rotation_deg: int, orientation: str, size: str
) -> None:
    path = write_still(tmp_path, rotation_deg)
    assert identify(path, "%[exif:Orientation]") == orientation
    assert identify(path, "%wx%h", "-auto-orient") == size
    # where the left half's red is, once turned clockwise
    x, y = {0: (4, 90), 90: (90, 4), 180: (315, 90), 270: (90, 315)}[rotation_deg]
    assert float(identify(path, f"%[fx:p{{{x},{y}}}.r]", "-auto-orient")) > 0.6


def test_still_tells_when_it_was_taken(tmp_path: Path) -> None:
    path = write_still(tmp_path)
    taken = time.strftime("%Y:%m:%d %H:%M:%S", time.localtime(TAKEN_US // 1_000_000))
    assert identify(path, "%[exif:DateTime]") == taken
    assert identify(path, "%[exif:DateTimeOriginal]") == taken
    (frame,) = ffprobe(path)["frames"]  # type: ignore[misc]
    assert frame["tags"]["DateTime"] == frame["tags"]["DateTimeOriginal"] == taken


def test_still_holds_no_comment_of_a_library(tmp_path: Path) -> None:
    assert b"Lavc" not in write_still(tmp_path).read_bytes()


@pytest.mark.parametrize(
    ("width", "rotation_deg", "expected"),
    [
        (0, 0, (320, 180)),
        (160, 0, (160, 90)),
        (161, 0, (160, 90)),
        (5000, 0, (320, 180)),
        (90, 90, (90, 160)),
        (5000, 270, (180, 320)),
        (1, 0, (16, 16)),
    ],
)
def test_still_is_shrunk_and_never_enlarged(
    tmp_path: Path, width: int, rotation_deg: int, expected: tuple[int, int]
) -> None:
    jpeg, *size = StillEncoder().encode(halves(), width, 80, rotation_deg)
    path = tmp_path / "still.jpg"
    path.write_bytes(jpeg)
    assert tuple(size) == expected
    assert identify(path, "%wx%h", "-auto-orient") == f"{expected[0]}x{expected[1]}"


def test_still_quality_means_what_it_means_elsewhere(tmp_path: Path) -> None:
    frame = plain_frame(320, 180)
    for plane in frame.planes:
        plane.update(os.urandom(plane.buffer_size))
    encoder = StillEncoder()
    sizes = []
    for quality in (1, 30, 60, 80, 90, 100):
        jpeg, *_ = encoder.encode(frame, 0, quality, 0)
        sizes.append(len(jpeg))
        if quality >= 60:
            path = tmp_path / "still.jpg"
            path.write_bytes(jpeg)
            assert abs(int(identify(path, "%Q")) - quality) <= 6
    assert sizes == sorted(sizes)
    assert sizes[0] * 4 < sizes[-1]


def test_still_leaves_the_frame_alone() -> None:
    frame = halves()
    frame.pts = 99
    before = visible(frame)
    encoder = StillEncoder()
    first, *_ = encoder.encode(frame, 0, 80, 0, TAKEN_US)
    again, *_ = encoder.encode(frame, 0, 80, 0, TAKEN_US)
    assert first == again
    assert frame.pts == 99
    assert visible(frame) == before


def test_still_encoder_keeps_few_contexts() -> None:
    encoder = StillEncoder()
    for quality in range(1, 100, 7):
        encoder.encode(halves(), 2 * quality, quality, 0)
    assert len(encoder._kept) == MAX_CONTEXTS


def test_still_of_a_jpeg_cameras_own_frame_is_not_touched() -> None:
    frame = av.VideoFrame(64, 64, "yuvj420p")
    for plane in frame.planes:
        plane.update(bytes([100]) * plane.buffer_size)
    frame.pts = 5
    jpeg, *_ = StillEncoder().encode(frame, 0, 80, 0)
    assert jpeg.startswith(b"\xff\xd8\xff\xe1")
    assert frame.pts == 5


def test_exif_goes_before_everything_else() -> None:
    jpeg = with_exif(b"\xff\xd8rest", 90, TAKEN_US)
    assert jpeg == b"\xff\xd8" + exif_segment(90, TAKEN_US) + b"rest"
    assert jpeg[2:4] == b"\xff\xe1"
    assert int.from_bytes(jpeg[4:6], "big") == len(jpeg) - 4 - len(b"rest")


def test_exif_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="JPEG"):
        with_exif(b"GIF89a", 0, TAKEN_US)
