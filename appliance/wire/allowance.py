"""How much a peer may say or ask within a second."""

from __future__ import annotations

from dataclasses import dataclass

SECOND_US = 1_000_000


@dataclass(slots=True)
class Allowance:
    """limit: of bytes, or of whatever is counted; it begins anew with each second."""

    limit: int
    _second: int = 0
    _taken: int = 0

    def take(self, count: int, now_us: int) -> bool:
        """Whether so much more is still within the limit; it is counted in any case."""
        second = now_us // SECOND_US
        if second != self._second:
            self._second, self._taken = second, 0
        self._taken += count
        return self._taken <= self.limit
