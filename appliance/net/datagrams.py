"""Many datagrams to one peer with few system calls: UDP segmentation offload (Linux 4.18)."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable
from typing import Protocol

from appliance.net.udp import UdpAddress

UDP_SEGMENT = 103  # of linux/udp.h; the socket module has no name for it
SEND_BUFFER_BYTES = 4 << 20  # a keyframe to many viewers; the kernel grants what its limit allows
_UNABLE = frozenset({errno.EIO, errno.EINVAL, errno.ENOPROTOOPT, errno.EOPNOTSUPP})
_pack_size = struct.Struct("=H").pack


class Cut(Protocol):
    """Where datagrams lie that follow each other, of `size` bytes but for the last."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def size(self) -> int: ...


class DatagramSender:
    """A socket that others read from. Where the kernel or the network card cannot cut datagrams
    up, they are sent one by one from then on.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.can_segment = True
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)

    def send(self, data: bytes | bytearray, cuts: Iterable[Cut], address: UdpAddress) -> None:
        """All or some of it. Raises: BlockingIOError (no room), OSError (it cannot be reached)."""
        view = memoryview(data)
        for start, end, size in ((cut.start, cut.end, cut.size) for cut in cuts):
            if end - start > size and self.can_segment:
                try:
                    ancillary = [(socket.IPPROTO_UDP, UDP_SEGMENT, _pack_size(size))]
                    self.sock.sendmsg([view[start:end]], ancillary, 0, address)
                except OSError as error:
                    if error.errno not in _UNABLE:
                        raise
                    self.can_segment = False
                else:
                    continue
            for at in range(start, end, size):
                self.sock.sendto(view[at : min(end, at + size)], address)
