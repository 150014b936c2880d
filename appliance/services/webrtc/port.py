"""What all sessions send from and are reached at: UDP sockets, and TCP listeners of the same port.

Theory of operation: a packet is handed on with the *door* it came by, which is where an answer
must leave: the socket for UDP, the connection for TCP.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Protocol

from appliance.errors import ConfigError, PeerError
from appliance.net.accept import Caps
from appliance.net.address import bind_udp, format_address, parse_address
from appliance.net.datagrams import Cut, DatagramSender
from appliance.net.supervisor import OnFault
from appliance.net.tcp import TcpConnection, TcpLimits
from appliance.net.tcp_server import TcpServer
from appliance.net.udp import UdpAddress, UdpPump
from appliance.services.webrtc.settings import Settings
from appliance.wire.ice.agent import Remote
from appliance.wire.ice.framing import FrameReader, format_frame

MAX_UNSENT_BYTES = 128 << 10  # of one connection: more is a picture that comes too late
TRIES = 16  # for a number that is free for UDP and TCP
_LIMITS = TcpLimits(idle_s=60.0, unsent_bytes=4 * MAX_UNSENT_BYTES)


class Door(Protocol):
    """A way out."""

    def send(self, packet: bytes, remote: Remote) -> None:
        """Lost if there is no room for it, or no way."""
        ...

    def send_cut(self, data: bytes, cut: Cut, remote: Remote) -> None:
        """Packets one behind the other. Raises: BlockingIOError (no room), OSError."""
        ...


class Hear(Protocol):
    """Who is told of packets."""

    def hear(self, packet: bytes, remote: Remote, door: Door, now_us: int) -> None: ...

    def is_known(self, remote: Remote) -> bool:
        """Whether it is somebody's peer."""
        ...

    def gone(self, remote: Remote) -> None:
        """The connection is closed."""
        ...


class UdpDoor:
    """One socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sender = DatagramSender(sock)

    def send(self, packet: bytes, remote: Remote) -> None:
        with contextlib.suppress(OSError):
            self.sender.sock.sendto(packet, _address(remote))

    def send_cut(self, data: bytes, cut: Cut, remote: Remote) -> None:
        self.sender.send(data, (cut,), _address(remote))


def _address(remote: Remote) -> UdpAddress:
    """As the socket module wants it."""
    host, percent, zone = remote.host.partition("%")
    if not percent:
        return host, remote.port
    return host, remote.port, 0, socket.if_nametoindex(zone)


class TcpDoor:
    """One connection."""

    def __init__(self, connection: TcpConnection[bytes]) -> None:
        self._connection = connection

    def send(self, packet: bytes, remote: Remote) -> None:
        self._connection.write(format_frame(packet))

    def send_cut(self, data: bytes, cut: Cut, remote: Remote) -> None:
        transport = self._connection.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the connection is closed")
        if transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            raise BlockingIOError
        ends = range(cut.start, cut.end, cut.size)
        frames = (format_frame(data[at : min(cut.end, at + cut.size)]) for at in ends)
        self._connection.write(b"".join(frames))


class _FrameCore:
    """A connection's bytes to packets. is_damaged: they were none."""

    def __init__(self) -> None:
        self._reader = FrameReader()
        self.is_damaged = False

    def receive(self, data: bytes) -> list[bytes]:
        try:
            return self._reader.receive(data)
        except PeerError:
            self.is_damaged = True
            raise

    def receive_eof(self) -> list[bytes]:
        return []

    def take_output(self) -> bytes:
        return b""


class _DatagramCore:
    """One socket's datagrams to whoever listens."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self.door: UdpDoor | None = None

    def receive(self, data: bytes, peer: UdpAddress, now_us: int) -> list[None]:
        if self._port.hearer is not None and self.door is not None:
            self._port.hearer.hear(data, Remote(peer[0], peer[1]), self.door, now_us)
        return []

    def handle_deadline(self, now_us: int) -> list[None]:
        return []

    def deadline_us(self) -> int | None:
        return None

    def take_output(self, now_us: int) -> list[tuple[bytes, UdpAddress]]:
        return []


class Port:
    """Open from `start` to `stop`. hearer: who is told of packets; None: they are dropped.

    addresses: as text, of UDP; hosts, number: what they are of.
    """

    def __init__(self, settings: Settings, on_fault: OnFault, now_us: Callable[[], int]) -> None:
        self.hearer: Hear | None = None
        self.addresses: tuple[str, ...] = ()
        self.has_tcp = settings.tcp
        self._listen = settings.listen
        self._on_fault = on_fault
        self._now_us = now_us
        self._pumps: list[UdpPump[None]] = []
        caps = Caps(settings.sessions, settings.sessions)
        self._server: TcpServer[bytes] = TcpServer(
            "webrtc", _FrameCore, self._serve, on_fault, caps=caps, limits=_LIMITS
        )

    @property
    def received_datagrams(self) -> int:
        return sum(pump.received_datagrams for pump in self._pumps)

    def start(self) -> None:
        """Raises: ConfigError."""
        try:
            socks = self._bind()
        except ConfigError as error:
            raise ConfigError(f"webrtc.{error}") from error.__cause__
        self.addresses = tuple(format_address(sock.getsockname()) for sock in socks)
        for sock in socks:
            core = _DatagramCore(self)
            pump = UdpPump("webrtc", sock, core, _ignore, self._on_fault)
            core.door = UdpDoor(sock)
            self._pumps.append(pump)

    def _bind(self) -> list[socket.socket]:
        """UDP sockets, and TCP is listened on with the same numbers. Raises: ConfigError."""
        is_chosen = all(parse_address(text)[1] for text in self._listen)
        left = 1 if is_chosen or not self.has_tcp else TRIES
        while True:
            left -= 1
            socks: list[socket.socket] = []
            try:
                names = [self._bind_one(text, socks) for text in self._listen]
                if self.has_tcp:
                    self._server.start(tuple(names))
            except ConfigError:
                for sock in socks:
                    sock.close()
                if not left:
                    raise
            else:
                return socks

    def _bind_one(self, text: str, socks: list[socket.socket]) -> str:
        """The same address with the number that was found. Raises: ConfigError."""
        found = bind_udp(text)
        socks += found
        return f"{text.rpartition(':')[0]}:{found[0].getsockname()[1]}"

    async def _serve(self, connection: TcpConnection[bytes]) -> None:
        """Browsers connect by TCP, too, and leave it unused once UDP works: that is no fault."""
        try:
            await self._receive(connection)
        except PeerError:
            assert isinstance(connection.core, _FrameCore)
            if connection.core.is_damaged:
                raise

    async def _receive(self, connection: TcpConnection[bytes]) -> None:
        """Raises: PeerError, OSError."""
        transport = connection.transport
        name = transport.get_extra_info("peername") if transport is not None else None
        if name is None:
            return
        remote, door = Remote(name[0], name[1], True), TcpDoor(connection)
        try:
            async for packets in connection:
                for packet in packets:
                    if self.hearer is not None:
                        self.hearer.hear(packet, remote, door, self._now_us())
                if self.hearer is not None and self.hearer.is_known(remote):
                    connection.established()
        finally:
            if self.hearer is not None:
                self.hearer.gone(remote)

    async def stop(self) -> None:
        await self._server.stop()
        for pump in self._pumps:
            pump.close()
        self._pumps.clear()


def _ignore(event: None) -> None:
    """The hearer is called as datagrams come; there are no events."""
