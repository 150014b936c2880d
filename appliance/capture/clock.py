"""CLOCK_MONOTONIC, which stamps every unit, and waiting for a time on it."""

from __future__ import annotations

import time

CLOCK_STEP_US = 100_000  # the wall clock was set, not slewed


def monotonic_us() -> int:
    return time.monotonic_ns() // 1000


def unix_offset_us() -> int:
    """What to add to monotonic time for wall time, now."""
    return time.time_ns() // 1000 - monotonic_us()


def sleep_until_us(due_us: int) -> None:
    wait_us = due_us - monotonic_us()
    if wait_us > 0:
        time.sleep(wait_us / 1_000_000)


class WallClock:
    """Monotonic → wall time by one offset, which follows only real steps of the clock."""

    def __init__(self) -> None:
        self._offset_us = unix_offset_us()

    def unix_us(self, time_us: int) -> int:
        return time_us + self._offset_us

    def follow(self) -> None:
        offset_us = unix_offset_us()
        if abs(offset_us - self._offset_us) > CLOCK_STEP_US:
            self._offset_us = offset_us
