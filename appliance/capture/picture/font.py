"""A small monospaced font: cells that are joined by round strokes.

A glyph is 5 cells wide and 9 high (7 above the base line, 2 below); characters advance 6 cells.
Letters with marks are put together: small ones have room above, tall ones are made lower.
"""

from __future__ import annotations

from functools import lru_cache
from unicodedata import normalize

from appliance.capture.picture.glyphs import (
    ADVANCE_CELLS,
    CAP_CELLS,
    CELLS_HIGH,
    CELLS_WIDE,
    GLYPHS,
    X_CELLS,
)
from appliance.capture.picture.strokes import Stroke, blank_coverage, draw_strokes, path

FALLBACK = "?"
STROKE_RADIUS_CELLS = 0.45
MAX_SHAPES, MAX_GLYPHS = 128, 512  # kept: against texts with ever new characters in large sizes
MAX_CHARACTERS = 4096  # looked up: against the same, at a few bytes each

_MARKS: dict[str, list[Stroke]] = {  # combining characters, in the two rows above small letters
    "\u0300": path((1.2, 0), (2.2, 0.6)),  # grave
    "\u0301": path((2.8, 0), (1.8, 0.6)),  # acute
    "\u0302": path((1, 0.7), (2, 0), (3, 0.7)),  # circumflex
    "\u0303": path((0.6, 0.6), (1.4, 0.1), (2.6, 0.6), (3.4, 0.1)),  # tilde
    "\u0304": path((1, 0.3), (3, 0.3)),  # macron
    "\u0306": path((1, 0), (2, 0.7), (3, 0)),  # breve
    "\u0307": [Stroke(2, 0.3, 0, 0)],  # dot
    "\u0308": [Stroke(1, 0.3, 0, 0), Stroke(3, 0.3, 0, 0)],  # diaeresis
    "\u030a": path((2, -0.1), (2.5, 0.35), (2, 0.8), (1.5, 0.35), (2, -0.1)),  # ring
    "\u030b": [*path((1.8, 0), (1, 0.6)), *path((3.6, 0), (2.8, 0.6))],  # double acute
    "\u030c": path((1, 0), (2, 0.7), (3, 0)),  # caron
}
_MARKS_BELOW: dict[str, list[Stroke]] = {
    "\u0327": path((2, 6), (2.3, 7.4), (1.5, 8)),  # cedilla
    "\u0328": path((3, 6), (2.4, 7.4), (3.2, 8)),  # ogonek
}
_LOOKS_LIKE = dict(zip("–—−‘’“”„«»…·ıłŁđĐ", '---\'\'"""""..ilLdD', strict=True))


@lru_cache(maxsize=MAX_CHARACTERS)
def drawable(character: str) -> str:
    """The character itself, or what stands for it: without its mark, FALLBACK in the end."""
    character = _LOOKS_LIKE.get(character, character)
    base, *marks = list(normalize("NFD", character))
    if base not in GLYPHS:
        return FALLBACK
    return character if all(m in _MARKS or m in _MARKS_BELOW for m in marks) else base


def strokes(character: str) -> list[Stroke]:
    """Of a `drawable` character."""
    base, *marks = list(normalize("NFD", character))
    found = _letter(base)
    if any(mark in _MARKS for mark in marks):
        if base in "ij":
            found = [stroke for stroke in found if stroke.y >= X_CELLS]  # loses its dot
        elif any(stroke.y < X_CELLS for stroke in found):
            found = [_lowered(stroke) for stroke in found]
    for mark in marks:
        found += _MARKS.get(mark) or _MARKS_BELOW[mark]
    return found


def _lowered(stroke: Stroke) -> Stroke:
    """From the height of capitals to that of small letters, as far as above the base line."""
    factor = (CAP_CELLS - 1 - X_CELLS) / (CAP_CELLS - 1)
    return Stroke(stroke.x, X_CELLS + stroke.y * factor, stroke.dx, stroke.dy * factor)


def _letter(character: str) -> list[Stroke]:
    """Every set cell joined to its set neighbours; across a corner only where no third cell
    joins the two already."""
    glyph = GLYPHS[character]

    def is_set(x: int, y: int) -> bool:
        return 0 <= x < CELLS_WIDE and 0 <= y < CELLS_HIGH and glyph[y][x] == "#"

    found: list[Stroke] = []
    for x, y in ((x, y) for y in range(CELLS_HIGH) for x in range(CELLS_WIDE) if is_set(x, y)):
        found += [Stroke(x, y, dx, dy) for dx, dy in ((1, 0), (0, 1)) if is_set(x + dx, y + dy)]
        found += [
            Stroke(x, y, dx, 1)
            for dx in (-1, 1)
            if is_set(x + dx, y + 1) and not (is_set(x + dx, y) or is_set(x, y + 1))
        ]
        around = ((x + dx, y + dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1) if dx or dy)
        if not any(is_set(*cell) for cell in around):
            found.append(Stroke(x, y, 0, 0))
    return found


@lru_cache(maxsize=MAX_CHARACTERS)
def has_descender(character: str) -> bool:
    """Whether a `drawable` glyph reaches below the base line."""
    return any(max(s.y, s.y + s.dy) > CAP_CELLS - 0.5 for s in strokes(character))


@lru_cache(maxsize=MAX_SHAPES)
def coverage(character: str, scale: int) -> tuple[bytes, ...]:
    """How much of each pixel a `drawable` glyph covers, 0 to 255, as `CELLS_HIGH * scale` rows of
    `ADVANCE_CELLS * scale` bytes; `scale` is pixels per cell."""
    rows = blank_coverage(ADVANCE_CELLS * scale, CELLS_HIGH * scale)
    draw_strokes(rows, strokes(character), scale, STROKE_RADIUS_CELLS)
    return tuple(map(bytes, rows))


def text_width_px(text: str, scale: int) -> int:
    return len(text) * ADVANCE_CELLS * scale


@lru_cache(maxsize=MAX_GLYPHS)
def glyph_luma(character: str, scale: int, ink: int, paper: int) -> tuple[bytes, ...]:
    """A `drawable` glyph as rows of luma bytes, ink on paper."""
    table = bytes(round(paper + (ink - paper) * level / 255) for level in range(256))
    return tuple(row.translate(table) for row in coverage(character, scale))


def text_luma(text: str, scale: int, ink: int, paper: int) -> list[bytes]:
    """A line of text as rows of luma bytes; none of an empty one."""
    glyphs = [glyph_luma(drawable(character), scale, ink, paper) for character in text]
    return [b"".join(row) for row in zip(*glyphs, strict=True)]
