"""What a publisher has announced, and of it set up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from appliance.errors import CodecUnsupported, StreamNotFound
from appliance.net.tcp import TcpConnection
from appliance.net.udp import UdpAddress
from appliance.services.rtsp.core import CoreEvent, RtspCore
from appliance.services.rtsp.outlets import Outlets
from appliance.services.rtsp.viewing import NoTransport
from appliance.wire.rtp.incoming import IncomingTrack
from appliance.wire.rtp.reorder import DEFAULT_PATIENCE_US
from appliance.wire.rtp.session_clock import SessionClock
from appliance.wire.rtsp.events import SetupAsked
from appliance.wire.rtsp.transport import Delivery, Mode, Pair, Transport
from appliance.wire.sdp.offers import Offer, offers
from appliance.wire.sdp.parse import parse

MAX_TRACKS = 8  # as many as a stream takes

Hear = Callable[["Source", bytes, int], None]
"""A datagram of a track, and when it came."""


@dataclass(slots=True, eq=False)
class Source:
    """A track that packets will come of, by these channels or from these ports of the peer."""

    track: IncomingTrack
    channels: Pair | None = None
    ports: Pair | None = None
    control_address: UdpAddress | None = None


class Announced:
    """sources: set up so far. hear, hear_control: who hears datagrams, once it records."""

    def __init__(
        self,
        sdp: bytes,
        connection: TcpConnection[CoreEvent],
        core: RtspCore,
        outlets: Outlets,
    ) -> None:
        """Raises: PeerError, CodecUnsupported if there is nothing that we can take."""
        found = [offer for offer in offers(parse(sdp)) if offer.format is not None]
        if not found:
            raise CodecUnsupported("nothing of what is announced can be taken")
        self.sources: list[Source] = []
        self.hear: Hear | None = None
        self.hear_control: Hear | None = None
        self.outlets = outlets
        self._offers: dict[str, Offer] = {
            _last_part(offer.media.control): offer for offer in found[:MAX_TRACKS]
        }
        self._connection = connection
        self._core = core
        self._clock = SessionClock()

    def set_up(self, question: SetupAsked) -> None:
        """Answers. Raises: StreamNotFound, NoTransport, LimitExceeded, ConfigError."""
        name = _last_part(question.control)
        offer = self._offers.get(name)
        if offer is None or offer.format is None:
            raise StreamNotFound("no such track was announced")
        asked = next((t for t in question.transports if t.delivery is not Delivery.MULTICAST), None)
        if asked is None:
            raise NoTransport("nobody publishes to a group")
        form, is_tcp = offer.format, asked.delivery is Delivery.TCP
        source = Source(
            IncomingTrack(
                len(self.sources) + 1,
                form.depacketizer(),
                self._clock.track(form.clock_rate_hz),
                form.payload_type,
                patience_us=0 if is_tcp else DEFAULT_PATIENCE_US,
            )
        )
        ours = Transport(asked.delivery, channels=asked.channels, mode=Mode.RECORD)
        if not is_tcp:
            ours = self._listen(source, asked)
        source.channels = self._core.rtsp.accept_setup(ours).channels
        self.sources.append(source)
        del self._offers[name]

    def _listen(self, source: Source, asked: Transport) -> Transport:
        """Raises: LimitExceeded, ConfigError, StreamNotFound."""
        ports, transport = self.outlets.ports, self._connection.transport
        if asked.client_ports is None or transport is None:
            raise StreamNotFound("the publisher has gone")

        def hear(data: bytes, now_us: int) -> None:
            if self.hear is not None:
                self.hear(source, data, now_us)

        def hear_control(data: bytes, now_us: int) -> None:
            if self.hear_control is not None:
                self.hear_control(source, data, now_us)

        ports.listen(self._connection.peer_ip, asked.client_ports, hear, hear_control)
        source.ports = asked.client_ports
        peername = transport.get_extra_info("peername")
        source.control_address = ports.address(peername, asked.client_ports[1])
        return Transport(
            Delivery.UDP,
            client_ports=asked.client_ports,
            server_ports=ports.pair,
            mode=Mode.RECORD,
        )

    def send_report(self, source: Source, packet: bytes) -> None:
        """By TCP it is sent when the connection is flushed."""
        if source.channels is not None:
            self._core.rtsp.send_frames([(source.channels[1], packet)])
        elif source.control_address is not None:
            self.outlets.ports.send_control(packet, source.control_address)

    def close(self) -> None:
        """Safe to call again."""
        self.hear = self.hear_control = None
        for source in self.sources:
            if source.ports is not None:
                self.outlets.ports.forget(self._connection.peer_ip, source.ports)
                source.ports = None


def _last_part(control: str | None) -> str:
    """What a track is called, by a relative address or a whole one."""
    return (control or "").rstrip("/").rpartition("/")[2]
