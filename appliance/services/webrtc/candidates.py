"""Where a peer is told to look for us, best first: what it asked for, what is configured, where its
own request came to, the name it called us by, if that is an address, and what the interfaces have
now: whoever moved to another network since has the new ones."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from appliance.net.address import ANY_HOSTS, parse_ip, peer_address
from appliance.net.http import Request
from appliance.net.interfaces import interface_addresses
from appliance.services.webrtc.port import Port
from appliance.services.webrtc.settings import Settings
from appliance.wire.ice.candidate import Candidate, host_candidates

MAX_ADDRESSES = 16


def find_candidates(request: Request, port: Port, settings: Settings) -> tuple[Candidate, ...]:
    """``?eip=`` is an address, with a port if another one leads here."""
    found: list[Candidate] = []
    number = int(port.addresses[0].rpartition(":")[2])
    eip, eip_port = _eip(request.query.get("eip", "") or request.query.get("candidate", ""))
    if eip and eip_port not in {None, number}:
        found += host_candidates([eip], eip_port, None)
        eip = ""
    addresses = [*([eip] if eip else []), *settings.candidates, *_own(request, port)]
    unique = list(dict.fromkeys(_plain(one) for one in addresses))[:MAX_ADDRESSES]
    found += host_candidates(unique, number, number if port.has_tcp else None)
    return tuple(found)


def _own(request: Request, port: Port) -> Iterator[str]:
    """Those of this device, as far as the listening sockets are reached by them."""
    hosts = [address.rpartition(":")[0] for address in port.addresses]
    if not ANY_HOSTS.intersection(hosts):
        yield from hosts
        return
    name = request.transport.get_extra_info("sockname")
    if name is not None and parse_ip(peer_address(str(name[0]))) is not None:
        yield peer_address(str(name[0]))
    host = request.host if parse_ip(request.host) else request.host.rpartition(":")[0]
    if parse_ip(host) is not None:
        yield host
    yield from interface_addresses()


def _plain(text: str) -> str:
    return str(ip_address(text.strip("[]")))


def _eip(text: str) -> tuple[str, int | None]:
    """Empty if it is no address: it came with the viewer's own request."""
    if parse_ip(text) is not None:
        return text, None
    host, _, port = text.rpartition(":")
    if parse_ip(host) is None or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        return "", None
    return host, int(port)
