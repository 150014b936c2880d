"""A small monospaced font, drawn for this program and smoothed when it is enlarged.

A glyph is 5 cells wide and 9 high (7 above the base line, 2 below); characters advance 6 cells.
"""

from __future__ import annotations

from functools import cache

CELLS_WIDE = 5
CELLS_HIGH = 9
ADVANCE_CELLS = 6
CAP_CELLS = 7  # height of capitals and digits
FALLBACK = "?"

_LINES = (
    "0123456789:.-_/#",
    "ABCDEFGHIJKLMNOP",
    "QRSTUVWXYZ?+()@%",
    "abcdefghijklmnop",
    "qrstuvwxyz,'=&",
)

_ART = """
.###. ..#.. .###. .###. ...#. ##### ..##. ##### .###. .###. ..... ..... ..... ..... ....# .#.#.
#...# .##.. #...# #...# ..##. #.... .#... ....# #...# #...# ..#.. ..... ..... ..... ....# .#.#.
#...# #.#.. ....# ....# .#.#. ####. #.... ...#. #...# #...# ..#.. ..... ..... ..... ...#. #####
#...# ..#.. ...#. ..##. #..#. ....# ####. ...#. .###. .#### ..... ..... .###. ..... ..#.. .#.#.
#...# ..#.. ..#.. ....# ##### ....# #...# ..#.. #...# ....# ..#.. ..... ..... ..... .#... #####
#...# ..#.. .#... #...# ...#. #...# #...# ..#.. #...# ...#. ..#.. .##.. ..... ..... #.... .#.#.
.###. ##### ##### .###. ...#. .###. .###. ..#.. .###. .##.. ..... .##.. ..... ##### #.... .#.#.
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

.###. ####. .#### ##### #...# #...# #...# #...# #...# ##### .###. ..... ...#. .#... .###. ##..#
#...# #...# #.... ..#.. #...# #...# #...# #...# #...# ....# #...# ..#.. ..#.. ..#.. #...# ##..#
#...# #...# #.... ..#.. #...# #...# #...# .#.#. .#.#. ...#. ....# ..#.. .#... ...#. #.### ...#.
#...# ####. .###. ..#.. #...# #...# #.#.# ..#.. ..#.. ..#.. ..##. ##### .#... ...#. #.#.# ..#..
#.#.# #.#.. ....# ..#.. #...# .#.#. #.#.# .#.#. ..#.. .#... ..#.. ..#.. .#... ...#. #.### .#...
#..#. #..#. ....# ..#.. #...# .#.#. ##.## #...# ..#.. #.... ..... ..#.. ..#.. ..#.. #.... #..##
.##.# #...# ####. ..#.. .###. ..#.. #...# #...# ..#.. ##### ..#.. ..... ...#. .#... .#### #..##
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
#...# #.... ....# .#... #...# .#.#. #.#.# .#.#. #...# .#... .##.. ..... ..... #..#.
.#### #.... ####. ..##. .#### ..#.. .#.#. #...# .#### ##### .##.. ..... ..... .##.#
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


@cache  # bounded by the font's characters times the sizes a test card uses
def coverage(character: str, scale: int) -> tuple[bytes, ...]:
    """How much of each pixel the glyph covers, 0 to 255, as `CELLS_HIGH * scale` rows of
    `ADVANCE_CELLS * scale` bytes; `scale` is pixels per cell.

    The cells are interpolated bilinearly and cut at their middle value, which turns the stairs of
    the drawing into slopes and rounds its corners.
    """
    glyph = GLYPHS.get(character, GLYPHS[FALLBACK])
    cells = [[0.0] * (ADVANCE_CELLS + 2)]
    cells += [[0.0, *(float(cell == "#") for cell in row), 0.0, 0.0] for row in glyph]
    cells.append([0.0] * (ADVANCE_CELLS + 2))
    columns = [divmod((x + 0.5) / scale + 0.5, 1) for x in range(ADVANCE_CELLS * scale)]
    rows = []
    for y in range(CELLS_HIGH * scale):
        top, fraction = divmod((y + 0.5) / scale + 0.5, 1)
        above, below = cells[int(top)], cells[min(int(top) + 1, CELLS_HIGH + 1)]
        line = [a + (b - a) * fraction for a, b in zip(above, below, strict=True)]
        rows.append(bytes(_cut(line, int(left), part, scale) for left, part in columns))
    return tuple(rows)


def _cut(line: list[float], left: int, part: float, scale: int) -> int:
    value = line[left] + (line[min(left + 1, len(line) - 1)] - line[left]) * part
    return round(255 * min(1.0, max(0.0, (value - 0.47) * scale + 0.5)))


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
