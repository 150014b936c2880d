"""How fast samples may be taken from a device that has them as fast as they are taken.

A microphone keeps time by itself. ALSA's `null`, or `file` on it, is always full: without a bound
it would keep a core busy and put hours of sound into the stream. Such a device is read at its
nominal rate by our clock; any other at no more than MAX_SPEED times its own, after a burst of
what had been waiting.
"""

from __future__ import annotations

MAX_SPEED = 1.05  # more than any crystal errs
MAX_BURST_US = 1_000_000  # what a device's buffer held while we could not look


class Pace:
    def __init__(self, rate_hz: int, now_us: int) -> None:
        self._period_us = 1_000_000 / rate_hz
        self._due_us = float(now_us)
        self.clocked = True

    def take(self, samples: int, now_us: int, *, clocked: bool) -> int:
        """Count what was taken. Returns when, by our clock, the last of it was heard."""
        if not clocked and self.clocked:
            self.clocked, self._due_us = False, float(now_us)
        speed = MAX_SPEED if self.clocked else 1.0
        earliest_us = now_us - MAX_BURST_US
        self._due_us = max(self._due_us, earliest_us) + samples * self._period_us / speed
        return int(self._due_us)

    def wait_us(self, now_us: int) -> int:
        """How long to leave the device alone; 0 if it may be read."""
        return max(0, int(self._due_us) - now_us)
