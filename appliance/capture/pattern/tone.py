"""The sound of the test pattern: a quiet tone, and a beep at the start of every second.

All frequencies are whole numbers of hertz, so one second of samples repeats without a seam.
"""

from __future__ import annotations

from array import array
from math import pi, sin

TONE_HZ = 220
TONE_LEVEL = 0.02  # -34 dBFS: there to be measured, not to be listened to
BEEP_HZ = 1000
BEEP_LEVEL = 0.25
BEEP_US = 100_000  # as long as the flash
FADE_US = 3_000  # against clicks


def one_second(rate_hz: int) -> array[float]:
    """32-bit float samples of one second that begins with the beep."""
    samples = array("f", bytes(4 * rate_hz))
    fade = rate_hz * FADE_US // 1_000_000
    beep = rate_hz * BEEP_US // 1_000_000
    for index in range(rate_hz):
        phase = 2 * pi * index / rate_hz
        value = TONE_LEVEL * sin(TONE_HZ * phase)
        if index < beep:
            edge = min(1.0, index / fade, (beep - index) / fade)
            value += BEEP_LEVEL * edge * sin(BEEP_HZ * phase)
        samples[index] = value
    return samples


class Tone:
    """Reads the second round and round; `seek` places the beep."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        second = one_second(rate_hz)
        self._samples = memoryview(second + second).cast("B")  # any stretch ≤ 1 s is one slice

    def samples(self, start: int, count: int) -> memoryview:
        """`count` samples (at most a second's) from sample number `start` on, as bytes."""
        first = start % self.rate_hz * 4
        return self._samples[first : first + count * 4]
