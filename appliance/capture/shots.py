"""A camera's bytes as frames of libav: raw planes are copied row by row, JPEG is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import av

from appliance.capture.v4l2.device import Shape
from appliance.capture.v4l2.formats import BY_FOURCC, Kind, PixelFormat

BT709, BT601, BT2020 = 1, 6, 9  # ITU-T H.273 matrix_coefficients, as libav numbers them
LIMITED_RANGE, FULL_RANGE = 1, 2
MIN_JPEG_BYTES = 128

# V4L2_YCBCR_ENC_… and V4L2_COLORSPACE_…, as V4L2_MAP_YCBCR_ENC_DEFAULT maps one to the other.
_MATRICES = {1: BT601, 2: BT709, 3: BT601, 4: BT709, 6: BT2020, 7: BT2020}
_MATRICES_OF_COLORSPACES = {3: BT709, 12: BT709, 10: BT2020}
_JPEG_COLORSPACE, _FULL_QUANTIZATION, _LIMITED_QUANTIZATION = 7, 1, 2


class Pictures(Protocol):
    """keeps: the frame is the same one each time, so it must not be given away."""

    keeps: bool

    def picture(self, planes: Sequence[memoryview]) -> av.VideoFrame | None:
        """None if there is no picture in it; the memory may be given back then."""
        ...


def open_pictures(shape: Shape) -> Pictures:
    """For what a camera gives as MJPEG or raw."""
    known = BY_FOURCC[shape.fourcc]
    return JpegPictures() if known.kind is Kind.MJPEG else RawPictures(known, shape)


class RawPictures:
    """Of one size and format; the frame is reused."""

    keeps = True

    def __init__(self, known: PixelFormat, shape: Shape) -> None:
        self._frame = av.VideoFrame(shape.width, shape.height, known.libav)
        if known.libav.startswith(("yuv", "nv", "uyvy", "yvyu")):
            self._frame.colorspace, self._frame.color_range = matrix_of(shape), range_of(shape)
        self._copies = plan_copies(known, shape, [plane.line_size for plane in self._frame.planes])
        self._targets = [memoryview(plane).cast("B") for plane in self._frame.planes]

    def picture(self, planes: Sequence[memoryview]) -> av.VideoFrame | None:
        for copy in self._copies:
            if copy.buffer >= len(planes) or len(planes[copy.buffer]) < copy.end:
                return None  # the camera was interrupted
        for copy in self._copies:
            copy.run(planes[copy.buffer], self._targets[copy.plane])
        return self._frame


class RowCopy:
    """One plane of a picture, from `offset` in a buffer to a plane of a frame."""

    __slots__ = ("_row", "_rows", "_stride", "_target", "buffer", "end", "offset", "plane")

    def __init__(
        self, buffer: int, plane: int, offset: int, rows: int, stride: int, target: int
    ) -> None:
        self.buffer = buffer
        self.plane = plane
        self.offset = offset
        self._rows = rows
        self._stride = stride
        self._target = target
        self._row = min(stride, target)
        self.end = offset + stride * (rows - 1) + self._row

    def run(self, source: memoryview, target: memoryview) -> None:
        start = self.offset
        if self._stride == self._target:
            length = min(self._stride * self._rows, len(source) - start)
            target[:length] = source[start : start + length]
            return
        at = 0
        for _ in range(self._rows):
            target[at : at + self._row] = source[start : start + self._row]
            start += self._stride
            at += self._target


def plan_copies(known: PixelFormat, shape: Shape, line_sizes: Sequence[int]) -> list[RowCopy]:
    """How a picture's planes lie in its buffers: one after the other in one, or in one each."""
    copies = []
    offset = 0
    separate = len(shape.strides_bytes) > 1
    for number, plane in enumerate(known.order):
        layout = known.planes[plane]
        rows = -(-shape.height // layout.height_divisor)
        stride = shape.strides_bytes[number if separate else 0]
        if not separate:
            stride //= layout.stride_divisor
        stride = stride or line_sizes[plane]
        buffer = number if separate else 0
        copies.append(RowCopy(buffer, plane, offset, rows, stride, line_sizes[plane]))
        if not separate:
            offset += stride * rows
    return copies


class JpegPictures:
    """Each picture stands alone, so one that is damaged harms no other."""

    keeps = False

    def __init__(self) -> None:
        self._decoder = av.CodecContext.create("mjpeg", "r")
        self._decoder.thread_count = 1  # more would delay each picture by one for each thread

    def picture(self, planes: Sequence[memoryview]) -> av.VideoFrame | None:
        data = bytes(planes[0]) if planes else b""
        if len(data) < MIN_JPEG_BYTES:
            return None
        try:
            frames = self._decoder.decode(av.Packet(data))
        except av.FFmpegError:
            return None
        if len(frames) != 1 or frames[0].is_corrupt:
            return None
        return frames[0]


def matrix_of(shape: Shape) -> int:
    """libav's number of the matrix by which the camera's colours are coded."""
    if shape.encoding:
        return _MATRICES.get(shape.encoding, BT601)
    return _MATRICES_OF_COLORSPACES.get(shape.colorspace, BT601)


def range_of(shape: Shape) -> int:
    full = shape.quantization == _FULL_QUANTIZATION
    unsaid = shape.quantization != _LIMITED_QUANTIZATION
    return (
        FULL_RANGE if full or (unsaid and shape.colorspace == _JPEG_COLORSPACE) else LIMITED_RANGE
    )
