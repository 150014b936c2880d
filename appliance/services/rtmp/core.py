"""RTMP's server core as the TCP pump drives it."""

from __future__ import annotations

import os

from appliance.hub.clock import SYSTEM_CLOCK
from appliance.wire.rtmp.server import Event, RtmpServer


class RtmpCore:
    """is_muted: somebody else writes to the socket, so nothing may be said in between."""

    def __init__(self) -> None:
        self.rtmp = RtmpServer(os.urandom(1536))
        self.is_muted = False

    def receive(self, data: bytes) -> list[Event]:
        return self.rtmp.receive(data, SYSTEM_CLOCK.monotonic_us())

    def receive_eof(self) -> list[Event]:
        """A peer may leave at any time."""
        return []

    def take_output(self) -> bytes:
        output = self.rtmp.take_output()
        return b"" if self.is_muted else output
