"""A small monospaced font, drawn for this program: cells that are joined by round strokes.

A glyph is 5 cells wide and 9 high (7 above the base line, 2 below); characters advance 6 cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import ceil, floor, hypot

CELLS_WIDE = 5
CELLS_HIGH = 9
ADVANCE_CELLS = 6
CAP_CELLS = 7  # height of capitals and digits
FALLBACK = "?"
STROKE_RADIUS_CELLS = 0.45

_LINES = (
    "0123456789:.-_/#",
    "ABCDEFGHIJKLMNOP",
    "QRSTUVWXYZ?+()@%",
    "abcdefghijklmnop",
    "qrstuvwxyz,'=&",
)

_ART = """
.###. ..#.. .###. .###. ...#. ##### ..##. ##### .###. .###. ..... ..... ..... ..... ....# .#.#.
#...# .##.. #...# #...# ..##. #.... .#... ....# #...# #...# ..... ..... ..... ..... ....# .#.#.
#...# #.#.. ....# ....# .#.#. ####. #.... ...#. #...# #...# ..#.. ..... ..... ..... ...#. #####
#...# ..#.. ...#. ..##. #..#. ....# ####. ...#. .###. .#### ..... ..... .###. ..... ..#.. .#.#.
#...# ..#.. ..#.. ....# ##### ....# #...# ..#.. #...# ....# ..... ..... ..... ..... .#... #####
#...# ..#.. .#... #...# ...#. #...# #...# ..#.. #...# ...#. ..#.. ..... ..... ..... #.... .#.#.
.###. ##### ##### .###. ...#. .###. .###. ..#.. .###. .##.. ..... ..#.. ..... ##### #.... .#.#.
..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .....
..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .....

.###. ####. .###. ####. ##### ##### .###. #...# .###. ....# #...# #.... #...# #...# .###. ####.
#...# #...# #...# #...# #.... #.... #...# #...# ..#.. ....# #..#. #.... ##.## ##..# #...# #...#
#...# #...# #.... #...# #.... #.... #.... #...# ..#.. ....# #.#.. #.... #.#.# ##..# #...# #...#
##### ####. #.... #...# ####. ####. #.### ##### ..#.. ....# ##... #.... #.#.# #.#.# #...# ####.
#...# #...# #.... #...# #.... #.... #...# #...# ..#.. #...# #.#.. #.... #...# #..## #...# #....
#...# #...# #...# #...# #.... #.... #...# #...# ..#.. #...# #..#. #.... #...# #..## #...# #....
#...# ####. .###. ####. ##### #.... .###. #...# .###. .###. #...# ##### #...# #...# .###. #....
..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .....
..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .....

.###. ####. .#### ##### #...# #...# #...# #...# #...# ##### .###. ..... ...#. .#... .###. #...#
#...# #...# #.... ..#.. #...# #...# #...# #...# #...# ....# #...# ..#.. ..#.. ..#.. #...# #..#.
#...# #...# #.... ..#.. #...# #...# #...# .#.#. .#.#. ...#. ....# ..#.. .#... ...#. #.### ...#.
#...# ####. .###. ..#.. #...# #...# #.#.# ..#.. ..#.. ..#.. ..##. ##### .#... ...#. #.#.# ..#..
#.#.# #.#.. ....# ..#.. #...# .#.#. #.#.# .#.#. ..#.. .#... ..#.. ..#.. .#... ...#. #.### .#...
#..#. #..#. ....# ..#.. #...# .#.#. ##.## #...# ..#.. #.... ..... ..#.. ..#.. ..#.. #.... .#..#
.##.# #...# ####. ..#.. .###. ..#.. #...# #...# ..#.. ##### ..#.. ..... ...#. .#... .#### #...#
..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .....
..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .....

..... #.... ..... ....# ..... ..##. ..... #.... ..#.. ...#. #.... .##.. ..... ..... ..... .....
..... #.... ..... ....# ..... .#... ..... #.... ..... ..... #.... ..#.. ..... ..... ..... .....
.###. ####. .#### .#### .###. ####. .#### ####. .##.. ..##. #..#. ..#.. ##.#. ####. .###. ####.
....# #...# #.... #...# #...# .#... #...# #...# ..#.. ...#. #.#.. ..#.. #.#.# #...# #...# #...#
.#### #...# #.... #...# ##### .#... #...# #...# ..#.. ...#. ##... ..#.. #.#.# #...# #...# #...#
#...# #...# #.... #...# #.... .#... #...# #...# ..#.. ...#. #.#.. ..#.. #.#.# #...# #...# #...#
.#### ####. .#### .#### .###. .#... .#### #...# .###. ...#. #..#. .###. #.#.# #...# .###. ####.
..... ..... ..... ..... ..... ..... ....# ..... ..... ...#. ..... ..... ..... ..... ..... #....
..... ..... ..... ..... ..... ..... .###. ..... ..... .##.. ..... ..... ..... ..... ..... #....

..... ..... ..... .#... ..... ..... ..... ..... ..... ..... ..... ..#.. ..... .##..
..... ..... ..... .#... ..... ..... ..... ..... ..... ..... ..... ..#.. ..... #..#.
.#### #.##. .#### ####. #...# #...# #...# #...# #...# ##### ..... ..#.. ##### #.#..
#...# ##... #.... .#... #...# #...# #.#.# .#.#. #...# ...#. ..... ..... ..... .#...
#...# #.... .###. .#... #...# .#.#. #.#.# ..#.. #...# ..#.. ..... ..... ##### #.#.#
#...# #.... ....# .#... #...# .#.#. #.#.# .#.#. #...# .#... ..#.. ..... ..... #..#.
.#### #.... ####. ..##. .#### ..#.. .#.#. #...# .#### ##### ..#.. ..... ..... .##.#
....# ..... ..... ..... ..... ..... ..... ..... ....# ..... .#... ..... ..... .....
....# ..... ..... ..... ..... ..... ..... ..... .###. ..... ..... ..... ..... .....
"""


def _glyphs() -> dict[str, tuple[str, ...]]:
    blocks = [block.splitlines() for block in _ART.strip("\n").split("\n\n")]
    glyphs = {" ": ("." * CELLS_WIDE,) * CELLS_HIGH}
    for characters, rows in zip(_LINES, blocks, strict=True):
        for index, character in enumerate(characters):
            start = index * ADVANCE_CELLS
            glyphs[character] = tuple(row[start : start + CELLS_WIDE] for row in rows)
    return glyphs


GLYPHS = _glyphs()


@dataclass(frozen=True, slots=True)
class Stroke:
    """From one cell's centre to a neighbour's, or a dot if both are one; in cells."""

    x: int
    y: int
    dx: int
    dy: int


def strokes(character: str) -> Iterator[Stroke]:
    """Every set cell joined to its set neighbours; across a corner only where no third cell
    joins the two already."""
    glyph = GLYPHS.get(character, GLYPHS[FALLBACK])

    def is_set(x: int, y: int) -> bool:
        return 0 <= x < CELLS_WIDE and 0 <= y < CELLS_HIGH and glyph[y][x] == "#"

    for y in range(CELLS_HIGH):
        for x in range(CELLS_WIDE):
            if not is_set(x, y):
                continue
            for dx, dy in ((1, 0), (0, 1)):
                if is_set(x + dx, y + dy):
                    yield Stroke(x, y, dx, dy)
            for dx in (-1, 1):
                if is_set(x + dx, y + 1) and not (is_set(x + dx, y) or is_set(x, y + 1)):
                    yield Stroke(x, y, dx, 1)
            around = ((x + dx, y + dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1) if dx or dy)
            if not any(is_set(*cell) for cell in around):
                yield Stroke(x, y, 0, 0)


@cache  # bounded by the font's characters times the sizes a test card uses
def coverage(character: str, scale: int) -> tuple[bytes, ...]:
    """How much of each pixel the glyph covers, 0 to 255, as `CELLS_HIGH * scale` rows of
    `ADVANCE_CELLS * scale` bytes; `scale` is pixels per cell."""
    rows = [bytearray(ADVANCE_CELLS * scale) for _ in range(CELLS_HIGH * scale)]
    for stroke in strokes(character):
        _draw(rows, stroke, scale)
    return tuple(map(bytes, rows))


def _draw(rows: list[bytearray], stroke: Stroke, scale: int) -> None:
    """Raise the coverage of the pixels near the stroke."""
    radius = STROKE_RADIUS_CELLS * scale
    x, y = (stroke.x + 0.5) * scale - 0.5, (stroke.y + 0.5) * scale - 0.5  # pixel centres
    dx, dy = stroke.dx * scale, stroke.dy * scale
    length = dx * dx + dy * dy
    reach = radius + 1
    for line in range(max(0, floor(min(y, y + dy) - reach)), ceil(max(y, y + dy) + reach) + 1):
        if line >= len(rows):
            break
        row = rows[line]
        first = max(0, floor(min(x, x + dx) - reach))
        last = min(len(row) - 1, ceil(max(x, x + dx) + reach))
        for column in range(first, last + 1):
            along = ((column - x) * dx + (line - y) * dy) / length if length else 0.0
            along = min(1.0, max(0.0, along))
            distance = hypot(column - x - along * dx, line - y - along * dy)
            level = round(255 * min(1.0, max(0.0, radius - distance + 0.5)))
            row[column] = max(row[column], level)


def text_width_px(text: str, scale: int) -> int:
    return len(text) * ADVANCE_CELLS * scale


@cache  # bounded like `coverage`, times the colour pairs of a test card
def glyph_luma(character: str, scale: int, ink: int, paper: int) -> tuple[bytes, ...]:
    """The glyph as rows of luma bytes, ink on paper."""
    table = bytes(round(paper + (ink - paper) * level / 255) for level in range(256))
    return tuple(row.translate(table) for row in coverage(character, scale))


def text_luma(text: str, scale: int, ink: int, paper: int) -> list[bytes]:
    """A line of text as rows of luma bytes."""
    glyphs = [glyph_luma(character, scale, ink, paper) for character in text]
    return [b"".join(row) for row in zip(*glyphs, strict=True)]
