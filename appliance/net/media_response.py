"""A response that sends a `MediaFile` past asyncio's transport, straight into the socket.

aiohttp writes a body through the transport, which copies what the socket does not take at once
(all of it, on Python 3.11) and costs about twice nginx's CPU. Here nothing is copied: the kernel
reads the memory file, and while the socket is full a duplicate of its descriptor is watched.
TLS connections go through the transport in slices.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol, cast

from aiohttp import hdrs, web

from appliance.net.media_file import Buffer, MediaFile, parse_range

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter

    from appliance.net.shortcut import Shortcut

TLS_SLICE_BYTES = 65_536


class SendingConnection(Protocol):
    """What the connection's owner looks at besides the transport's own buffer."""

    is_sending: bool


class MediaResponse(web.StreamResponse):
    """The whole file, or the range of it that the request asks for; for GET and HEAD.

    extra: further header lines for this viewer alone (Set-Cookie), each ending in CRLF.
    shortcut: how requests like this one may be answered from now on (net/shortcut.py).
    """

    def __init__(
        self, file: MediaFile, *, extra: str = "", shortcut: Shortcut | None = None
    ) -> None:
        super().__init__()
        self._file = file
        self._extra = extra
        self._shortcut = shortcut
        self._request: web.BaseRequest | None = None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Nothing is written yet; aiohttp calls this and then `write_eof`."""
        self._request = request
        self._keep_alive = request.keep_alive
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Sends it all. Raises: ConnectionError if the client goes or stalls."""
        request, self._request = self._request, None
        if request is None:
            return
        if request.transport is None or request.transport.is_closing():
            raise ConnectionResetError("the client has gone")
        self._eof_sent = True
        if self._shortcut is not None:
            offer = getattr(request.protocol, "offer_shortcut", None)
            if offer is not None:
                offer(self._shortcut, request)
        try:
            await _send(request, request.transport, self._start_sending(request))
        except ConnectionError:
            raise
        except OSError as error:  # no route to the client any more, or its network timed out
            raise ConnectionResetError(str(error)) from error

    def _start_sending(self, request: web.BaseRequest) -> Sending:
        extra = self._extra + _connection_field(request)
        if request.method == hdrs.METH_HEAD:
            return Sending(self._file, self._file.make_head(extra), 0, 0)
        asked = None if hdrs.IF_RANGE in request.headers else request.headers.get(hdrs.RANGE)
        return start_sending(self._file, asked, extra)


def start_sending(file: MediaFile, asked_range: str | None, extra: str = "") -> Sending:
    """A GET's response: the file or a range of it, as its Range header asks."""
    found = None if asked_range is None else parse_range(asked_range, file.size_bytes)
    if found is None:
        head = file.make_head(extra) if extra else file.head
        return Sending(file, head, 0, file.size_bytes)
    start, end = found
    if start == end:
        return Sending(file, file.make_unsatisfiable_head(extra), 0, 0)
    return Sending(file, file.make_range_head(start, end, extra), start, end)


def _connection_field(request: web.BaseRequest) -> str:
    """RFC 9112 §9.3: what differs from the version's habit must be said."""
    if request.keep_alive:
        return "" if request.version >= (1, 1) else "Connection: keep-alive\r\n"
    return "Connection: close\r\n"


async def _send(request: web.BaseRequest, transport: asyncio.Transport, sending: Sending) -> None:
    if transport.get_extra_info("sslcontext") is not None or transport.get_write_buffer_size():
        await _send_through(request, sending)
    elif not sending.push(transport.get_extra_info("socket").fileno()):
        await finish_sending(transport, sending)


async def _send_through(request: web.BaseRequest, sending: Sending) -> None:
    """By the transport, a slice at a time; the server's sweep ends clients that stall."""
    writer = request.writer
    for data in sending.slices(TLS_SLICE_BYTES):
        await writer.write(data)
        await writer.drain()


async def finish_sending(transport: asyncio.Transport, sending: Sending) -> None:
    """Push whenever the socket empties. Raises: ConnectionResetError if it closes meanwhile.

    The server's sweep ends the connection should its client stop reading.
    """
    connection = cast("SendingConnection", transport.get_protocol())
    # asyncio lets nobody else watch a transport's descriptor, so a duplicate is watched; it also
    # stays valid should the transport close meanwhile.
    watched = os.dup(transport.get_extra_info("socket").fileno())
    connection.is_sending = True
    try:
        while True:
            await _wait_writable(watched)
            if transport.is_closing():
                raise ConnectionResetError("the client has gone")
            if sending.push(watched):
                return
    finally:
        connection.is_sending = False
        os.close(watched)


async def _wait_writable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    writable: asyncio.Future[None] = loop.create_future()
    loop.add_writer(descriptor, _wake, writable)
    try:
        await writable
    finally:
        loop.remove_writer(descriptor)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Sending:
    """What is still to be sent: a head, then the body from `position` to `end`.

    A negative position lies within the head that is stored before the body.
    """

    __slots__ = ("_end", "_file", "_head", "_position")

    def __init__(self, file: MediaFile, head: bytes, start: int, end: int) -> None:
        self._file = file
        self._end = end
        if file.descriptor is not None and head is file.head and end:
            self._head, self._position = memoryview(b""), -len(head)
        else:
            self._head, self._position = memoryview(head), start

    def push(self, fileno: int) -> bool:
        """Give the socket what it takes now; whether that was all."""
        try:
            if self._file.descriptor is not None:
                return self._push_file(fileno, self._file.descriptor)
            return self._push_bytes(fileno)
        except BlockingIOError:
            return False

    def _push_bytes(self, fileno: int) -> bool:
        body = memoryview(self._file.body)[self._position : self._end]
        sent = os.writev(fileno, [self._head, body])
        in_head = min(sent, len(self._head))
        self._head = self._head[in_head:]
        self._position += sent - in_head
        return not self._head and self._position >= self._end

    def _push_file(self, fileno: int, descriptor: int) -> bool:
        if self._head:
            self._head = self._head[os.write(fileno, self._head) :]
            if self._head:
                return False
        left = self._end - self._position
        if left > 0:
            offset = self._position + len(self._file.head)
            sent = os.sendfile(fileno, descriptor, offset, left)
            self._position += sent
            left -= sent
        return left <= 0

    def slices(self, size_bytes: int) -> Iterator[Buffer]:
        """The same as buffers of at most `size_bytes`."""
        if self._head:
            yield bytes(self._head)
        while self._position < self._end:
            start = self._position
            self._position = min(self._end, start + size_bytes)
            yield self._file.read(start, self._position)
