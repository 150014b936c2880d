"""Words on the picture: a name, the time and free text, light on a dark box.

The box is composed anew only when its words change, which the clock does once a second; every other
picture costs the copying of its rows. It is composed upright for the viewer: on a picture that is
turned by whoever shows it, the box itself lies on its side.
"""

from __future__ import annotations

from time import localtime, strftime
from unicodedata import normalize

from appliance.capture.options import MAX_TEXT_CHARS, OverlayOptions
from appliance.capture.picture.canvas import Canvas, even
from appliance.capture.picture.font import drawable, has_descender, text_luma, text_width_px
from appliance.capture.picture.glyphs import ADVANCE_CELLS, CAP_CELLS, CELLS_HIGH
from appliance.capture.picture.wrapping import wrap

INK, PAPER = 235, 28  # luma
LINE_CELLS = CELLS_HIGH + 1
Rows = list[bytes]


class Overlay:
    """For pictures of one size.

    device: stands for ``{device}`` in the name and the text.
    rotation_deg: how far a viewer will turn the picture clockwise.
    """

    def __init__(
        self,
        settings: OverlayOptions,
        device: str,
        width: int,
        height: int,
        rotation_deg: int = 0,
    ) -> None:
        self.shown = settings.shown
        self._text = ""
        self._device = device
        self._settings = settings
        self._coded = (width, height)
        self._rotation_deg = rotation_deg
        self._width, self._height = (height, width) if rotation_deg % 180 else (width, height)
        # Of the smaller side, so that letters do not grow when a camera stands upright.
        letter = min(width, height) * settings.size_percent / 100
        self._scale = max(1, round(letter / CELLS_HIGH))
        self._second: int | None = None
        self._words: list[str] | None = None
        self._box: Rows = []
        self._at = (0, 0)
        self.text = settings.text
        if settings.clock:
            text_luma("0123456789:-. /", self._scale, INK, PAPER)  # slow the first time: now

    @property
    def text(self) -> str:
        """The free text; may have several lines. What is longer than MAX_TEXT_CHARS is cut."""
        return self._text

    @text.setter
    def text(self, text: str) -> None:
        text = normalize("NFC", text)[:MAX_TEXT_CHARS]
        if text != self._text:
            self._text, self._second = text, None

    def draw(self, canvas: Canvas, unix_us: int) -> None:
        """On a picture taken at `unix_us`."""
        if not self.shown:
            return
        second = unix_us // 1_000_000
        if second != self._second:
            self._second = second
            self._compose(second)
        if self._box:
            canvas.patch(*self._at, self._box)

    def _compose(self, second: int) -> None:
        """The box, if its words are others than before."""
        words = self._lines(second)
        if words == self._words:
            return
        self._words = words
        self._box = _box(words, self._scale, even(self._width), even(self._height))
        if self._box:
            wide, high = len(self._box[0]), len(self._box)
            position = self._settings.position
            margin = even(self._scale * 3)
            x, y = _place(position, self._width - wide, self._height - high, margin)
            self._at = self._turned(x, y, wide, high)
            self._box = _turned_rows(self._box, self._rotation_deg)

    def _lines(self, second: int) -> list[str]:
        """What is written now, no wider than the picture."""
        settings = self._settings
        clock = strftime(settings.clock, localtime(second))[:MAX_TEXT_CHARS]
        name = settings.name.replace("{device}", self._device)[:MAX_TEXT_CHARS]
        text = self._text.replace("{device}", self._device)[:MAX_TEXT_CHARS]
        columns = (self._width // self._scale - 5) // ADVANCE_CELLS
        columns = max(1, columns)
        head = "  ".join(part for part in (name, clock) if part)
        parts = [text] if 0 < len(head) <= columns else [name, clock, text]
        lines = [line for part in parts for line in wrap(part, columns)]
        return [head, *lines] if len(parts) == 1 else lines

    def _turned(self, x: int, y: int, wide: int, high: int) -> tuple[int, int]:
        """Where the box begins on the picture as it is coded."""
        width, height = self._coded
        match self._rotation_deg:
            case 90:
                return y, height - x - wide
            case 180:
                return width - x - wide, height - y - high
            case 270:
                return width - y - high, x
        return x, y


def _box(words: list[str], scale: int, width: int, height: int) -> Rows:
    """Rows of luma, as many as fit; even in both directions."""
    if not words:
        return []
    pad = 2 * scale
    line_high = LINE_CELLS * scale
    longest = max(map(len, words))
    wide = min(width, _even_up(text_width_px(" " * longest, scale) - scale + 2 * pad))
    blank = bytes((PAPER,)) * wide
    rows: Rows = [blank] * pad
    for number, line in enumerate(words):
        rows += [blank] * (number * line_high + pad - len(rows))
        rows += [_padded(row, pad, wide) for row in text_luma(line, scale, INK, PAPER)]
    if not any(has_descender(drawable(character)) for character in words[-1]):
        del rows[len(rows) - (CELLS_HIGH - CAP_CELLS) * scale :]
    rows += [blank] * pad
    rows += [blank] * (len(rows) % 2)
    return rows[:height]


def _padded(row: bytes, pad: int, wide: int) -> bytes:
    paper = bytes((PAPER,))
    return (paper * pad + row)[:wide].ljust(wide, paper)


def _place(position: str, free_x: int, free_y: int, margin: int) -> tuple[int, int]:
    """The corner of a box that leaves this much of the picture free."""
    x, y = min(margin, even(free_x)), min(margin, even(free_y))
    if position.endswith("right"):
        x = max(0, free_x - x)
    elif "-" not in position:
        x = even(free_x / 2)
    if position.startswith("bottom"):
        y = max(0, free_y - y)
    return x, y


def _turned_rows(rows: Rows, rotation_deg: int) -> Rows:
    """Against the turn that a viewer makes."""
    match rotation_deg:
        case 90:
            return [bytes(column) for column in zip(*rows, strict=True)][::-1]
        case 180:
            return [row[::-1] for row in reversed(rows)]
        case 270:
            return [bytes(column)[::-1] for column in zip(*rows, strict=True)]
    return rows


def _even_up(value: int) -> int:
    return value + value % 2
