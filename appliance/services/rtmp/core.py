"""RTMP's server core as the TCP pump drives it."""

from __future__ import annotations

import os

from appliance.errors import PeerError
from appliance.hub.clock import SYSTEM_CLOCK
from appliance.wire.rtmp.events import Event
from appliance.wire.rtmp.server import RtmpServer

MAX_WAITING_BYTES = 64 << 10  # against a player that asks without end while it takes nothing


class RtmpCore:
    """is_muted: somebody else writes to the socket, so what is to be said waits for `take_said`."""

    __slots__ = ("_said", "is_muted", "rtmp")

    def __init__(self) -> None:
        self.rtmp = RtmpServer(os.urandom(1536))
        self.is_muted = False
        self._said = b""  # of what waits

    def receive(self, data: bytes) -> list[Event]:
        """Raises: PeerError."""
        events = self.rtmp.receive(data, SYSTEM_CLOCK.monotonic_us())
        if self.is_muted:
            self._said += self.rtmp.take_output()
            if len(self._said) > MAX_WAITING_BYTES:
                raise PeerError("a player that asks and does not read")
        return events

    def receive_eof(self) -> list[Event]:
        """A peer may leave at any time."""
        return []

    def take_output(self) -> bytes:
        return b"" if self.is_muted else self.take_said()

    def take_said(self) -> bytes:
        """All that is to be sent, muted or not; it must go between two messages."""
        said, self._said = self._said, b""
        return said + self.rtmp.take_output()
