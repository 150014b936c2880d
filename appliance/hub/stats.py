"""Figures that streams and services keep for the API, the metrics and the recovery ladder."""

from __future__ import annotations

import logging
from array import array
from collections import Counter
from dataclasses import dataclass, field

from appliance.hub.clock import SYSTEM_CLOCK, Clock
from appliance.media.unit import AccessUnit

WINDOW_US = 30_000_000  # SRS reports rates over 30 s
MARK_US = 5_000_000


class RateMeter:
    """A byte count with its rate over the last 30 s.

    Every session has two, so it holds little: the count at seven moments, 5 s apart.
    """

    __slots__ = ("_marks", "_next_us", "total_bytes")

    def __init__(self) -> None:
        self.total_bytes = 0
        self._marks = array("q")  # microseconds and count, in turns
        self._next_us: int | None = None  # when the next mark is due

    def add(self, count_bytes: int, now_us: int) -> None:
        if not count_bytes:
            return
        if self._next_us is None or now_us >= self._next_us:
            self._drop_marks(now_us)
            self._marks.extend((now_us, self.total_bytes))
            self._next_us = now_us + MARK_US
        self.total_bytes += count_bytes

    def _drop_marks(self, now_us: int) -> None:
        while self._marks and self._marks[0] < now_us - WINDOW_US:
            del self._marks[:2]

    def rate_bps(self, now_us: int) -> int:
        """Bits per second over the window, or over what there has been of it."""
        self._drop_marks(now_us)
        if not self._marks:
            return 0
        since_us, before_bytes = self._marks[:2]
        span_us = max(1_000_000, now_us - since_us)
        return (self.total_bytes - before_bytes) * 8 * 1_000_000 // span_us


@dataclass(slots=True)
class TrackStats:
    """What one track has done so far; times are monotonic microseconds, None before the first."""

    units: int = 0
    keys: int = 0
    last_unit_us: int | None = None
    last_key_us: int | None = None
    key_interval_us: int | None = None
    rate: RateMeter = field(default_factory=RateMeter)

    def count(self, unit: AccessUnit, now_us: int) -> None:
        self.units += 1
        self.last_unit_us = now_us
        self.rate.add(unit.size_bytes, now_us)
        if unit.key:
            self.keys += 1
            if self.last_key_us is not None:
                self.key_interval_us = now_us - self.last_key_us
            self.last_key_us = now_us


class Faults:
    """Counts every fault and tells each kind at most once a second, with how many were not told.

    The counts are `rejects_total{proto,reason}` in the metrics. `proto` and `reason` are words of
    ours, never a peer's, so the table is bounded by the code.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._told_us: dict[tuple[str, str], int] = {}
        self._untold: Counter[tuple[str, str]] = Counter()
        self.counts: Counter[tuple[str, str]] = Counter()

    def count(
        self,
        proto: str,
        reason: str,
        detail: str = "",
        *,
        log: logging.Logger | logging.LoggerAdapter[logging.Logger] | None = None,
        level: int = logging.WARNING,
    ) -> None:
        """One fault. `detail` may quote a peer: it is cut to 200 characters and escaped."""
        kind = (proto, reason)
        self.counts[kind] += 1
        now_us = self._clock.monotonic_us()
        told_us = self._told_us.get(kind)
        if told_us is not None and now_us - told_us < 1_000_000:
            self._untold[kind] += 1
            return
        self._told_us[kind] = now_us
        untold = self._untold.pop(kind, 0)
        more = f" (and {untold} more like it)" if untold else ""
        text = detail[:200].encode("unicode_escape").decode("ascii")
        (log or logging.getLogger(__name__)).log(
            level, "%s: %s%s%s", proto, reason, f": {text}" if text else "", more
        )


class Counters:
    """Monotonic counters by name and label set, for /metrics."""

    def __init__(self) -> None:
        self.values: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()

    def add(self, name: str, count: int = 1, **labels: str) -> None:
        self.values[name, tuple(sorted(labels.items()))] += count
