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
    length = hypot(dx, dy)
    reach = radius + 0.5  # where coverage ends
    top, bottom = min(y, y + dy) - reach, max(y, y + dy) + reach
    for line in range(max(0, ceil(top)), min(len(rows), floor(bottom) + 1)):
        row = rows[line]
        left, right = min(x, x + dx) - reach, max(x, x + dx) + reach
        if dy:  # no further from the endless line than that
            middle, half = x + (line - y) * dx / dy, reach * length / abs(dy)
            left, right = max(left, middle - half), min(right, middle + half)
        for column in range(max(0, ceil(left)), min(len(row), floor(right) + 1)):
            across, down = column - x, line - y
            along = (across * dx + down * dy) / (length * length) if length else 0.0
            along = 0.0 if along < 0 else 1.0 if along > 1 else along
            distance = hypot(across - along * dx, down - along * dy)
            level = 255 if distance <= radius - 0.5 else round(255 * (reach - distance))
            if level > row[column]:
                row[column] = level
