"""Round strokes on a plane of coverage: what letters and drawings are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, hypot

Coverage = list[bytearray]  # rows of how much of each pixel is covered, 0 to 255


@dataclass(frozen=True, slots=True)
class Stroke:
    """From a point to `dx, dy` further on, or a dot if both are 0; in cells."""

    x: float
    y: float
    dx: float
    dy: float


def blank_coverage(width: int, height: int) -> Coverage:
    return [bytearray(width) for _ in range(height)]


def path(*points: tuple[float, float]) -> list[Stroke]:
    """Strokes from point to point."""
    return [
        Stroke(x, y, to_x - x, to_y - y)
        for (x, y), (to_x, to_y) in zip(points, points[1:], strict=False)
    ]


def draw_strokes(rows: Coverage, strokes: Sequence[Stroke], scale: float, radius: float) -> None:
    """Raise the coverage of the pixels near these strokes; outside of the rows nothing happens.

    scale: pixels per cell, whose centres are at .5; radius: of the pen, in cells.
    """
    for stroke in strokes:
        _draw(rows, stroke, scale, radius * scale)


def _draw(rows: Coverage, stroke: Stroke, scale: float, radius: float) -> None:
    x, y = (stroke.x + 0.5) * scale - 0.5, (stroke.y + 0.5) * scale - 0.5  # pixel centres
    dx, dy = stroke.dx * scale, stroke.dy * scale
    length = dx * dx + dy * dy
    reach = radius + 1
    top, bottom = floor(min(y, y + dy) - reach), ceil(max(y, y + dy) + reach)
    left, right = floor(min(x, x + dx) - reach), ceil(max(x, x + dx) + reach)
    for line in range(max(0, top), min(len(rows), bottom + 1)):
        row = rows[line]
        for column in range(max(0, left), min(len(row), right + 1)):
            along = ((column - x) * dx + (line - y) * dy) / length if length else 0.0
            along = min(1.0, max(0.0, along))
            distance = hypot(column - x - along * dx, line - y - along * dy)
            level = round(255 * min(1.0, max(0.0, radius - distance + 0.5)))
            row[column] = max(row[column], level)
