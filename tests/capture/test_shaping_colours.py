"""Frames of every kind of camera keep their colours on the way to the encoder."""

from __future__ import annotations

from fractions import Fraction

import av
import pytest
from worker_fixture import decode_video

from appliance.capture.encoders.encoder import BT601, BT709, LIMITED_RANGE
from appliance.capture.options import OverlayOptions
from appliance.capture.picture.frames import FULL_RANGE
from appliance.capture.pipeline.encoding import Coding, Encoding, Words
from appliance.capture.pipeline.shaping import Scaler, Shaped

BT470BG = 5  # BT.601 of 625 lines: the same matrix by another number
UNMARKED = (2, 0)
COLOURS = [(191, 0, 0), (0, 191, 0), (0, 0, 191), (255, 255, 255), (0, 0, 0), (120, 60, 200)]
WEIGHTS = {BT601: (0.299, 0.114), BT709: (0.2126, 0.0722)}  # ITU-R BT.601 §2.5, BT.709 §3


def coded(red_green_blue: tuple[int, int, int], matrix: int, colour_range: int) -> tuple[int, ...]:
    """Y, Cb, Cr by the letter of the recommendations (full range: JFIF 1.02)."""
    red, green, blue = red_green_blue
    of_red, of_blue = WEIGHTS[matrix]
    luma = of_red * red + (1 - of_red - of_blue) * green + of_blue * blue
    cb, cr = (blue - luma) / (2 - 2 * of_blue), (red - luma) / (2 - 2 * of_red)
    if colour_range == FULL_RANGE:
        return round(luma), *(min(255, round(128 + chroma)) for chroma in (cb, cr))
    return round(16 + luma * 219 / 255), *(round(128 + c * 224 / 255) for c in (cb, cr))


def filled(name: str, values: tuple[int, ...], width: int = 128, height: int = 96) -> av.VideoFrame:
    """A frame of one colour, in the layouts that cameras have."""
    frame = av.VideoFrame(width, height, name)
    y, cb, cr = values
    patterns = {
        "yuyv422": [(y, cb, y, cr)],
        "nv12": [(y,), (cb, cr)],
        "rgb24": [values],
        "bgr24": [values[::-1]],
    }.get(name, [(y,), (cb,), (cr,)])
    for plane, pattern in zip(frame.planes, patterns, strict=True):
        line = (bytes(pattern) * plane.line_size)[: plane.line_size]
        plane.update(line * plane.height)
    return frame


def assert_colours(frame: av.VideoFrame, red_green_blue: tuple[int, int, int]) -> None:
    """As a decoder shows them, by the matrix that the stream tells."""
    coding = Coding(1, "libx264", Fraction(25), 25, 2_000_000, 1_000_000)
    words = Words.of(OverlayOptions(), "")
    units = Encoding(coding, words).encode(Shaped(frame, False), 0, 0, key=True)
    (frame,) = decode_video(units)
    matrix = BT601 if frame.colorspace == BT601 else BT709
    expected = coded(red_green_blue, matrix, LIMITED_RANGE)
    assert (frame.colorspace, frame.color_range) == (matrix, LIMITED_RANGE)
    for plane, wanted in zip(frame.planes, expected, strict=True):
        data = bytes(plane)
        for y in (0, plane.height // 2, plane.height - 1):
            row = data[y * plane.line_size : y * plane.line_size + plane.width]
            assert all(abs(value - wanted) <= 3 for value in row), (row[0], expected)


@pytest.mark.parametrize("red_green_blue", COLOURS)
@pytest.mark.parametrize(
    ("name", "matrix", "colour_range", "marks"),
    [
        ("yuvj422p", BT601, FULL_RANGE, (BT601, FULL_RANGE)),  # a webcam's MJPEG
        ("yuvj420p", BT601, FULL_RANGE, UNMARKED),
        ("yuyv422", BT601, LIMITED_RANGE, (BT470BG, LIMITED_RANGE)),
        ("nv12", BT601, FULL_RANGE, (BT601, FULL_RANGE)),
        ("yuv420p", BT601, LIMITED_RANGE, (BT601, LIMITED_RANGE)),
        ("yuv420p", BT601, LIMITED_RANGE, (BT470BG, LIMITED_RANGE)),
        ("nv12", BT709, LIMITED_RANGE, UNMARKED),
        ("yuv420p", BT709, LIMITED_RANGE, UNMARKED),
        ("yuv420p", BT709, FULL_RANGE, (BT709, FULL_RANGE)),
    ],
)
def test_frame_of_a_camera_keeps_its_colours(
    name: str,
    matrix: int,
    colour_range: int,
    marks: tuple[int, int],
    red_green_blue: tuple[int, int, int],
) -> None:
    frame = filled(name, coded(red_green_blue, matrix, colour_range))
    frame.colorspace, frame.color_range = marks
    for width, height in ((64, 64), (128, 96)):
        assert_colours(Scaler().scale(frame, width, height), red_green_blue)


@pytest.mark.parametrize("name", ["rgb24", "bgr24"])
@pytest.mark.parametrize("red_green_blue", COLOURS)
def test_frame_of_rgb_keeps_its_colours(name: str, red_green_blue: tuple[int, int, int]) -> None:
    assert_colours(Scaler().scale(filled(name, red_green_blue), 128, 96), red_green_blue)


def test_frame_of_a_real_jpeg_keeps_its_colours() -> None:
    """Decoded by libav, which marks it."""
    encoder = av.VideoCodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 64, 48, "yuvj422p"
    encoder.time_base = Fraction(1, 25)
    source = filled("yuvj422p", coded((191, 0, 0), BT601, FULL_RANGE))
    source.pts = 0
    packets = [*encoder.encode(source), *encoder.encode(None)]
    decoder = av.VideoCodecContext.create("mjpeg", "r")
    (frame,) = [f for packet in packets for f in decoder.decode(packet)]
    assert_colours(Scaler().scale(frame, 128, 96), (191, 0, 0))
