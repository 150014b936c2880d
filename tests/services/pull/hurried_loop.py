"""An event loop whose clock jumps: whenever nothing is to be done, it is the next timer's time.

Sockets are real. What comes over loopback is there as soon as it is sent, so nothing is missed.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
from typing import Any

GRACE_S = 0.005  # of real time, for who is not in this process


class _Selector(selectors.DefaultSelector):
    skipped_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None or timeout <= GRACE_S:
            return super().select(timeout)
        if not (events := super().select(GRACE_S)):
            self.skipped_s += timeout - GRACE_S
        return events


class HurriedLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        return super().time() + self._clock.skipped_s

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> list[Any]:
        """Without a thread, for addresses of IPv4."""
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))]
