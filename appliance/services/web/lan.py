"""Where the network finds this device, for whoever looks at its pages on the device itself."""

from __future__ import annotations

import asyncio
import re
import socket

from appliance.net.address import is_loopback
from appliance.net.http import Request

CHECK_S = 1.0
KEEP_S = 30.0
OWN_NAME = re.compile(r"(?:localhost|127\.[0-9.]+|\[::1\])(?::[0-9]*)?", re.IGNORECASE)
ELSEWHERE = ("192.0.2.1", 9)  # RFC 5737: documentation; connecting a datagram socket sends nothing


class LanAddress:
    """The address by which others reach our HTTP port, tried out before it is promised."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[str, float]] = {}  # port -> address, until; ports of ours
        self._lock = asyncio.Lock()

    async def find(self, port: int) -> str:
        """Empty if nobody but this device itself reaches the port."""
        now_s = asyncio.get_running_loop().time()
        async with self._lock:
            address, until_s = self._known.get(port, ("", 0.0))
            if now_s >= until_s:
                address = await _reachable(port)
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
    return "" if is_loopback(address) else address


def local_port(request: Request) -> int | None:
    """The port this request came to if the device itself asked, by a name only it can use."""
    if not is_loopback(request.peer_ip) or OWN_NAME.fullmatch(request.host) is None:
        return None
    port: int = request.transport.get_extra_info("sockname")[1]
    return port
