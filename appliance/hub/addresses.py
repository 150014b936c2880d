"""Where a peer is: on this network or beyond it. Only literal addresses, never a name."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Spelled out because `is_private` also holds documentation and benchmark ranges.
LAN = tuple(
    ipaddress.ip_network(text)
    for text in (
        "127.0.0.0/8",
        "10.0.0.0/8",  # RFC 1918
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",  # RFC 3927, link-local
        "::1/128",
        "fe80::/10",  # RFC 4291 §2.5.6, link-local
        "fc00::/7",  # RFC 4193, unique local
    )
)
SITE_PREFIX_BITS = 64  # what one IPv6 subscriber can number freely


@lru_cache(maxsize=1024)  # against peers with ever new addresses
def parse_address(text: str) -> Address | None:
    """The address, an IPv4-mapped one as IPv4, without zone; None if it is not a literal."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def parse_network(text: str) -> Network:
    """``10.0.0.0/8`` or one address; host bits may be set. Raises: ValueError."""
    network = ipaddress.ip_network(text.strip(), strict=False)
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.ip_network(f"{mapped}/{network.prefixlen - 96}")
    return network


def is_within(text: str, networks: tuple[Network, ...]) -> bool:
    """Whether the address lies in one of the networks; an unknown address lies in none."""
    address = parse_address(text)
    return address is not None and any(
        address.version == network.version and address in network for network in networks
    )


def is_lan(text: str) -> bool:
    """Loopback, private and link-local addresses (the meaning of ``lan`` in `[auth]`)."""
    return is_within(text, LAN)


def source_of(text: str) -> str:
    """What failures are counted against: an IPv4 address, or the /64 of an IPv6 one."""
    address = parse_address(text)
    if isinstance(address, ipaddress.IPv6Address) and not address.is_loopback:
        return str(ipaddress.ip_network((address, SITE_PREFIX_BITS), strict=False))
    return str(address)
