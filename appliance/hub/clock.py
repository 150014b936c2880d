"""The two clocks of the appliance, in one object so that tests can hold both."""

from __future__ import annotations

import time


class Clock:
    """Monotonic microseconds for all media; wall microseconds for people and playlists."""

    def monotonic_us(self) -> int:
        """CLOCK_MONOTONIC, the clock that capture timestamps use too."""
        return time.monotonic_ns() // 1000

    def unix_us(self) -> int:
        """UTC since 1970; steps when the board finally hears of the time."""
        return time.time_ns() // 1000


SYSTEM_CLOCK = Clock()
