"""Ranges of sizes and rates, which some drivers offer, as the single ones worth choosing; pure."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from appliance.capture.v4l2.device import Wanted

USUAL_SIZES = (
    (320, 180), (320, 240), (640, 360), (640, 480), (800, 600), (960, 540), (1024, 768),
    (1280, 720), (1280, 960), (1640, 1232), (1920, 1080), (2560, 1440), (3840, 2160),
)  # fmt: skip
USUAL_RATES_HZ = (5, 10, 15, 20, 24, 25, 30, 50, 60)


@dataclass(frozen=True, slots=True)
class Steps:
    """From least to most, in steps counted from least."""

    least: int
    most: int
    step: int = 1

    def nearest(self, value: int) -> int:
        """The one at or next above `value`, or the largest."""
        value = min(max(value, self.least), self.most)
        step = max(self.step, 1)
        stepped = self.least + -(-(value - self.least) // step) * step
        return stepped if stepped <= self.most else stepped - step

    def holds(self, value: int) -> bool:
        return self.least <= value <= self.most and (value - self.least) % max(self.step, 1) == 0


def sizes_in(widths: Steps, heights: Steps, wanted: Wanted) -> list[tuple[int, int]]:
    """The wanted size or its nearest, the usual ones the range holds, and its largest."""
    sizes = {
        (widths.nearest(wanted.width), heights.nearest(wanted.height)),
        (widths.nearest(widths.most), heights.nearest(heights.most)),
    }
    sizes |= {size for size in USUAL_SIZES if widths.holds(size[0]) and heights.holds(size[1])}
    return sorted(sizes)


def rates_in(shortest_s: Fraction, longest_s: Fraction, wanted: Wanted) -> list[Fraction]:
    """Rates between two picture intervals: the wanted or its nearest, the usual ones, the ends."""
    fastest = 1 / shortest_s if shortest_s > 0 else Fraction(max(USUAL_RATES_HZ))
    slowest = 1 / longest_s if longest_s > 0 else Fraction(1)
    rates = {fastest, min(max(Fraction(wanted.fps), slowest), fastest)}
    rates |= {Fraction(rate) for rate in USUAL_RATES_HZ if slowest <= rate <= fastest}
    return sorted(rates, reverse=True)
