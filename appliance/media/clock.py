"""Clock arithmetic: wrapping counters to endless ones, ticks to microseconds and back.

Convert absolute stamps only; a sum of converted durations drifts.
"""

from __future__ import annotations

US_PER_S = 1_000_000


class Unroller:
    """Turns a counter that wraps at `bits` bits into one that does not.

    Each value is placed nearest to the one before, so small steps backwards (reordered packets,
    B-frame stamps) work across a wrap too. Results may be negative when the first values are
    small and an earlier stamp comes late.
    """

    __slots__ = ("_half", "_last", "_mask")

    def __init__(self, bits: int) -> None:
        self._mask = (1 << bits) - 1
        self._half = 1 << (bits - 1)
        self._last: int | None = None

    def unroll(self, value: int) -> int:
        """The endless form of `value`, of which only the low bits count."""
        value &= self._mask
        if self._last is None:
            self._last = value
            return value
        step = (value - self._last) & self._mask
        if step >= self._half:
            step -= self._mask + 1
        self._last += step
        return self._last


def ticks_to_us(ticks: int, rate_hz: int) -> int:
    """A stamp of a clock of `rate_hz` in microseconds, a half rounded up."""
    return (2 * ticks * US_PER_S + rate_hz) // (2 * rate_hz)


def us_to_ticks(us: int, rate_hz: int) -> int:
    """A stamp in microseconds on a clock of `rate_hz`, a half rounded up."""
    return (2 * us * rate_hz + US_PER_S) // (2 * US_PER_S)
