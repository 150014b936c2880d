"""Where the network finds this device, for whoever looks at its pages on the device itself."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

CHECK_S = 1.0
KEEP_S = 30.0
ELSEWHERE = ("192.0.2.1", 9)  # RFC 5737: documentation; connecting a datagram socket sends nothing


class LanAddress:
    """The address by which others reach our HTTP port, tried out before it is promised."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[str, float]] = {}  # port -> address, until; a few ports
        self._lock = asyncio.Lock()

    async def find(self, port: int) -> str:
        """Empty if nobody but this device itself reaches the port."""
        now_s = asyncio.get_running_loop().time()
        async with self._lock:
            address, until_s = self._known.get(port, ("", 0.0))
            if now_s >= until_s:
                address = await _reachable(port)
                if len(self._known) > 8:  # against a client that makes up Host headers
                    self._known.clear()
                self._known[port] = (address, now_s + KEEP_S)
            return address


async def _reachable(port: int) -> str:
    address = _outward_address()
    if not address:
        return ""
    try:
        async with asyncio.timeout(CHECK_S):
            _, writer = await asyncio.open_connection(address, port)
    except (OSError, TimeoutError):
        return ""
    writer.close()
    return address


def _outward_address() -> str:
    """Our address on the way to anywhere else; empty without a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(ELSEWHERE)
        except OSError:
            return ""
        address: str = probe.getsockname()[0]
    return "" if ipaddress.ip_address(address).is_loopback else address


def loopback_port(host: str, *, is_tls: bool) -> int | None:
    """The port of a Host header that names the device to itself, else None."""
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        name, port = host, "443" if is_tls else "80"
    name = name.strip("[]").lower()
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        return None
    if name == "localhost":
        return int(port)
    try:
        return int(port) if ipaddress.ip_address(name).is_loopback else None
    except ValueError:
        return None
