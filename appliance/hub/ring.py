"""A bounded ring of timed items: the GOP cache, and what every cursor reads.

Items are addressed by a sequence number that only grows; `first` is that of the oldest item still
held. Publishing appends in O(1) and evicts to the bound, so memory is bounded per stream whatever
viewers do. What is older than `keep_us` goes as soon as no joiner needs it, that is when a newer
key is there; what is older than `max_duration_us`, or more than `max_bytes`, goes in any case.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Generic, Protocol, TypeVar

from appliance.hub.signal import Signal


class Timed(Protocol):
    """What a ring can hold: an access unit or a chunk."""

    @property
    def dts_us(self) -> int: ...
    @property
    def key(self) -> bool: ...
    @property
    def size_bytes(self) -> int: ...


T = TypeVar("T", bound=Timed)


class Ring(Generic[T]):
    """Items in publishing order with the sequence numbers of the keys among them."""

    __slots__ = (
        "closed",
        "first",
        "fresh",
        "items",
        "keep_us",
        "keys",
        "max_bytes",
        "max_duration_us",
        "signal",
        "size_bytes",
    )

    def __init__(self, *, max_bytes: int, max_duration_us: int, keep_us: int | None = None) -> None:
        self.max_bytes = max_bytes
        self.max_duration_us = max_duration_us
        self.keep_us = max_duration_us if keep_us is None else keep_us
        self.first = 0
        self.fresh = 0  # the first item since `forget_keys`
        self.items: deque[T] = deque()
        self.keys: deque[int] = deque()
        self.size_bytes = 0
        self.closed = False
        self.signal = Signal()

    @property
    def next(self) -> int:
        """The sequence number that the next appended item will get."""
        return self.first + len(self.items)

    def append(self, item: T, *, key: bool | None = None) -> None:
        """key: whether a cursor can begin here, if it is not the item's own to say."""
        if item.key if key is None else key:
            self.keys.append(self.next)
        self.items.append(item)
        self.size_bytes += item.size_bytes
        while len(self.items) > 1 and self._has_too_much(item.dts_us):
            self._evict()
        self.signal.fire()

    def _has_too_much(self, now_us: int) -> bool:
        age_us = now_us - self.items[0].dts_us
        return (
            self.size_bytes > self.max_bytes
            or age_us > self.max_duration_us
            or (age_us > self.keep_us and bool(self.keys) and self.keys[-1] > self.first)
        )

    def _evict(self) -> None:
        self.size_bytes -= self.items.popleft().size_bytes
        if self.keys and self.keys[0] == self.first:
            self.keys.popleft()
        self.first += 1

    def __getitem__(self, sequence: int) -> T:
        index = sequence - self.first
        if index < 0:
            raise IndexError(f"item {sequence} is evicted, the oldest is {self.first}")
        return self.items[index]

    def since(self, sequence: int) -> list[T]:
        """Everything from `sequence` (or the oldest still held) to the newest."""
        index = max(0, sequence - self.first)
        count = len(self.items) - index
        if count <= 8:  # a cursor that keeps up: a deque is fast at its end
            return [self.items[i] for i in range(index, index + count)]
        return list(islice(self.items, index, None))

    def first_key(self) -> int | None:
        return self.keys[0] if self.keys else None

    def last_key(self) -> int | None:
        return self.keys[-1] if self.keys else None

    def next_key(self, sequence: int) -> int | None:
        """The first key at or after `sequence`."""
        return next((key for key in self.keys if key >= sequence), None)

    def lag_us(self, sequence: int) -> int:
        """How far behind the newest item a cursor at `sequence` is."""
        if not self.items or sequence >= self.next:
            return 0
        return self.items[-1].dts_us - self.items[max(0, sequence - self.first)].dts_us

    def forget_keys(self) -> None:
        """Nobody may join at what is held so far (the track descriptions changed)."""
        self.keys.clear()
        self.fresh = self.next

    def close(self) -> None:
        """No item follows: wakes the cursors, which drain what is left and end."""
        self.closed = True
        self.signal.fire()
