"""Figures that streams and services keep for the API, the metrics and the recovery ladder."""

from __future__ import annotations

import logging
from collections import Counter, deque
from dataclasses import dataclass, field

from appliance.hub.clock import SYSTEM_CLOCK, Clock
from appliance.media.unit import AccessUnit

BUCKET_US = 1_000_000
WINDOW_US = 30_000_000  # SRS reports rates over 30 s


@dataclass(slots=True)
class RateMeter:
    """A byte count with its rate over the last 30 s, in at most 31 buckets."""

    total_bytes: int = 0
    _buckets: deque[tuple[int, int]] = field(default_factory=deque)

    def add(self, count_bytes: int, now_us: int) -> None:
        self.total_bytes += count_bytes
        slot = now_us // BUCKET_US
        if self._buckets and self._buckets[-1][0] == slot:
            self._buckets[-1] = (slot, self._buckets[-1][1] + count_bytes)
            return
        self._buckets.append((slot, count_bytes))
        self._trim(slot)

    def _trim(self, slot: int) -> None:
        while self._buckets and self._buckets[0][0] <= slot - WINDOW_US // BUCKET_US:
            self._buckets.popleft()

    def rate_bps(self, now_us: int) -> int:
        """Bits per second over the window, or over what there has been of it."""
        slot = now_us // BUCKET_US
        self._trim(slot)
        if not self._buckets:
            return 0
        span_us = max(BUCKET_US, now_us - self._buckets[0][0] * BUCKET_US)
        return sum(count for _, count in self._buckets) * 8 * 1_000_000 // span_us


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
