"""Frames of every kind of camera become the right colours of BT.709 in limited range."""

from __future__ import annotations

from fractions import Fraction

import av
import pytest
from picture_probe import plain_frame, probe, visible

from appliance.capture.picture.canvas import Colour, rgb
from appliance.capture.picture.frames import (
    BT709,
    FULL_RANGE,
    LIMITED_RANGE,
    I420Converter,
    canvas_of,
    copy_of,
    to_i420,
)
from appliance.capture.picture.turning import turn

BT601 = 5
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


def filled(name: str, values: tuple[int, ...], width: int = 64, height: int = 48) -> av.VideoFrame:
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


def assert_colour(frame: av.VideoFrame, expected: Colour) -> None:
    at = probe(frame)
    for x, y in ((0, 0), (frame.width // 2, frame.height // 2), (frame.width - 1, 0)):
        for value, wanted in zip(at(x, y), (expected.y, expected.cb, expected.cr), strict=True):
            assert abs(value - wanted) <= 2, (x, y, at(x, y), expected)


@pytest.mark.parametrize("red_green_blue", COLOURS)
@pytest.mark.parametrize(
    ("name", "matrix", "colour_range", "marks"),
    [
        ("yuvj422p", BT601, FULL_RANGE, (BT601, FULL_RANGE)),  # a webcam's MJPEG
        ("yuvj420p", BT601, FULL_RANGE, UNMARKED),
        ("yuyv422", BT601, LIMITED_RANGE, (6, LIMITED_RANGE)),
        ("nv12", BT601, FULL_RANGE, (BT601, FULL_RANGE)),
        ("yuv420p", BT601, LIMITED_RANGE, (BT601, LIMITED_RANGE)),
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
    picture = to_i420(frame, 64, 48)
    assert picture.format.name == "yuv420p"
    assert (picture.colorspace, picture.color_range) == (BT709, LIMITED_RANGE)
    assert_colour(picture, rgb(*red_green_blue))


@pytest.mark.parametrize("name", ["rgb24", "bgr24"])
@pytest.mark.parametrize("red_green_blue", COLOURS)
def test_frame_of_rgb_keeps_its_colours(name: str, red_green_blue: tuple[int, int, int]) -> None:
    assert_colour(to_i420(filled(name, red_green_blue), 64, 48), rgb(*red_green_blue))


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
    assert_colour(to_i420(frame, 64, 48), rgb(191, 0, 0))


@pytest.mark.parametrize(("width", "height"), [(64, 64), (1282, 722), (66, 98)])
def test_frame_that_needs_no_conversion_is_copied(width: int, height: int) -> None:
    """Whoever draws on the result must not draw on the camera's memory."""
    frame = plain_frame(width, height)
    frame.pts, frame.time_base = 4711, Fraction(1, 1_000_000)
    picture = I420Converter(width, height).convert(frame)
    assert visible(picture) == visible(frame)
    assert (picture.pts, picture.time_base) == (4711, Fraction(1, 1_000_000))
    canvas_of(picture).fill(0, 0, width, height, Colour(1, 2, 3))
    assert probe(frame)(10, 10) == (120, 90, 200)


def test_frame_whose_rows_are_further_apart_is_copied() -> None:
    """As decoders and filters make them."""
    upright = plain_frame(1280, 720)
    canvas_of(upright).fill(0, 0, 100, 32, Colour(50, 60, 70))
    frame = turn(upright, 90)
    copy = copy_of(frame)
    assert frame.planes[0].line_size != copy.planes[0].line_size
    assert visible(copy) == visible(frame)


def test_converter_serves_sizes_and_formats_that_change() -> None:
    converter = I420Converter(128, 96)
    for name, width, height in (("yuyv422", 64, 48), ("nv12", 320, 240), ("yuvj422p", 128, 96)):
        frame = filled(name, coded((0, 191, 0), BT601, FULL_RANGE), width, height)
        frame.colorspace, frame.color_range = BT601, FULL_RANGE
        picture = converter.convert(frame)
        assert (picture.width, picture.height) == (128, 96)
        assert_colour(picture, rgb(0, 191, 0))


def test_canvas_of_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="nv12"):
        canvas_of(av.VideoFrame(64, 64, "nv12"))
