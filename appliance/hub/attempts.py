"""Slows down whoever guesses passwords: five wrong ones, then a doubling wait up to a minute."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from appliance.hub.clock import SYSTEM_CLOCK, Clock

FREE_FAILURES = 5
FIRST_WAIT_US = 1_000_000
MAX_WAIT_US = 60_000_000
FORGET_US = 15 * 60_000_000
MAX_SOURCES = 1024  # against guesses from ever new addresses


@dataclass(slots=True)
class _Record:
    failures: int = 0
    blocked_until_us: int = 0
    last_us: int = 0


class Attempts:
    """Failures by source. An attempt made while blocked changes nothing, so no wait exceeds
    MAX_WAIT_US however often somebody tries: a source is slowed, never locked out."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def wait_us(self, source: str) -> int:
        """How long this source still has to wait; 0 if it may try now."""
        record = self._records.get(source)
        if record is None:
            return 0
        now_us = self._clock.monotonic_us()
        if now_us - record.last_us > FORGET_US:
            del self._records[source]
            return 0
        return max(0, record.blocked_until_us - now_us)

    def begin(self, source: str) -> None:
        """An attempt starts. It counts as a failure until `succeed`, so that guesses sent side
        by side are counted as well as those sent one after the other."""
        now_us = self._clock.monotonic_us()
        record = self._records.setdefault(source, _Record())
        self._records.move_to_end(source)
        if len(self._records) > MAX_SOURCES:
            self._records.popitem(last=False)
        record.failures += 1
        record.last_us = now_us
        over = record.failures - FREE_FAILURES
        if over >= 0:
            wait_us = min(MAX_WAIT_US, FIRST_WAIT_US << min(over, 16))
            record.blocked_until_us = now_us + wait_us

    def succeed(self, source: str) -> None:
        """The attempt was right: takes itself back. Earlier failures stay until forgotten, so
        that an account of one's own does not buy guesses at another's."""
        record = self._records.get(source)
        if record is None:
            return
        record.failures -= 1
        record.blocked_until_us = 0
        if record.failures <= 0:
            del self._records[source]
