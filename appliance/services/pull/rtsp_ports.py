"""Media by UDP: the pair of sockets of a track, opened towards the camera through a firewall."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Collection

from appliance.media.unit import AccessUnit
from appliance.net.address import is_ip, peer_address
from appliance.net.supervisor import OnFault
from appliance.net.udp import UdpAddress, UdpPump
from appliance.services.pull.faults import REFUSED, UNREACHABLE, PullFault
from appliance.wire.rtp.incoming import IncomingTrack
from appliance.wire.rtp.packet import header
from appliance.wire.rtsp.transport import Delivery, Transport

PAIR_TRIES = 32
Units = list[AccessUnit]


class _Core:
    """One socket's datagrams to its track; from the camera alone."""

    def __init__(self, track: IncomingTrack, hosts: Collection[str], *, is_control: bool) -> None:
        self.received_bytes = self.foreign_datagrams = 0
        self.output: list[tuple[bytes, UdpAddress]] = []  # a report or a greeting at a time
        self._track = track
        self._hosts = hosts
        self._is_control = is_control

    def receive(self, data: bytes, peer: UdpAddress, now_us: int) -> list[Units]:
        if peer_address(peer[0]) not in self._hosts:
            self.foreign_datagrams += 1
            return []
        self.received_bytes += len(data)
        if self._is_control:
            self._track.receive_control(data, now_us)
            return [[]]
        self._track.receive(data, now_us)
        units = self._track.take(now_us)
        return [units] if units else []

    def handle_deadline(self, now_us: int) -> list[Units]:
        return [self._track.take(now_us)]

    def deadline_us(self) -> int | None:
        return None if self._is_control else self._track.due_us

    def take_output(self, now_us: int) -> list[tuple[bytes, UdpAddress]]:
        output, self.output = self.output, []
        return output


class Ports:
    """A track's two sockets, from before SETUP until the end.

    on_units: what a datagram completed; an empty list for a report.
    """

    def __init__(self, local_ip: str) -> None:
        self._sockets = bind_pair(local_ip)
        self._local_ip = local_ip
        self._pumps: list[UdpPump[Units]] = []
        self._cores: list[_Core] = []
        self._camera: tuple[UdpAddress | None, UdpAddress | None] = (None, None)

    @property
    def numbers(self) -> tuple[int, int]:
        rtp, rtcp = (one.getsockname()[1] for one in self._sockets)
        return rtp, rtcp

    @property
    def received_bytes(self) -> int:
        return sum(core.received_bytes for core in self._cores)

    def open(
        self,
        agreed: Transport,
        peer_ip: str,
        track: IncomingTrack,
        on_units: Callable[[Units], None],
        on_fault: OnFault,
    ) -> None:
        """Receives from now on. peer_ip: of the RTSP connection; a camera may name another source.

        Raises: PullFault.
        """
        hosts = {peer_address(peer_ip)}
        if agreed.source and is_ip(agreed.source):
            hosts.add(peer_address(agreed.source))
        if agreed.delivery is Delivery.MULTICAST:
            self._join(agreed)
        elif agreed.server_ports is not None:
            rtp_port, rtcp_port = agreed.server_ports
            self._camera = (self._at(peer_ip, rtp_port), self._at(peer_ip, rtcp_port))
        for number, sock in enumerate(self._sockets):
            core = _Core(track, hosts, is_control=number == 1)
            self._cores.append(core)
            self._pumps.append(UdpPump("pull", sock, core, on_units, on_fault))
        self._sockets = ()
        self.punch()

    def punch(self) -> None:
        """An empty packet to both ports: firewalls and NATs let the answers in from then on."""
        self._send(0, header(0, 0, 0, 0, False))

    def send_report(self, report: bytes) -> None:
        self._send(1, report)

    def _send(self, number: int, data: bytes) -> None:
        peer = self._camera[number]
        if peer is not None and self._pumps:
            self._cores[number].output.append((data, peer))
            self._pumps[number].flush()

    def _at(self, host: str, port: int) -> UdpAddress:
        return (host, port, 0, 0) if ":" in self._local_ip else (host, port)

    def _join(self, agreed: Transport) -> None:
        """A group of any source: the camera's address is looked at in each datagram."""
        if agreed.ports is None or not is_ip(agreed.destination):
            raise PullFault(REFUSED, "a multicast without group or port")
        for sock in self._sockets:
            sock.close()
        group, local = agreed.destination, self._local_ip
        try:
            self._sockets = tuple(join(group, port, local) for port in agreed.ports)
        except OSError as error:
            why = error.strerror or str(error)
            raise PullFault(UNREACHABLE, f"cannot join the multicast: {why}") from None

    def close(self) -> None:
        for pump in self._pumps:
            pump.close()
        for sock in self._sockets:
            sock.close()
        self._pumps, self._sockets = [], ()


def bind_pair(local_ip: str) -> tuple[socket.socket, ...]:
    """An even port and the next one, as RFC 3550 §11 wants them. Raises: OSError."""
    family = socket.AF_INET6 if ":" in local_ip else socket.AF_INET
    for _ in range(PAIR_TRIES):
        first = _bind(family, local_ip, 0)
        port = first.getsockname()[1]
        try:
            second = _bind(family, local_ip, port ^ 1)
        except OSError as error:
            first.close()
            if error.errno != errno.EADDRINUSE:
                raise
            continue
        return (first, second) if port % 2 == 0 else (second, first)
    raise OSError(errno.EADDRINUSE, "no pair of ports is free")


def _bind(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        info = socket.getaddrinfo(
            host, port, family, socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
        )
        sock.bind(info[0][4])
    except BaseException:
        sock.close()
        raise
    return sock


def join(group: str, port: int, local_ip: str) -> socket.socket:
    """A socket in a multicast group, on the interface that has `local_ip`. Raises: OSError."""
    family = socket.AF_INET6 if ":" in group else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)  # others listen as well
        sock.bind((group, port))
        if family is socket.AF_INET6:
            scope = local_ip.partition("%")[2]
            index = socket.if_nametoindex(scope) if scope else 0
            wish = socket.inet_pton(family, group) + struct.pack("@I", index)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, wish)
        else:
            wish = socket.inet_aton(group) + socket.inet_aton(local_ip)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, wish)
    except BaseException:
        sock.close()
        raise
    return sock
