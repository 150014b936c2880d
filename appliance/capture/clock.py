"""CLOCK_MONOTONIC, which stamps every unit, and waiting for a time on it."""

from __future__ import annotations

import time


def monotonic_us() -> int:
    return time.monotonic_ns() // 1000


def unix_offset_us() -> int:
    """What to add to monotonic time for wall time, now."""
    return time.time_ns() // 1000 - monotonic_us()


def sleep_until_us(due_us: int) -> None:
    wait_us = due_us - monotonic_us()
    if wait_us > 0:
        time.sleep(wait_us / 1_000_000)
