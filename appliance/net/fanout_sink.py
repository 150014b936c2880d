"""Where a fan-out sends to: a raw socket, or a transport where there is TLS in between."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable
from typing import Protocol

NOTSENT_LOWAT_BYTES = 128 << 10
TRANSPORT_BYTES = 64 << 10  # waiting in a transport, beyond which it counts as full
TRANSPORT_POLL_S = 0.02

Buffer = bytes | bytearray | memoryview


class Sink(Protocol):
    """One viewer's way out.

    descriptor: a socket that the kernel may copy a file to, past `send`; None where bytes must
        come by here.
    """

    descriptor: int | None

    def send(self, data: Buffer, /) -> int:
        """Take what fits now. Raises: BlockingIOError (full), OSError (the viewer has gone)."""
        ...

    def watch(self, callback: Callable[[], object]) -> None:
        """Call back whenever there may be room again, until `unwatch`."""
        ...

    def unwatch(self) -> None: ...

    def close(self) -> None: ...


class SocketSink:
    """A connected socket of its own: a duplicate, as of `sink_of`, or one that nobody watches."""

    __slots__ = ("_loop", "_sock", "descriptor", "send")

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        set_streaming_options(sock)
        self.descriptor: int | None = sock.fileno()
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self.send: Callable[[Buffer], int] = sock.send

    def watch(self, callback: Callable[[], object]) -> None:
        self._loop.add_writer(self._sock, callback)

    def unwatch(self) -> None:
        self._loop.remove_writer(self._sock)

    def close(self) -> None:
        """Of a duplicate nothing is seen on the wire: the transport's owner closes that."""
        self.descriptor = None  # the number may soon be another's
        self._sock.close()


class TransportSink:
    """A TLS viewer's transport: it takes all it is given, so it is given little at a time."""

    __slots__ = ("_callback", "_is_closed", "_loop", "_timer", "_transport", "descriptor")

    def __init__(self, transport: asyncio.Transport) -> None:
        sock = transport.get_extra_info("socket")
        if sock is not None:
            set_streaming_options(sock)
        self.descriptor: int | None = None
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._is_closed = False
        self._callback: Callable[[], object] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def send(self, data: Buffer, /) -> int:
        transport = self._transport
        if self._is_closed or transport.is_closing():
            raise ConnectionResetError("the viewer has gone")
        if transport.get_write_buffer_size() >= TRANSPORT_BYTES:
            raise BlockingIOError
        taken = data[:TRANSPORT_BYTES]
        transport.write(taken)
        return len(taken)

    def watch(self, callback: Callable[[], object]) -> None:
        """By polling: asyncio tells only the transport's own protocol that there is room."""
        self._callback = callback
        self._timer = self._loop.call_later(TRANSPORT_POLL_S, self._poll)

    def _poll(self) -> None:
        self._timer = self._loop.call_later(TRANSPORT_POLL_S, self._poll)
        transport = self._transport
        if self._callback is not None and (
            transport.is_closing() or transport.get_write_buffer_size() < TRANSPORT_BYTES
        ):
            self._callback()

    def unwatch(self) -> None:
        self._callback = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """The transport stays open for its owner."""
        self._is_closed = True
        self.unwatch()


def sink_of(transport: asyncio.Transport) -> Sink:
    """The quickest way out past a transport, whose owner must not write to it any more.

    Its owner goes on reading, notices when the viewer leaves, and closes it in the end. Raises:
    OSError if no descriptor is left.
    """
    if transport.get_extra_info("sslcontext") is not None or transport.get_write_buffer_size():
        return TransportSink(transport)
    sock = transport.get_extra_info("socket")
    # asyncio lets nobody else watch a transport's descriptor, so a duplicate is used.
    return SocketSink(socket.socket(fileno=os.dup(sock.fileno())))


def cut_off(transport: asyncio.Transport) -> None:
    """End a connection whose peer reads nothing; the kernel forgets what it held for it."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def set_streaming_options(sock: socket.socket) -> None:
    """TCP_NODELAY, because asyncio leaves Nagle on for sockets it did not make.

    TCP_NOTSENT_LOWAT, because otherwise the kernel takes megabytes for a viewer that does not
    read, and nobody notices that it is late.
    """
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOTSENT_LOWAT_BYTES)
    except OSError:
        return  # gone already, or not TCP
