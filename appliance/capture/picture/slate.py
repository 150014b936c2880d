"""The slate: a calm still picture that says why there is no other one.

From top to bottom: a camera that is crossed out, the device's name, one or two sentences. It has no
clock, because it stands still.
"""

from __future__ import annotations

from dataclasses import dataclass
from unicodedata import normalize

from appliance.capture.picture.canvas import Canvas, even, rgb
from appliance.capture.picture.font import text_width_px
from appliance.capture.picture.glyphs import ADVANCE_CELLS, CAP_CELLS, CELLS_HIGH
from appliance.capture.picture.strokes import Coverage, blank_coverage, draw_strokes, path
from appliance.capture.picture.wrapping import wrap

GROUND = rgb(27, 27, 27)
BRIGHT, SOFT, ICON = 225, 165, 110  # luma of the heading, the text and the camera
LINE_CELLS = CELLS_HIGH + 2
MAX_TEXT_CHARS = 300
MAX_HEADING_CHARS = 64

# The camera, in cells of a grid
ICON_WIDE, ICON_HIGH = 20, 14
BODY = path((2, 3), (12, 3), (12, 11), (2, 11), (2, 3))
LENS = path((12, 6.2), (17, 3.8), (17, 10.2), (12, 7.8))
CROSS = path((3.5, 0), (15.5, 13))
PEN, GAP = 0.45, 1.3  # radius of a line, and of what the crossing one keeps free


@dataclass(frozen=True, slots=True)
class _Block:
    """Lines of one size."""

    lines: list[str]
    scale: int

    @property
    def high(self) -> int:
        return len(self.lines) * LINE_CELLS * self.scale


def draw_slate(canvas: Canvas, heading: str, text: str) -> None:
    """On the whole canvas; words are made as large as they find room, at most MAX_TEXT_CHARS."""
    width, height = canvas.width, canvas.height
    canvas.fill(0, 0, width, height, GROUND)
    margin = width // 16
    room = width - 2 * margin
    largest = max(1, -(-min(width, height) // 180))  # 4 pixels per cell of a 1280x720 picture
    head = _fitting(normalize("NFC", heading)[:MAX_HEADING_CHARS], room, height // 6, largest + 1)
    body = _fitting(normalize("NFC", text)[:MAX_TEXT_CHARS], room, height * 2 // 5, largest)
    space = height // 20
    icon_scale = min(width, height) * 0.26 / ICON_HIGH
    icon_high = round(icon_scale * ICON_HIGH)
    y = (height - icon_high - space - head.high - space // 2 - body.high) // 2
    _draw_icon(canvas, max(0, y), icon_scale)
    y += icon_high + space
    _draw_block(canvas, y, head, BRIGHT)
    _draw_block(canvas, y + head.high + space // 2, body, SOFT)


def _fitting(text: str, wide: int, high: int, largest: int) -> _Block:
    """The text in the largest size in which it fits; what does not fit in the smallest is cut."""
    for scale in range(largest, 0, -1):
        columns = max(1, (wide // scale + 1) // ADVANCE_CELLS)
        block = _Block(_balanced(text, columns), scale)
        if block.high <= high:
            return block
    return _Block(block.lines[: max(1, high // LINE_CELLS)], 1)


def _balanced(text: str, columns: int) -> list[str]:
    """No more lines than are needed, and these about as long as each other."""
    lines = wrap(text, columns)
    while columns > 1:
        columns -= 1
        shorter = wrap(text, columns)
        if len(shorter) > len(lines):
            break
        lines = shorter
    return lines


def _draw_block(canvas: Canvas, y: int, block: _Block, ink: int) -> None:
    """Each line in the middle."""
    for line in block.lines:
        wide = text_width_px(line, block.scale) - block.scale
        x = max(0, (canvas.width - wide) // 2)
        if 0 <= y <= canvas.height - CAP_CELLS * block.scale:
            canvas.text(x, y, line, block.scale, ink, GROUND.y)
        y += LINE_CELLS * block.scale


def _draw_icon(canvas: Canvas, y: int, scale: float) -> None:
    wide, high = even(scale * ICON_WIDE), even(scale * ICON_HIGH)
    if wide < 2 or high < 2:
        return
    icon, gap = blank_coverage(wide, high), blank_coverage(wide, high)
    draw_strokes(icon, [*BODY, *LENS], scale, PEN)
    draw_strokes(gap, CROSS, scale, GAP)
    _remove(icon, gap)
    draw_strokes(icon, CROSS, scale, PEN)
    table = bytes(round(GROUND.y + (ICON - GROUND.y) * level / 255) for level in range(256))
    rows = [bytes(row).translate(table) for row in icon]
    canvas.patch(even((canvas.width - wide) / 2), even(y), rows)


def _remove(rows: Coverage, removed: Coverage) -> None:
    for row, other in zip(rows, removed, strict=True):
        row[:] = bytes(level * (255 - less) // 255 for level, less in zip(row, other, strict=True))
