"""The addresses that this device has now, as the kernel tells them (rtnetlink(7), netlink(7))."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address

MAX_ANSWERS = 64  # of up to 32 KiB each; against a kernel that never says it is done
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ADDRESS = struct.Struct("=BBBBI")  # family, prefix, flags, scope, interface
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_RTM_NEWADDR, _RTM_GETADDR = 20, 22
_REQUEST_DUMP = 0x301
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_UNUSABLE = 0x08 | 0x20 | 0x40  # failed as a duplicate, deprecated, tentative
_SCOPE_UNIVERSE, _SCOPE_SITE = 0, 200


def interface_addresses() -> list[str]:
    """Those that others can reach: none of the loopback or of one link alone. Empty if the system
    does not let us ask."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
            sock.settimeout(1)
            body = _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
            sock.send(
                _HEADER.pack(_HEADER.size + len(body), _RTM_GETADDR, _REQUEST_DUMP, 1, 0) + body
            )
            return list(dict.fromkeys(_receive(sock)))
    except OSError:
        return []


def _receive(sock: socket.socket) -> Iterator[str]:
    for _ in range(MAX_ANSWERS):
        for kind, body in _messages(sock.recv(1 << 16)):
            if kind in {_NLMSG_DONE, _NLMSG_ERROR}:
                return
            if kind == _RTM_NEWADDR and (found := _address(body)):
                yield found


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + _HEADER.size <= len(data):
        size, kind, *_ = _HEADER.unpack_from(data, position)
        if size < _HEADER.size:
            return
        yield kind, data[position + _HEADER.size : position + size]
        position += size + (-size & 3)


def _address(body: bytes) -> str | None:
    _, _, flags, scope, _ = _ADDRESS.unpack_from(body)
    if flags & _UNUSABLE or scope not in {_SCOPE_UNIVERSE, _SCOPE_SITE}:
        return None
    values = dict(_attributes(body[_ADDRESS.size :]))
    packed = values.get(_IFA_LOCAL) or values.get(_IFA_ADDRESS)
    return str(ip_address(packed)) if packed is not None else None


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, position)
        if size < _ATTRIBUTE.size:
            return
        yield kind, data[position + _ATTRIBUTE.size : position + size]
        position += size + (-size & 3)
