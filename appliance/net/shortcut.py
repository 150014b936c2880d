"""The short way for a player that asks the same thing again and again on one connection.

Theory of operation: a live player sends the same request head every second or two; only a file
name in the target differs. Once such a request went the ordinary way (parsed, its host, its peer
and its credentials checked, a handler asked), the handler may say that others like it may be
answered at once. Then a request that repeats that head byte for byte, with another name that the
handler's `find` knows, is answered inside `data_received`: one system call to send, no task, no
parsing, a quarter of the CPU. Anything that differs by one byte goes the ordinary way, and so does
everything again from time to time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import hdrs, web

from appliance.net.media_file import MediaFile
from appliance.net.media_response import Sending, finish_sending, start_sending

LIFETIME_S = 30.0  # after which a player's right to watch is looked at again


@dataclass(frozen=True, slots=True)
class Shortcut:
    """What a handler offers with its response; see `MediaResponse`.

    prefix: the target up to the name that varies; query: what follows the name.
    find: the file of this name, or None to have the request go the ordinary way. It is called
        per request and counts the viewer.
    """

    prefix: str
    query: str
    find: Callable[[bytes], MediaFile | None]


class ShortWay:
    """One connection's shortcut, from one ordinary request until LIFETIME_S later."""

    __slots__ = ("_end", "_find", "_loop", "_range", "_start", "_task", "_until_s")

    def __init__(self, shortcut: Shortcut, request: web.BaseRequest) -> None:
        self._loop = asyncio.get_running_loop()
        self._until_s = self._loop.time() + LIFETIME_S
        self._find = shortcut.find
        self._range: str | None = None
        if hdrs.IF_RANGE not in request.headers:
            self._range = request.headers.get(hdrs.RANGE)
        self._start = b"GET " + shortcut.prefix.encode("latin-1")
        fields = b"".join(b"%b: %b\r\n" % field for field in request.raw_headers)
        self._end = b"%b HTTP/1.1\r\n%b\r\n" % (shortcut.query.encode("latin-1"), fields)
        self._task: asyncio.Task[None] | None = None

    @staticmethod
    def fits(request: web.BaseRequest) -> bool:
        """Whether others like this request could take it: a plain GET on a plain connection."""
        return (
            request.method == hdrs.METH_GET
            and request.raw_path.startswith("/")  # else the host that was checked is in the target
            and request.version == (1, 1)
            and request.keep_alive
            and not request.body_exists
            and request.transport is not None
            and request.transport.get_extra_info("sslcontext") is None
        )

    def answer(self, data: bytes, transport: asyncio.Transport) -> bool:
        """Whether `data` was one request of this kind and is answered or being answered."""
        start, end = self._start, self._end
        if (
            not data.startswith(start)
            or not data.endswith(end)
            or self._loop.time() >= self._until_s
            or transport.get_write_buffer_size()
        ):
            return False
        # A name that is known holds neither spaces nor line ends, so this is one whole request.
        file = self._find(data[len(start) : -len(end)])
        if file is None:
            return False
        try:
            sending = start_sending(file, self._range)
            if not sending.push(transport.get_extra_info("socket").fileno()):
                self._finish_later(transport, sending)
        except OSError:
            transport.abort()
        return True

    def _finish_later(self, transport: asyncio.Transport, sending: Sending) -> None:
        """The socket is full: the rest goes as it empties, and no request is read meanwhile."""
        transport.pause_reading()
        self._task = self._loop.create_task(self._finish(transport, sending))

    async def _finish(self, transport: asyncio.Transport, sending: Sending) -> None:
        try:
            await finish_sending(transport, sending)
        except OSError:  # it has gone
            transport.abort()
        else:
            if not transport.is_closing():
                transport.resume_reading()
        finally:
            self._task = None

    def close(self) -> None:
        """The connection has ended."""
        if self._task is not None:
            self._task.cancel()
