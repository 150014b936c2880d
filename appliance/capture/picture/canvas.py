"""Drawing rectangles, text and copies on the three planes of a 4:2:0 picture, without numpy.

Coordinates are luma pixels; what touches colour is cut to even positions and sizes. Everything is
clipped to the picture, so that a layout made for a large one cannot write outside a small one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.capture.picture.font import text_luma


@dataclass(frozen=True, slots=True)
class Colour:
    """BT.709, limited range."""

    y: int
    cb: int
    cr: int


def rgb(red: int, green: int, blue: int) -> Colour:
    """A colour from 8-bit R'G'B' (ITU-R BT.709 §3, limited range)."""
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return Colour(
        round(16 + luma * 219 / 255),
        round(128 + (blue - luma) / 1.8556 * 224 / 255),
        round(128 + (red - luma) / 1.5748 * 224 / 255),
    )


def even(value: float) -> int:
    return int(value) & ~1


@dataclass(slots=True)
class Plane:
    """Writable bytes of one component; rows are `stride` bytes apart."""

    data: memoryview
    stride: int
    width: int
    height: int


class Canvas:
    """A picture in memory of ours or of an encoder's frame."""

    def __init__(self, planes: Sequence[Plane]) -> None:
        self.luma, self.cb, self.cr = planes
        self.width = self.luma.width
        self.height = self.luma.height

    @classmethod
    def blank(cls, width: int, height: int) -> Canvas:
        sizes = ((width, height), (width // 2, height // 2), (width // 2, height // 2))
        return cls([Plane(memoryview(bytearray(w * h)), w, w, h) for w, h in sizes])

    def fill(self, x: int, y: int, width: int, height: int, colour: Colour) -> None:
        x, y, width, height = self._clip(x, y, width, height)
        _fill(self.luma, x, y, width, height, colour.y)
        _fill(self.cb, x // 2, y // 2, width // 2, height // 2, colour.cb)
        _fill(self.cr, x // 2, y // 2, width // 2, height // 2, colour.cr)

    def copy(self, source: Canvas, x: int, y: int, width: int, height: int) -> None:
        """The same rectangle of another canvas of this size."""
        x, y, width, height = self._clip(x, y, width, height)
        _copy(self.luma, source.luma, x, y, width, height)
        for target, origin in ((self.cb, source.cb), (self.cr, source.cr)):
            _copy(target, origin, x // 2, y // 2, width // 2, height // 2)

    def text(self, x: int, y: int, text: str, scale: int, ink: int, paper: int) -> None:
        """A line of text; touches luma only, so its ground must be of a neutral colour."""
        plane = self.luma
        if x < 0 or y < 0 or x >= plane.width:
            return
        room = plane.width - x
        start = y * plane.stride + x
        for row in text_luma(text, scale, ink, paper)[: plane.height - y]:
            line = row[:room]
            plane.data[start : start + len(line)] = line
            start += plane.stride

    def patch(self, x: int, y: int, rows: Sequence[bytes]) -> None:
        """Rows of luma in a neutral colour. Position and sizes are even and lie inside."""
        width = len(rows[0]) if rows else 0
        grey = bytes((128,)) * (width // 2)
        _write(self.luma, x, y, rows)
        for plane in (self.cb, self.cr):
            _write(plane, x // 2, y // 2, (grey,) * (len(rows) // 2))

    def _clip(self, x: int, y: int, width: int, height: int) -> tuple[int, int, int, int]:
        left, top = max(0, even(x)), max(0, even(y))
        right = min(even(self.width), even(x + width))
        bottom = min(even(self.height), even(y + height))
        return left, top, max(0, right - left), max(0, bottom - top)


def _write(plane: Plane, x: int, y: int, rows: Sequence[bytes]) -> None:
    data, stride = plane.data, plane.stride
    start = y * stride + x
    for row in rows:
        data[start : start + len(row)] = row
        start += stride


def _fill(plane: Plane, x: int, y: int, width: int, height: int, value: int) -> None:
    row = bytes((value,)) * width
    start = y * plane.stride + x
    for _ in range(height):
        plane.data[start : start + width] = row
        start += plane.stride


def _copy(target: Plane, source: Plane, x: int, y: int, width: int, height: int) -> None:
    for line in range(y, y + height):
        start = line * source.stride + x
        to = line * target.stride + x
        target.data[to : to + width] = source.data[start : start + width]
