"""RTSP's server core as the TCP pump drives it, behind the door where tunnels through HTTP end."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from appliance import __version__
from appliance.errors import PeerError
from appliance.hub.clock import SYSTEM_CLOCK
from appliance.wire.rtsp.events import Event
from appliance.wire.rtsp.server import RtspServer
from appliance.wire.rtsp.transport import Delivery
from appliance.wire.rtsp.tunnel import GetOpened, Plain, PostOpened, TunnelDoor

AGENT = f"Porthole/{__version__}"
POST_PIECE_BYTES = 16 << 10  # of a tunnel, handled without a turn for others
MAX_WAITING_BYTES = 64 << 10  # against a player that asks without end while it takes nothing


@dataclass(frozen=True, slots=True)
class PostData:
    """More requests of a tunnel, decoded."""

    data: bytes = field(repr=False)


CoreEvent = Event | GetOpened | PostOpened | PostData


class RtspCore:
    """is_muted: somebody else writes to the socket, so what is to be said waits for `take_said`."""

    __slots__ = ("_door", "_opened", "_said", "is_muted", "rtsp")

    def __init__(self, deliveries: Iterable[Delivery], session_s: int) -> None:
        self.rtsp = RtspServer(
            os.urandom(32),
            agent=AGENT,
            now_us=SYSTEM_CLOCK.monotonic_us(),
            deliveries=deliveries,
            session_s=session_s,
        )
        self.is_muted = False
        self._door = TunnelDoor(AGENT)
        self._opened: Plain | GetOpened | PostOpened | None = None
        self._said = b""  # of what waits

    def receive(self, data: bytes) -> list[CoreEvent]:
        """Raises: PeerError."""
        match self._opened:
            case Plain():
                return self.hear(data)
            case PostOpened():
                return [*_pieces(self._door.decode(data))]
        opened = self._opened = self._door.receive(data)
        match opened:
            case Plain(begun):
                self._opened = Plain(b"")
                return self.hear(begun)
            case PostOpened(cookie, begun):
                return [PostOpened(cookie), *_pieces(begun)]
            case GetOpened():
                return [opened]
        return []

    def hear(self, data: bytes) -> list[CoreEvent]:
        """RTSP itself; of a tunnel it comes by another connection. Raises: PeerError."""
        events: list[CoreEvent] = [*self.rtsp.receive(data, SYSTEM_CLOCK.monotonic_us())]
        if self.is_muted:
            self._said += self.rtsp.take_output()
            if len(self._said) > MAX_WAITING_BYTES:
                raise PeerError("a player that asks and does not read")
        return events

    def receive_eof(self) -> list[CoreEvent]:
        """A peer may leave at any time."""
        return []

    def take_output(self) -> bytes:
        return b"" if self.is_muted else self.take_said()

    def take_said(self) -> bytes:
        """All that is to be sent, muted or not; it must go between two frames."""
        said, self._said = self._said, b""
        return self._door.take_output() + said + self.rtsp.take_output()


def _pieces(data: bytes) -> Iterator[PostData]:
    """So that whoever sends any number of requests and frames at once has to wait as well."""
    for begin in range(0, len(data), POST_PIECE_BYTES):
        yield PostData(data[begin : begin + POST_PIECE_BYTES])
