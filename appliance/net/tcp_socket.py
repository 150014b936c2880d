"""What is asked of the kernel for one TCP socket."""

from __future__ import annotations

import socket
import sys

TCP_INFO_BYTES = 128
BYTES_ACKED = slice(120, 128)  # tcpi_bytes_acked in struct tcp_info, since Linux 4.1
DEAD_PEER_MS = 20_000  # TCP_USER_TIMEOUT: sent, never acknowledged, nobody there


def set_options(sock: socket.socket) -> None:
    """No Nagle (sessions talk in small messages), and dead peers are noticed."""
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, True)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_PEER_MS)
    except OSError:
        return  # reset already, or not TCP


def bytes_acked(sock: socket.socket) -> int:
    """How much of what was sent the peer has confirmed: the one true sign of progress."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
    except OSError:
        return -1
    return int.from_bytes(info[BYTES_ACKED], sys.byteorder)
