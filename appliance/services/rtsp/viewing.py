"""What a session's player has asked for so far: the stream, its description, tracks set up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

from appliance.errors import CodecUnsupported, PeerError, StreamNotFound
from appliance.hub.hub import Hub
from appliance.hub.stream import Stream
from appliance.media.track import Kind
from appliance.net.fanout_pool import Latency
from appliance.net.tcp import TcpConnection
from appliance.net.udp import UdpAddress
from appliance.services.rtsp.core import CoreEvent, RtspCore
from appliance.services.rtsp.outlets import Outlets
from appliance.services.rtsp.playing import Leg, Playing, make_identity
from appliance.wire.rtsp.events import SetupAsked
from appliance.wire.rtsp.transport import Delivery, Pair, Transport
from appliance.wire.sdp.rtp_muxer import carry, live_session


class NoTransport(PeerError):
    """None of those asked for is possible."""


class Viewing:
    """Of one stream, from the first question about it until the session is torn down.

    on_sign: called when the player gives a sign of life by UDP.
    """

    __slots__ = (
        "_carried",
        "_connection",
        "_core",
        "_legs",
        "_on_sign",
        "_outlets",
        "_ports",
        "stream",
    )

    def __init__(
        self,
        stream: Stream,
        connection: TcpConnection[CoreEvent],
        core: RtspCore,
        outlets: Outlets,
        on_sign: Callable[[], None],
    ) -> None:
        """Raises: CodecUnsupported."""
        self.stream = stream
        self._carried = carry(stream.tracks)
        self._connection = connection
        self._core = core
        self._outlets = outlets
        self._on_sign = on_sign
        self._legs: dict[str, Leg] = {}  # by control
        self._ports: list[Pair] = []  # of the player, that we listen to

    def describe(self, query: Mapping[str, str]) -> bytes:
        """Raises: CodecUnsupported."""
        wanted = wanted_kinds(query)
        carried = [one for one in self._carried if one.track.kind in wanted]
        if not carried:
            raise CodecUnsupported("none of these tracks")
        return live_session(self.stream.name, carried).pack()

    def set_up(self, question: SetupAsked) -> None:
        """Answers. Raises: StreamNotFound, NoTransport, LimitExceeded, ConfigError."""
        control = question.control
        fitting = [one for one in self._carried if control in {one.control, ""}]
        if len(fitting) != 1 or any(leg.carried is fitting[0] for leg in self._legs.values()):
            raise StreamNotFound("no such track")
        asked = self._choose(question.transports)
        identity = make_identity()
        addresses = None
        ours = Transport(asked.delivery, channels=asked.channels, ssrc=identity.ssrc)
        if asked.delivery is Delivery.UDP:
            assert asked.client_ports is not None, "usable_transports() lets no others through"
            addresses = self._open(asked.client_ports)
            pair = self._outlets.ports.pair
            ours = replace(ours, client_ports=asked.client_ports, server_ports=pair)
        told = self._core.rtsp.accept_setup(ours)
        if told.channels is not None:
            identity.channel = told.channels[0]
        self._legs[control] = Leg(fitting[0], control, identity, addresses)

    def _choose(self, transports: tuple[Transport, ...]) -> Transport:
        """The first that goes along with what the other tracks have. Raises: NoTransport."""
        used = {
            Delivery.TCP if leg.addresses is None else Delivery.UDP for leg in self._legs.values()
        }
        for transport in transports:
            if not used or transport.delivery in used:
                return transport
        raise NoTransport("another transport than that of the tracks before")

    def _open(self, client_ports: Pair) -> tuple[UdpAddress, UdpAddress]:
        """Raises: LimitExceeded, ConfigError."""
        ports, transport = self._outlets.ports, self._connection.transport
        if transport is None:
            raise StreamNotFound("the player has gone")
        peername = transport.get_extra_info("peername")
        ports.listen(self._connection.peer_ip, client_ports, self._hear, self._hear)
        self._ports.append(client_ports)
        first, second = client_ports
        return ports.address(peername, first), ports.address(peername, second)

    def _hear(self, data: bytes, now_us: int) -> None:
        """Reports of the player, and what it opens its firewall with."""
        self._on_sign()

    def play(self, latency: Latency) -> Playing:
        """What is to be played now. Raises: CodecUnsupported, LimitExceeded, StreamNotFound."""
        if [one.shape for one in carry(self.stream.tracks)] != [c.shape for c in self._carried]:
            raise StreamNotFound("what was described has changed")
        legs = sorted(self._legs.values(), key=lambda leg: self._carried.index(leg.carried))
        is_all = len(legs) == len(self._carried)
        return Playing(
            self.stream, legs, self._connection, self._core, self._outlets, latency, is_all=is_all
        )

    def close(self) -> None:
        for pair in self._ports:
            self._outlets.ports.forget(self._connection.peer_ip, pair)
        self._ports.clear()


async def find(hub: Hub, name: str, wait_us: int) -> Stream:
    """Raises: StreamNotFound if nobody publishes it within the time that players may wait,
    LimitExceeded."""
    try:
        async with asyncio.timeout(wait_us / 1_000_000):
            return await hub.wait_for(name)
    except TimeoutError:
        raise StreamNotFound(f"nobody publishes {name}") from None


def wanted_kinds(query: Mapping[str, str]) -> set[Kind]:
    """``?video`` or ``?audio`` means that alone, ``?audio=0`` all but it; as go2rtc's."""
    words = {kind: query[kind.value] for kind in Kind if kind.value in query}
    refused = {kind for kind, word in words.items() if word in {"0", "no", "false", "none"}}
    named = set(words) - refused
    return (named or set(Kind)) - refused
