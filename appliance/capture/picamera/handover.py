"""From picamera2's threads to the source's, without waiting: else the camera would stop."""

from __future__ import annotations

import contextlib
import queue
from typing import Generic, TypeVar

T = TypeVar("T")


class Handover(Generic[T]):
    """A queue that drops what does not fit.

    limit: against an appliance that does not read the pipe.
    """

    def __init__(self, limit: int) -> None:
        self._queue: queue.Queue[T | None] = queue.Queue(limit)
        self._dropped = 0

    def put(self, item: T) -> bool:
        """Whether there was room."""
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            self._dropped += 1
            return False
        return True

    def wake(self) -> None:
        """Let `take` return early."""
        if self._queue.empty():
            with contextlib.suppress(queue.Full):  # then there is something to take
                self._queue.put_nowait(None)

    def take(self, timeout_us: int) -> T | None:
        """The oldest; None after this time, or when woken."""
        try:
            return self._queue.get(timeout=timeout_us / 1_000_000)
        except queue.Empty:
            return None

    def take_dropped(self) -> int:
        """How many did not fit since the last call."""
        dropped, self._dropped = self._dropped, 0
        return dropped
