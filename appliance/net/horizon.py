"""Redirects may lead outwards, never inwards.

A server out in the world that sends us on to this device, its link or its network would have us ask
what it cannot reach itself (server-side request forgery). What an operator wrote down is always
asked, wherever it is.
"""

from __future__ import annotations

import errno
import socket
from enum import IntEnum
from ipaddress import ip_address
from typing import Any

from appliance.errors import PeerError
from appliance.net.address import peer_address


class Distance(IntEnum):
    DEVICE = 0
    LINK = 1  # also where clouds tell their machines secrets: 169.254.169.254
    NETWORK = 2  # private addresses
    WORLD = 3


def distance(host: str) -> Distance:
    """Of an address, as sockets tell it."""
    ip = ip_address(peer_address(host))
    if ip.is_loopback or ip.is_unspecified:
        return Distance.DEVICE
    if ip.is_link_local:
        return Distance.LINK
    return Distance.WORLD if ip.is_global else Distance.NETWORK


class Horizon:
    """One per attempt: `admit` each address that is connected to, `move_on` at each redirect."""

    def __init__(self) -> None:
        self._nearest = Distance.DEVICE  # that may be asked now
        self._farthest = Distance.DEVICE  # that has been asked

    def move_on(self) -> None:
        self._nearest = self._farthest

    def admit(self, host: str) -> None:
        """Raises: PeerError."""
        found = distance(host)
        if found < self._nearest:
            raise PeerError("redirected to an address nearer to us than who redirects")
        self._farthest = max(self._farthest, found)

    def make_socket(self, address: tuple[Any, ...]) -> socket.socket:
        """For aiohttp, of what getaddrinfo gave. Raises: OSError for what is not admitted."""
        family, kind, proto, _, sockname = address
        try:
            self.admit(str(sockname[0]))
        except PeerError as error:
            raise PermissionError(errno.EACCES, str(error)) from None
        return socket.socket(family, kind, proto)
