"""What a peer's connection is for: the part of `Playing` and `Publishing` that `Peer` knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from appliance.net.datagrams import Cut
from appliance.wire.rtp.rtcp import RtcpPacket
from appliance.wire.srtp.outbound import OutboundSession


class Link(Protocol):
    """The way to the peer, once it is secure."""

    def send_cut(self, data: bytes, cut: Cut) -> None:
        """Protected packets. Raises: BlockingIOError, OSError."""
        ...

    def send(self, packet: bytes) -> None:
        """One protected packet; it may be lost."""
        ...

    def send_control(self, compound: bytes) -> None: ...


class Media(Protocol):
    """takes_packets: whether the peer has anything to send. is_hurried: whether `tick` is wanted
    more often, for what waits. sent_bytes, received_bytes, lost_units: so far."""

    @property
    def takes_packets(self) -> bool: ...
    @property
    def is_hurried(self) -> bool: ...
    @property
    def sent_bytes(self) -> int: ...
    @property
    def received_bytes(self) -> int: ...
    @property
    def lost_units(self) -> int: ...
    @property
    def hint(self) -> str:
        """What is not as it should be, for people."""
        ...

    def now_us(self) -> int: ...

    def begin(self, link: Link, outbound: OutboundSession, on_end: Callable[[str], object]) -> None:
        """The connection is secure. on_end: called once, with why, if there is nothing more to do
        with it."""
        ...

    def packet(self, data: bytes, now_us: int) -> None:
        """RTP in clear. Raises: PeerError."""
        ...

    def control(self, packet: RtcpPacket, now_us: int) -> None:
        """Raises: PeerError."""
        ...

    def tick(self, now_us: int) -> None: ...

    def figures(self) -> dict[str, Any]:
        """For the API."""
        ...

    def close(self) -> None:
        """Safe to call again."""
        ...
