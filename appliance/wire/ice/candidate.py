"""ICE candidates as SDP writes them (RFC 8839 §5.1, RFC 6544 §4.5), and ours with priorities.

Names are kept as they are and never resolved: whoever sends one would choose what we ask DNS for.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from appliance.errors import PeerError

MAX_CHARS = 512

_UDP_PREFERENCE = 126  # RFC 8445 §5.1.2.2, of a host's
_TCP_PREFERENCE = 90  # lower than that (RFC 6544 §4.2)
_PASSIVE_DIRECTION = 4  # RFC 6544 §4.2, of a host's
_WORD = re.compile(r"[0-9A-Za-z+/]{1,32}")
_TOKEN = re.compile(r"[0-9A-Za-z.\-]{1,32}")
_ADDRESS = re.compile(r"[0-9A-Za-z.:\-_%]{1,255}")

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Candidate:
    """protocol: ``udp`` or ``tcp``, or what else a peer says; kind: host, srflx, prflx, relay.

    address: numeric, or a name (``….local``). tcp_type: passive, active, so; empty for UDP.
    """

    foundation: str
    component: int
    protocol: str
    priority: int
    address: str
    port: int
    kind: str = "host"
    tcp_type: str = ""

    @property
    def ip(self) -> IpAddress | None:
        """None for a name."""
        try:
            return ipaddress.ip_address(self.address)
        except ValueError:
            return None

    def value(self) -> str:
        """Of ``a=candidate``."""
        tcp = f" tcptype {self.tcp_type}" if self.tcp_type else ""
        return (
            f"{self.foundation} {self.component} {self.protocol} {self.priority} "
            f"{self.address} {self.port} typ {self.kind}{tcp}"
        )


def parse_candidate(value: str) -> Candidate:
    """Extensions are passed over. Raises: PeerError if it is no candidate."""
    words = value.removeprefix("candidate:").split() if len(value) <= MAX_CHARS else []
    if len(words) < 8 or words[6] != "typ":
        raise PeerError("a malformed candidate")
    foundation, component, protocol, priority, address, port, _, kind, *rest = words
    extensions = dict(zip(rest[::2], rest[1::2], strict=False))
    tcp_type = extensions.get("tcptype", "")
    if not (
        _WORD.fullmatch(foundation)
        and _TOKEN.fullmatch(protocol)
        and _TOKEN.fullmatch(kind)
        and _ADDRESS.fullmatch(address)
        and tcp_type in {"", "active", "passive", "so"}
    ):
        raise PeerError("a malformed candidate")
    return Candidate(
        foundation,
        _number(component, 256),
        protocol.lower(),
        _number(priority, 2**32 - 1),
        address,
        _number(port, 65_535),
        kind,
        tcp_type,
    )


def host_candidates(
    addresses: Iterable[str], udp_port: int | None, tcp_port: int | None
) -> list[Candidate]:
    """Ours, best first: each address by UDP, then each by TCP, where we wait (passive)."""
    unique = list(dict.fromkeys(addresses))
    found = []
    for index, address in enumerate(unique):
        if udp_port is not None:
            priority = _priority(_UDP_PREFERENCE, 0xFFFF - index)
            found.append(Candidate(f"{index + 1}", 1, "udp", priority, address, udp_port))
    for index, address in enumerate(unique, 1):
        if tcp_port is not None:
            local = (_PASSIVE_DIRECTION << 13) + 0x1FFF - index
            foundation, priority = f"{len(unique) + index}", _priority(_TCP_PREFERENCE, local)
            found.append(
                Candidate(foundation, 1, "tcp", priority, address, tcp_port, tcp_type="passive")
            )
    return found


def _priority(type_preference: int, local_preference: int) -> int:
    """RFC 8445 §5.1.2.1, of component 1."""
    return (type_preference << 24) + (max(local_preference, 0) << 8) + 255


def _number(text: str, most: int) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 10 or int(text) > most:
        raise PeerError("a number of a candidate out of its range")
    return int(text)
