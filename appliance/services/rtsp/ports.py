"""The two UDP ports that RTP and RTCP of all sessions leave from and come to."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Protocol

from appliance.errors import ConfigError, LimitExceeded
from appliance.net.address import bind_udp, peer_address
from appliance.net.datagrams import DatagramSender
from appliance.net.supervisor import OnFault
from appliance.net.udp import UdpAddress, UdpPump
from appliance.wire.rtsp.transport import Pair

TRIES = 64  # for two free ports beside each other, the first of them even

Hear = Callable[[bytes, int], None]
"""A datagram, and when it came."""


class Waiting(Protocol):
    """What holds packets back for those that are missing."""

    @property
    def due_us(self) -> int | None: ...
    def take(self, now_us: int) -> None: ...


class _Listeners:
    """Who hears what comes to one port, by the sender's address; strangers are heard by nobody.

    Bounded by the connections that there may be, with 16 tracks each.
    """

    def __init__(self) -> None:
        self.by_peer: dict[tuple[str, int], Hear] = {}
        self.waiting: set[Waiting] = set()

    def receive(self, data: bytes, peer: UdpAddress, now_us: int) -> list[None]:
        hear = self.by_peer.get((peer_address(peer[0]), peer[1]))
        if hear is not None:
            hear(data, now_us)
        return []

    def handle_deadline(self, now_us: int) -> list[None]:
        for one in tuple(self.waiting):
            if one.due_us is not None and one.due_us <= now_us:
                try:
                    one.take(now_us)
                except Exception:  # a fault of ours: nobody else shall wait for it again
                    self.waiting.discard(one)
                    raise
        return []

    def deadline_us(self) -> int | None:
        dues = (one.due_us for one in self.waiting)
        return min((due_us for due_us in dues if due_us is not None), default=None)

    def take_output(self, now_us: int) -> list[tuple[bytes, UdpAddress]]:
        return []


class MediaPorts:
    """Open until `close`. pair: their numbers; rtp, rtcp: what sends from them.

    host: as in an address to listen on; port: the even one of the two, or 0 for any.
    """

    def __init__(self, host: str, port: int, on_fault: OnFault) -> None:
        """Raises: ConfigError if there are no such ports."""
        socks = _bind_pair(host, port)
        self.pair: Pair = socks[0].getsockname()[1], socks[1].getsockname()[1]
        self._is_v6 = socks[0].family == socket.AF_INET6
        self.rtp, self.rtcp = DatagramSender(socks[0]), DatagramSender(socks[1])
        self._listeners = _Listeners(), _Listeners()
        self._pumps = [
            UdpPump("rtsp", sock, core, _ignore, on_fault)
            for sock, core in zip(socks, self._listeners, strict=True)
        ]

    def address(self, peername: tuple[object, ...], port: int) -> UdpAddress:
        """Where datagrams to the peer of a connection go: to its address and nowhere else."""
        host = str(peername[0])
        if not self._is_v6:
            return peer_address(host), port
        scope = peername[3] if len(peername) > 3 else 0
        host = host if ":" in host else f"::ffff:{host}"
        return host.partition("%")[0], port, 0, scope if isinstance(scope, int) else 0

    def listen(self, peer_ip: str, ports: Pair, hear: Hear, hear_control: Hear) -> None:
        """Raises: LimitExceeded if another session has these ports of that peer."""
        keys = [(peer_ip, port) for port in ports]
        found = (key in self._listeners[at].by_peer for at, key in enumerate(keys))
        if any(found):
            raise LimitExceeded("another session of this address has these ports")
        for at, one in enumerate((hear, hear_control)):
            self._listeners[at].by_peer[keys[at]] = one

    def forget(self, peer_ip: str, ports: Pair) -> None:
        """Of what `listen` was called for."""
        for listeners, port in zip(self._listeners, ports, strict=True):
            listeners.by_peer.pop((peer_ip, port), None)

    def wait_for(self, waiting: Waiting) -> None:
        self._listeners[0].waiting.add(waiting)

    def stop_waiting(self, waiting: Waiting) -> None:
        self._listeners[0].waiting.discard(waiting)

    def send_control(self, data: bytes, address: UdpAddress) -> None:
        """Lost if there is no room for it, or no way."""
        with contextlib.suppress(OSError):
            self.rtcp.sock.sendto(data, address)

    def close(self) -> None:
        for pump in self._pumps:
            pump.close()


def _ignore(event: None) -> None:
    """The listeners are called as datagrams come; there are no events."""


def _bind_pair(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Raises: ConfigError."""
    name = f"[{host}]" if ":" in host else host
    for _ in range(TRIES):
        [first, *others] = bind_udp(f"{name}:{port}")
        for other in others:  # a name with several addresses
            other.close()
        number = first.getsockname()[1]
        if number % 2 == 0 or port:
            try:
                second = bind_udp(f"{name}:{number + 1}")[0]
            except ConfigError:
                if port:
                    first.close()
                    raise
            else:
                return first, second
        first.close()
    raise ConfigError("no two UDP ports are free beside each other")
