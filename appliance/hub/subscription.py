"""A viewer's cursor into a ring: takes everything that is there, jumps when it is too slow."""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import Enum
from typing import Generic, TypeVar

from appliance.hub.ring import Ring, Timed

T = TypeVar("T", bound=Timed)

DEFAULT_MAX_LAG_US = 3_000_000


class Start(Enum):
    """Where a cursor begins."""

    FIRST_KEY = "first-key"  # the oldest key held: as much past as there is
    LAST_KEY = "last-key"  # the newest key: a picture at once
    NEXT_KEY = "next-key"  # the next key to come
    LIVE = "live"  # the next item, key or not


class Subscription(Generic[T]):
    """Iterate it for whole batches; a ring without a key makes the cursor wait for the next one.

    lost_units counts what the cursor jumped over, whether it was evicted or skipped for being
    more than max_lag_us behind.
    """

    __slots__ = ("_needs_key", "lost_units", "max_lag_us", "position", "ring")

    def __init__(
        self,
        ring: Ring[T],
        start: Start = Start.LAST_KEY,
        *,
        max_lag_us: int = DEFAULT_MAX_LAG_US,
    ) -> None:
        self.ring = ring
        self.max_lag_us = max_lag_us
        self.lost_units = 0
        key = {Start.FIRST_KEY: ring.first_key(), Start.LAST_KEY: ring.last_key()}.get(start)
        self.position = ring.next if key is None else key
        self._needs_key = key is None and start is not Start.LIVE

    def take(self) -> list[T]:
        """Everything from the cursor to the newest item; empty if there is nothing to take yet."""
        ring = self.ring
        if self.position < ring.first:
            self._jump(ring.first)
        elif ring.lag_us(self.position) > self.max_lag_us:
            newest_key = ring.last_key()
            if newest_key is not None and newest_key > self.position:
                self.lost_units += newest_key - self.position
                self.position = newest_key
        if self._needs_key:
            self._jump(self.position)
            if self._needs_key:
                return []
        batch = ring.since(self.position)
        self.position = ring.next
        return batch

    def _jump(self, sequence: int) -> None:
        """Go to the first key at or after `sequence`, or to the end to wait for one."""
        key = self.ring.next_key(sequence)
        self._needs_key = key is None
        target = self.ring.next if key is None else key
        self.lost_units += max(0, target - self.position)
        self.position = target

    async def __aiter__(self) -> AsyncIterator[list[T]]:
        while True:
            if batch := self.take():
                yield batch
            elif self.ring.closed:
                return
            else:
                await self.ring.signal.wait()
