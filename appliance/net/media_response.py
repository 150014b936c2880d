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
from typing import TYPE_CHECKING

from aiohttp import hdrs, web

from appliance.net.media_file import Buffer, MediaFile, parse_range

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter

STALL_S = 10.0  # a client that takes nothing for so long is gone or hostile
TLS_SLICE_BYTES = 65_536


class MediaResponse(web.StreamResponse):
    """The whole file, or the range of it that the request asks for; for GET and HEAD.

    extra: further header lines for this viewer alone (Set-Cookie), each ending in CRLF.
    """

    def __init__(self, file: MediaFile, *, extra: str = "") -> None:
        super().__init__()
        self._file = file
        self._extra = extra
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
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        self._eof_sent = True
        file = self._file
        extra = self._extra + _connection_field(request)
        asked = request.headers.get(hdrs.RANGE)
        is_head = request.method == hdrs.METH_HEAD
        found = None
        if asked is not None and not is_head and hdrs.IF_RANGE not in request.headers:
            found = parse_range(asked, file.size_bytes)
        start, end = found or (0, 0 if is_head else file.size_bytes)
        if found is None:
            self._set_status(200, None)
            head = file.make_head(extra) if extra else file.head
        elif start == end:
            self._set_status(416, None)
            head = file.make_unsatisfiable_head(extra)
        else:
            self._set_status(206, None)
            head = file.make_range_head(start, end, extra)
        try:
            await _send(request, transport, _Sending(file, head, start, end))
        except ConnectionError:
            raise
        except OSError as error:  # no route to the client any more, or its network timed out
            raise ConnectionResetError(str(error)) from error


def _connection_field(request: web.BaseRequest) -> str:
    """RFC 9112 §9.3: what differs from the version's habit must be said."""
    if request.keep_alive:
        return "" if request.version >= (1, 1) else "Connection: keep-alive\r\n"
    return "Connection: close\r\n"


async def _send(request: web.BaseRequest, transport: asyncio.Transport, sending: _Sending) -> None:
    sock = transport.get_extra_info("socket")
    if transport.is_closing():
        raise ConnectionResetError("the client has gone")
    if transport.get_extra_info("sslcontext") is not None or transport.get_write_buffer_size():
        await _send_through(request, sending)
    else:
        await _send_past(transport, sock.fileno(), sending)


async def _send_through(request: web.BaseRequest, sending: _Sending) -> None:
    """By the transport, a slice at a time; the server's sweep ends clients that stall."""
    writer = request.writer
    for data in sending.slices(TLS_SLICE_BYTES):
        await writer.write(data)
        await writer.drain()


async def _send_past(transport: asyncio.Transport, fileno: int, sending: _Sending) -> None:
    if sending.push(fileno):
        return
    # asyncio lets nobody else watch a transport's descriptor, so a duplicate is watched; it also
    # stays valid should the transport close meanwhile.
    watched = os.dup(fileno)
    try:
        while True:
            await _wait_writable(transport, watched)
            if sending.push(watched):
                return
    finally:
        os.close(watched)


async def _wait_writable(transport: asyncio.Transport, descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    writable: asyncio.Future[None] = loop.create_future()
    loop.add_writer(descriptor, _wake, writable)
    try:
        async with asyncio.timeout(STALL_S):
            await writable
    except TimeoutError:
        transport.abort()
        raise ConnectionResetError("the client stopped reading") from None
    finally:
        loop.remove_writer(descriptor)
    if transport.is_closing():
        raise ConnectionResetError("the client has gone")


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class _Sending:
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
