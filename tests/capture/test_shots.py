"""Cameras' memory as frames: every raw format with padded rows, JPEG whole and broken."""

from __future__ import annotations

from fractions import Fraction

import av
import pytest

from appliance.capture.shots import (
    BT601,
    BT709,
    FULL_RANGE,
    LIMITED_RANGE,
    matrix_of,
    open_pictures,
    range_of,
)
from appliance.capture.v4l2.device import Shape
from appliance.capture.v4l2.formats import KNOWN, Kind, PixelFormat

WIDTH, HEIGHT = 70, 46  # no multiple of what libav pads rows to
RAW = [known for known in KNOWN if known.kind is Kind.RAW]
SEPARATE = {"YM12", "YM21", "NM12", "NM21"}


def pattern() -> av.VideoFrame:
    """Stripes in luma and chroma, so that a plane in a wrong place shows."""
    frame = av.VideoFrame(WIDTH, HEIGHT, "yuv444p")
    for plane, (base, step) in zip(frame.planes, ((40, 2), (60, 1), (200, -1)), strict=True):
        rows = memoryview(plane).cast("B")
        for row in range(plane.height):
            for column in range(plane.width):
                rows[row * plane.line_size + column] = base + step * ((row + column) // 8 * 4)
    return frame


def as_camera(known: PixelFormat, frame: av.VideoFrame, padding: int) -> tuple[Shape, list[bytes]]:
    """The picture as a driver with `padding` bytes at the end of each row has it in memory."""
    raw = frame.reformat(format=known.libav)
    first_row = row_bytes(raw, 0)
    stride = first_row + padding
    buffers: list[bytes] = []
    strides = []
    for number, index in enumerate(known.order):
        plane = raw.planes[index]
        layout = known.planes[index]
        own = row_bytes(raw, index) + padding if known.fourcc in SEPARATE else None
        pitch = own if own is not None else stride // layout.stride_divisor
        data = memoryview(plane).cast("B")
        rows = b"".join(
            bytes(data[row * plane.line_size :][: min(row_bytes(raw, index), pitch)]).ljust(
                pitch, b"\xee"
            )
            for row in range(plane.height)
        )
        if known.fourcc in SEPARATE or number == 0:
            buffers.append(rows)
            strides.append(pitch)
        else:
            buffers[0] += rows
    sizes = tuple(map(len, buffers))
    return Shape(known.fourcc, WIDTH, HEIGHT, Fraction(30), tuple(strides), sizes), buffers


def row_bytes(frame: av.VideoFrame, index: int) -> int:
    plane = frame.planes[index]
    name = frame.format.name
    if index == 0 and len(frame.planes) == 1:
        bits = {"yuyv422": 16, "uyvy422": 16, "yvyu422": 16, "rgb24": 24, "bgr24": 24,
                "bgr0": 32, "rgb565le": 16, "gray": 8}[name]  # fmt: skip
        return plane.width * bits // 8
    return plane.width * (2 if name.startswith("nv") and index == 1 else 1)


def planes_of(frame: av.VideoFrame) -> list[bytes]:
    """What is seen of a frame, without padding."""
    return [
        b"".join(
            bytes(memoryview(plane).cast("B")[row * plane.line_size :][: row_bytes(frame, index)])
            for row in range(plane.height)
        )
        for index, plane in enumerate(frame.planes)
    ]


@pytest.mark.parametrize("padding", [0, 26])
@pytest.mark.parametrize("known", RAW, ids=lambda known: known.fourcc)
def test_raw_picture_is_what_the_camera_has(known: PixelFormat, padding: int) -> None:
    frame = pattern()
    shape, buffers = as_camera(known, frame, padding)
    picture = open_pictures(shape).picture([memoryview(buffer) for buffer in buffers])
    assert picture is not None
    assert picture.format.name == known.libav
    assert planes_of(picture) == planes_of(frame.reformat(format=known.libav))


def test_raw_picture_that_is_cut_off_is_none() -> None:
    shape, buffers = as_camera(RAW[0], pattern(), 0)
    pictures = open_pictures(shape)
    whole = memoryview(buffers[0])
    assert pictures.picture([whole]) is not None
    for size in (0, 1, len(whole) // 2, len(whole) - 1):
        assert pictures.picture([whole[:size]]) is None
    assert pictures.picture([]) is None


def test_raw_picture_with_more_memory_than_it_needs_is_whole() -> None:
    shape, buffers = as_camera(RAW[0], pattern(), 0)
    assert open_pictures(shape).picture([memoryview(buffers[0] + bytes(5000))]) is not None


@pytest.mark.parametrize("strides", [(0,), (1,), (1 << 31,)])
def test_raw_picture_with_a_senseless_row_length_is_no_crash(strides: tuple[int, ...]) -> None:
    shape = Shape("NV12", WIDTH, HEIGHT, None, strides, (10,))
    open_pictures(shape).picture([memoryview(bytes(10_000))])


def jpeg() -> bytes:
    context = av.VideoCodecContext.create("mjpeg", "w")
    context.width, context.height, context.pix_fmt = 64, 64, "yuvj422p"
    context.time_base = Fraction(1, 30)
    frame = pattern().reformat(64, 64, "yuvj422p")
    frame.pts = 0
    return b"".join(bytes(packet) for packet in context.encode(frame))


def test_jpeg_picture_is_decoded_at_once() -> None:
    pictures = open_pictures(Shape("MJPG", 64, 64))
    for _ in range(3):
        picture = pictures.picture([memoryview(jpeg())])
        assert picture is not None
        assert (picture.width, picture.height) == (64, 64)


def test_jpeg_padded_with_zeros_is_whole() -> None:
    assert open_pictures(Shape("MJPG", 64, 64)).picture([memoryview(jpeg() + bytes(4096))])


def test_jpeg_that_is_damaged_is_left_out_and_the_next_is_whole() -> None:
    pictures = open_pictures(Shape("MJPG", 64, 64))
    data = jpeg()
    for broken in (b"", data[:100], data[:20] + bytes(len(data) - 20), b"\xff" * 5000, b"x" * 5000):
        assert pictures.picture([memoryview(broken)]) is None
    assert pictures.picture([memoryview(data)]) is not None
    assert pictures.picture([]) is None


@pytest.mark.parametrize(
    ("colorspace", "encoding", "quantization", "matrix", "range_"),
    [
        (8, 0, 0, BT601, LIMITED_RANGE),  # sRGB, as most USB cameras say
        (3, 0, 0, BT709, LIMITED_RANGE),
        (8, 2, 0, BT709, LIMITED_RANGE),
        (7, 0, 0, BT601, FULL_RANGE),  # JPEG
        (8, 0, 1, BT601, FULL_RANGE),
        (7, 0, 2, BT601, LIMITED_RANGE),
        (0, 0, 0, BT601, LIMITED_RANGE),
    ],
)
def test_colours_are_those_the_driver_tells(
    colorspace: int, encoding: int, quantization: int, matrix: int, range_: int
) -> None:
    shape = Shape("YUYV", 64, 64, None, (128,), (8192,), colorspace, encoding, quantization)
    assert (matrix_of(shape), range_of(shape)) == (matrix, range_)
