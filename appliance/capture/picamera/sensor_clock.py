"""The clock of libcamera's SensorTimestamp on ours.

libcamera's documentation says CLOCK_BOOTTIME; its pipelines hand on the stamp of the V4L2 buffer,
which is CLOCK_MONOTONIC. They differ by the time the machine slept, so on a board that never did
both are right.
"""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[int], int]  # a clock's id to nanoseconds
OLD_US = 10_000_000  # more than any exposure and its way to us


class SensorClock:
    """Decided by the first stamp: it lies in the past, and not far back. A camera whose stamps are
    of neither clock counts from when its first picture came."""

    def __init__(self, read_ns: Clock = time.clock_gettime_ns) -> None:
        self._read_ns = read_ns
        self._shift_us: int | None = None

    def monotonic_us(self, sensor_us: int) -> int:
        """CLOCK_MONOTONIC at the exposure that the camera stamped with `sensor_us`."""
        if self._shift_us is None:
            self._shift_us = self._find_shift(sensor_us)
        return sensor_us - self._shift_us

    def _find_shift(self, sensor_us: int) -> int:
        now_us = self._read_ns(time.CLOCK_MONOTONIC) // 1000
        slept_us = self._read_ns(time.CLOCK_BOOTTIME) // 1000 - now_us
        for shift_us in (0, slept_us):
            if 0 <= now_us - (sensor_us - shift_us) < OLD_US:
                return shift_us
        return sensor_us - now_us
