"""Who is watching: what starts an on-demand source and what drops an unused rendition."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from appliance.hub.clock import Clock
from appliance.hub.signal import Signal


class Demand:
    """A count of viewers that tells its parent, and since when it is zero."""

    __slots__ = ("_changed", "_clock", "_parent", "idle_since_us", "viewers")

    def __init__(self, clock: Clock, parent: Demand | None = None) -> None:
        self._clock = clock
        self._parent = parent
        self._changed = Signal()
        self.viewers = 0
        self.idle_since_us = clock.monotonic_us()

    @contextmanager
    def viewer(self) -> Iterator[None]:
        """Counts one viewer for as long as the block runs."""
        self.join()
        try:
            yield
        finally:
            self.leave()

    def join(self) -> None:
        self.viewers += 1
        if self._parent is not None:
            self._parent.join()
        self._changed.fire()

    def leave(self) -> None:
        self.viewers -= 1
        if not self.viewers:
            self.idle_since_us = self._clock.monotonic_us()
        if self._parent is not None:
            self._parent.leave()
        self._changed.fire()

    def move(self, parent: Demand) -> None:
        """Tell another parent from now on; the viewers there are become its own."""
        before, self._parent = self._parent, parent
        if before is parent:
            return
        for _ in range(self.viewers):  # the new one first: whoever is above both sees no gap
            parent.join()
            if before is not None:
                before.leave()

    def is_idle_for(self, grace_us: int) -> bool:
        return not self.viewers and self._clock.monotonic_us() - self.idle_since_us >= grace_us

    async def wait_changed(self) -> None:
        """Returns when a viewer has come or gone."""
        await self._changed.wait()

    async def wait_wanted(self) -> None:
        """Returns once somebody watches."""
        while not self.viewers:
            await self._changed.wait()

    async def wait_idle(self, grace_us: int) -> None:
        """Returns once nobody has watched for `grace_us` in a row."""
        while True:
            while self.viewers:
                await self._changed.wait()
            left_us = self.idle_since_us + grace_us - self._clock.monotonic_us()
            if left_us <= 0:
                return
            try:
                async with asyncio.timeout(left_us / 1_000_000):
                    await self._changed.wait()
            except TimeoutError:
                continue
