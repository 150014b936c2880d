"""What a session's player has asked for so far: the stream, its description, tracks set up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from appliance.errors import CodecUnsupported, PeerError, StreamNotFound
from appliance.hub.stream import Stream
from appliance.media.track import Kind
from appliance.net.address import peer_address
from appliance.net.fanout_pool import Latency
from appliance.net.tcp import TcpConnection
from appliance.net.udp import UdpAddress
from appliance.services.rtsp.core import CoreEvent, RtspCore
from appliance.services.rtsp.groups import TTL, Group, GroupPlaying
from appliance.services.rtsp.outlets import Outlets
from appliance.services.rtsp.playing import Leg, Playing, make_identity
from appliance.wire.rtsp.events import SetupAsked
from appliance.wire.rtsp.transport import Delivery, Pair, Transport
from appliance.wire.sdp.rtp_muxer import Carried, RtpMuxer, carry, live_session

OFF = {"0", "false", "no", "off"}


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
        "_delivery",
        "_group",
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
        self._carried = carry_of(stream)
        self._connection = connection
        self._core = core
        self._outlets = outlets
        self._on_sign = on_sign
        self._legs: dict[str, Leg] = {}  # by control
        self._ports: list[Pair] = []  # of the player, that we listen to
        self._delivery = Delivery.TCP  # of all legs
        self._group: Group | None = None

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
        if asked.delivery is Delivery.MULTICAST:
            self._join(fitting[0], control)
            return
        ports = None
        if asked.delivery is Delivery.UDP:
            assert asked.client_ports is not None, "usable_transports() lets no others through"
            addresses = self._open(asked.client_ports)
            ports = self._outlets.ports
            ours = replace(ours, client_ports=asked.client_ports, server_ports=ports.pair)
        told = self._core.rtsp.accept_setup(ours)
        if told.channels is not None:
            identity.channel = told.channels[0]
        self._legs[control] = Leg(fitting[0], control, identity, addresses, ports)

    def _join(self, carried: Carried, control: str) -> None:
        """Answers a SETUP for multicast. Raises: LimitExceeded."""
        if self._group is None:
            transport = self._connection.transport
            name = transport.get_extra_info("sockname") if transport is not None else ("",)
            local_ip = peer_address(str(name[0]))
            self._group = self._outlets.groups.join(self.stream, self._carried, local_ip)
        group = self._group
        leg = next(leg for leg in group.legs if leg.carried.shape == carried.shape)
        self._core.rtsp.accept_setup(
            Transport(
                Delivery.MULTICAST,
                ports=group.ports_of(leg),
                destination=group.address,
                ttl=TTL,
                ssrc=leg.identity.ssrc,
            )
        )
        self._legs[control] = replace(leg, carried=carried, control=control)

    def _choose(self, transports: tuple[Transport, ...]) -> Transport:
        """The first that goes along with what the other tracks have. Raises: NoTransport."""
        used = {self._delivery} if self._legs else set()
        for transport in transports:
            if not used or transport.delivery in used:
                self._delivery = transport.delivery
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

    def play(self, latency: Latency) -> Playing | GroupPlaying:
        """What is to be played now. Raises: CodecUnsupported, LimitExceeded, StreamNotFound."""
        if [one.shape for one in carry_of(self.stream)] != [c.shape for c in self._carried]:
            raise StreamNotFound("what was described has changed")
        legs = sorted(self._legs.values(), key=lambda leg: self._carried.index(leg.carried))
        is_all = len(legs) == len(self._carried)
        if (group := self._group) is not None:
            legs, is_all = group.legs, True

        def make() -> Playing:
            way = self._connection, self._core, self._outlets
            return Playing(self.stream, legs, *way, latency, is_all=is_all)

        return make() if group is None else GroupPlaying(group, make)

    def close(self) -> None:
        for pair in self._ports:
            self._outlets.ports.forget(self._connection.peer_ip, pair)
        self._ports.clear()
        if self._group is not None:
            self._outlets.groups.leave(self.stream, self._group)
            self._group = None


def carry_of(stream: Stream) -> list[Carried]:
    """What players are told: sound that RTP has no payload for is described as what will be made of
    it. Raises: CodecUnsupported."""
    return carry(stream.alternatives.choose(RtpMuxer()).tracks)


def wanted_kinds(query: Mapping[str, str]) -> set[Kind]:
    """``?video`` or ``?audio`` means that alone, ``?audio=0`` all but it; as go2rtc's."""
    words = {kind: query[kind.value] for kind in Kind if kind.value in query}
    refused = {kind for kind, word in words.items() if word in OFF}
    named = set(words) - refused
    return (named or set(Kind)) - refused
