"""Who a request comes from, and whether a browser was tricked into sending it.

Two attacks need no access to the network at all, only a viewer who opens a bad page: DNS rebinding
(the page's own name suddenly resolves to this device) and cross-site request forgery (a form of
the page posts to this device). The first shows in the Host header, the second in Origin and in
the content types that forms can send.
"""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Network, IPv6Network, ip_network

from multidict import CIMultiDictProxy

from appliance.errors import ConfigError
from appliance.net.address import parse_ip, peer_address
from appliance.net.http_request import HttpError, Request

# Names that no public DNS serves, so no attacker's server can rebind them (RFC 6762, 8375, 6761).
PRIVATE_SUFFIXES = (".local", ".localhost", ".localdomain", ".lan", ".internal", ".home.arpa")
FORM_TYPES = {"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"}
# RFC 9110 §7.2: uri-host [ ":" port ]
HOST = re.compile(r"(?:\[(?P<literal>[0-9a-f:.]+)\]|(?P<name>[a-z0-9_-][a-z0-9_.-]*))(?::[0-9]*)?")
NOBODY = "0.0.0.0"  # noqa: S104 - a client whose address a proxy tells illegibly
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}


class HostGuard:
    """Refuses requests for names that are not this device's."""

    def __init__(self, allowed_hosts: tuple[str, ...]) -> None:
        self._any = "*" in allowed_hosts
        device = socket.gethostname().lower()
        self._names = {"localhost", device, *(name.lower().rstrip(".") for name in allowed_hosts)}

    def check(self, host: str) -> None:
        """`host` as in the Host header, with or without port. Raises: HttpError 421."""
        if not self._any and not self._is_ours(host):
            raise HttpError(
                421, "this device does not answer to that name; see allowed_hosts in its settings"
            )

    def _is_ours(self, host: str) -> bool:
        match = HOST.fullmatch(host.lower())
        if match is None:
            return False
        if match["literal"] is not None:
            return parse_ip(match["literal"]) is not None
        name = match["name"].rstrip(".")
        return (
            name in self._names
            or name.endswith(PRIVATE_SUFFIXES)
            or "." not in name  # a single label is never in public DNS
            or parse_ip(name) is not None
        )


def check_forgery(request: Request) -> None:
    """Refuse what a foreign page made a browser send. Raises: HttpError 403 or 415.

    Tools send no Origin, and the types that forms can send are refused to everybody, so a browser
    too old to send Origin is covered too.
    """
    if request.method in SAFE_METHODS:
        return
    origin = request.headers.get("Origin")
    if origin is not None:
        if origin.partition("://")[2].lower() != request.host.lower():
            raise HttpError(403, "requests of other sites' pages are refused")
    elif request.headers.get("Sec-Fetch-Site", "none") not in {"same-origin", "none"}:
        raise HttpError(403, "requests of other sites' pages are refused")
    content_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if content_type in FORM_TYPES:
        raise HttpError(415, "send the body as application/json, not as a form")


class Proxies:
    """Which peers may say for whom they speak."""

    def __init__(self, trusted: tuple[str, ...]) -> None:
        self._networks: list[IPv4Network | IPv6Network] = []
        for text in trusted:
            try:
                self._networks.append(ip_network(text, strict=False))
            except ValueError:
                raise ConfigError(f'trusted_proxies: "{text}" is no address or network') from None

    def trusts(self, ip: str) -> bool:
        if not self._networks:
            return False
        address = parse_ip(ip)
        return address is not None and any(address in network for network in self._networks)

    def client(
        self, peer_ip: str, is_tls: bool, headers: CIMultiDictProxy[str]
    ) -> tuple[str, bool]:
        """(address, whether encrypted) of the client itself; a stranger's claims are ignored.

        Each proxy appends whom it heard from, some (HAProxy) in a line of its own, so the last
        address that is no proxy of ours is the only one that nobody outside could make up.
        """
        if not self.trusts(peer_ip):
            return peer_ip, is_tls
        claims = ",".join(headers.getall("X-Forwarded-For", [])).strip()
        for claim in reversed(claims.split(",") if claims else []):
            address = parse_ip(claim.strip())
            if address is None:  # whoever it is, not the proxy, which may be near and trusted
                peer_ip = NOBODY
                break
            peer_ip = peer_address(str(address))
            if not self.trusts(peer_ip):
                break
        schemes = headers.getall("X-Forwarded-Proto", ["https" if is_tls else "http"])
        return peer_ip, schemes[-1].strip().lower() == "https"
