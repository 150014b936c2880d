"""The test card: what never changes is drawn once, what moves is redrawn for every picture.

Layout, top to bottom: names of the device and the stream; a bar that fills in the course of each
second and flashes with the beep; colour bars (75 %) behind a panel with the running clock and the
picture's number; a strip with a box that travels; a grey ramp; the figures of the encoding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from time import localtime, strftime

from appliance.capture.pattern.controls import CardControls
from appliance.capture.pattern.tone import BEEP_US
from appliance.capture.picture.canvas import Canvas, Colour, even, rgb
from appliance.capture.picture.font import text_luma, text_width_px
from appliance.capture.picture.glyphs import CAP_CELLS

NIGHT = rgb(20, 22, 26)
PANEL = rgb(28, 28, 28)
EDGE = rgb(70, 70, 70)
TRACK = rgb(44, 47, 52)
SWEEP = rgb(64, 156, 255)
FLASH = rgb(255, 255, 255)
BOX = rgb(255, 149, 40)
BARS = (
    rgb(191, 191, 191), rgb(191, 191, 0), rgb(0, 191, 191), rgb(0, 191, 0),
    rgb(191, 0, 191), rgb(191, 0, 0), rgb(0, 0, 191),
)  # fmt: skip
GREYS = tuple(rgb(*(255 * step // 10,) * 3) for step in range(11))
BRIGHT, SOFT = 235, 150  # luma of important and of lesser text
BOX_TRIP_US = 4_000_000  # once across
DATE_CHARACTERS = 16  # so that a shorter zone's name wipes out a longer one
NUMBER_DIGITS = 7
NUMBERS = 10**NUMBER_DIGITS  # then they begin again, after days
CLOCK_FORM = "00:00:00.000"


@dataclass(frozen=True, slots=True)
class Caption:
    """The words on the card."""

    device: str
    stream: str
    figures: str


class TestCard:
    """Draws on canvases of one size. The first `draw` on a canvas must follow `paint`."""

    __test__ = False  # not a test, whatever pytest makes of the name

    def __init__(
        self, width: int, height: int, caption: Caption, controls: CardControls | None = None
    ) -> None:
        self._caption = caption
        self._controls = controls or CardControls()
        self._changes = self._controls.changes
        self.width = width
        self.height = height
        self._still = Canvas.blank(width, height)
        unit = min(height / 72, width / 128)  # 10 px of a 1280x720 picture
        self._unit = unit
        self._small = max(1, round(unit * 0.3))
        self.middle = max(1, round(unit * 0.4))
        self.large = max(1, round(unit))
        self.sweep_y, self._sweep_high = even(height * 0.1), max(2, even(unit * 1.2))
        self._strip_y, self._strip_high = even(height * 0.68), even(height * 0.1)
        self.box = max(2, even(unit * 5.6))
        self.box_y = self._strip_y + even((self._strip_high - self.box) / 2)
        self._box_x = -1
        self._second = -1
        self._clock = ""
        self._date = ""
        self._prepare()

    # -- what never changes --------------------------------------------------------------------

    def _prepare(self) -> None:
        """What all pictures share at this brightness."""
        self._panel, self._track, self._sweep, self._flash, self._box = map(
            self._lit, (PANEL, TRACK, SWEEP, FLASH, BOX)
        )
        self._bright, self._soft = self._lit_luma(BRIGHT), self._lit_luma(SOFT)
        self._draw_still(self._caption)
        # Slow the first time: now.
        text_luma("0123456789:.", self.large, self._bright, self._panel.y)
        text_luma("0123456789-#", self.middle, self._soft, self._panel.y)

    def _lit_luma(self, y: int) -> int:
        return min(235, max(16, y + self._controls.brightness))

    def _lit(self, colour: Colour) -> Colour:
        return Colour(self._lit_luma(colour.y), colour.cb, colour.cr)

    def _draw_still(self, caption: Caption) -> None:
        self._still.fill(0, 0, self.width, self.height, self._lit(NIGHT))
        self._draw_captions(caption)
        top, bottom = even(self.height * 0.13), self._strip_y
        self._draw_columns(top, bottom - top, BARS)
        self._still.fill(0, self._strip_y, self.width, self._strip_high, self._track)
        self._draw_columns(bottom + self._strip_high, even(self.height * 0.09), GREYS)
        self._draw_panel((top + bottom) / 2)

    def _draw_columns(self, y: int, height: int, colours: Sequence[Colour]) -> None:
        """The whole width, divided among these."""
        edges = [even(self.width * n / len(colours)) for n in range(len(colours) + 1)]
        for colour, (left, right) in zip(colours, pairwise(edges), strict=True):
            self._still.fill(left, y, right - left, height, self._lit(colour))

    def _draw_panel(self, middle_y: float) -> None:
        """The ground of the clock, and where everything on it stands."""
        unit, still = self._unit, self._still
        clock_wide = text_width_px(CLOCK_FORM, self.large) - self.large  # without the last gap
        wide, high = even(clock_wide + unit * 7), even(unit * 24)
        x, y = even((self.width - wide) / 2), even(middle_y - high / 2)
        border = max(2, even(unit * 0.3))
        still.fill(x - border, y - border, wide + 2 * border, high + 2 * border, self._lit(EDGE))
        still.fill(x, y, wide, high, self._panel)
        self.clock_x = (self.width - clock_wide) // 2
        self.clock_y = y + round(unit * 4.5)
        self.line_y = self.clock_y + self.large * CAP_CELLS + round(unit * 4.5)
        number_wide = text_width_px("0" * NUMBER_DIGITS, self.middle) - self.middle
        self.number_x = self.clock_x + clock_wide - number_wide

    def _draw_captions(self, caption: Caption) -> None:
        still, margin = self._still, round(self._unit * 3)
        bright, soft, night = self._bright, self._soft, self._lit(NIGHT).y
        room = (self.width // 2 - margin) // text_width_px(" ", self.middle)
        device, stream = caption.device[:room], caption.stream[:room]
        head_y = (self.sweep_y - self.middle * CAP_CELLS) // 2
        still.text(margin, head_y, device, self.middle, bright, night)
        right_x = self.width - margin - text_width_px(stream, self.middle) + self.middle
        still.text(right_x, head_y, stream, self.middle, bright, night)
        foot = even(self.height * 0.87)
        foot_y = foot + (self.height - foot - self._small * CAP_CELLS) // 2
        still.text(margin, foot_y, caption.figures, self._small, soft, night)

    # -- what moves ----------------------------------------------------------------------------

    def paint(self, canvas: Canvas) -> None:
        """The whole card, before the first `draw` on this canvas."""
        canvas.copy(self._still, 0, 0, self.width, self.height)

    def draw(self, canvas: Canvas, number: int, unix_us: int) -> None:
        """What changes: picture `number`, taken at `unix_us`."""
        if self._changes != self._controls.changes:
            self._changes = self._controls.changes
            self._prepare()
            self.paint(canvas)
        second, within_us = divmod(unix_us, 1_000_000)
        if second != self._second:
            self._second = second
            now = localtime(second)
            self._clock = strftime("%H:%M:%S", now)
            self._date = f"{strftime('%Y-%m-%d %Z', now):<{DATE_CHARACTERS}}"
        clock = f"{self._clock}.{within_us // 1000:03d}"
        canvas.text(self.clock_x, self.clock_y, clock, self.large, self._bright, self._panel.y)
        canvas.text(self.clock_x, self.line_y, self._date, self.middle, self._soft, self._panel.y)
        digits = f"{number % NUMBERS:0{NUMBER_DIGITS}d}"
        canvas.text(self.number_x, self.line_y, digits, self.middle, self._soft, self._panel.y)
        self._draw_sweep(canvas, within_us)
        self._draw_box(canvas, unix_us)

    def _draw_sweep(self, canvas: Canvas, within_us: int) -> None:
        if within_us < BEEP_US:
            canvas.fill(0, self.sweep_y, self.width, self._sweep_high, self._flash)
            return
        done = even(self.width * within_us / 1_000_000)
        canvas.fill(0, self.sweep_y, done, self._sweep_high, self._sweep)
        canvas.fill(done, self.sweep_y, self.width - done, self._sweep_high, self._track)

    def _draw_box(self, canvas: Canvas, unix_us: int) -> None:
        y = self.box_y
        if self._box_x >= 0:
            canvas.copy(self._still, self._box_x, y, self.box, self.box)
            self._box_x = -1
        if not self._controls.box:
            return
        trip_us = int(BOX_TRIP_US / self._controls.speed)
        trip, within_us = divmod(unix_us, trip_us)
        way = within_us / trip_us
        self._box_x = even((self.width - self.box) * (1 - way if trip % 2 else way))
        canvas.fill(self._box_x, y, self.box, self.box, self._box)
