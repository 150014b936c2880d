"""How much a sane worker says: a bound on what a mad one can make this process do."""

from __future__ import annotations

from appliance.hub.clock import Clock
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.messages import Event

# Two streams of 240 pictures a second and sound; the burst is what a pipe of 64 KiB can hold
# while we are stopped, were all of it as small as it gets.
UNITS_HZ, UNITS_BURST = 800, 3_000
# Twice the highest bit rate that can be set, and a few pictures as large as the pipe lets them be:
# what is kept of a stream is bounded in seconds too, so a second must be bounded in bytes.
BYTES_HZ, BYTES_BURST = 50_000_000, 12_000_000
WORDS_HZ, WORDS_BURST = 20, 100  # states, tracks, what nobody asked for: rare, and dear to read


class Allowance:
    """`take` each event; False once there were too many. Refilled by the clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._refilled_us = clock.monotonic_us()
        self._units = float(UNITS_BURST)
        self._bytes = float(BYTES_BURST)
        self._words = float(WORDS_BURST)

    def take(self, event: Event) -> bool:
        if isinstance(event, AccessUnit):
            self._units -= 1
            self._bytes -= event.size_bytes
            if self._units < 0 or self._bytes < 0:
                self._refill()
            return self._units >= 0 and self._bytes >= 0
        self._words -= 1
        if self._words < 0:
            self._refill()
        return self._words >= 0

    def _refill(self) -> None:
        """Only when empty: the clock need not be asked for every picture."""
        now_us = self._clock.monotonic_us()
        passed_s = (now_us - self._refilled_us) / 1_000_000
        self._refilled_us = now_us
        self._units = min(UNITS_BURST, self._units + passed_s * UNITS_HZ)
        self._bytes = min(BYTES_BURST, self._bytes + passed_s * BYTES_HZ)
        self._words = min(WORDS_BURST, self._words + passed_s * WORDS_HZ)

    def describe(self) -> str:
        what = "messages" if self._words < 0 else "pictures and sounds"
        return f"the worker sends more {what} than any camera makes"
