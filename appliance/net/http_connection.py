"""One HTTP connection: aiohttp's parser and request loop, with our deadlines and our quiet.

aiohttp limits sizes but hardly time: a head that dribbles in, or a client that stops reading, may
take for ever. The server sweeps its connections and asks each `overdue`; nothing is timed per byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.web_protocol import _ErrInfo

from appliance.net.http_response import put_headers, refusal
from appliance.net.shortcut import Shortcut, ShortWay
from appliance.net.tcp_socket import bytes_acked

if TYPE_CHECKING:
    from appliance.net.http_server import HttpServer

NO_MESSAGES: deque[Any] = deque(maxlen=0)
WRITE_HIGH_WATER_BYTES = 32 << 10  # a slow reader pins this much, plus one slice of a body
TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\nServer: porthole\r\nX-Content-Type-Options: nosniff\r\n"
    b"Connection: close\r\nContent-Length: 0\r\n\r\n"
)


class Overdue(Enum):
    """Why a connection must end now; the value is the reason that is counted."""

    SILENT = ""  # connected and said nothing, as browsers do in advance: no fault
    SLOW_HEAD = "request head too slow"
    STALLED = "client stopped reading"


class Connection(web.RequestHandler):
    """is_tls: as accepted here. peer_ip: the socket's peer, whoever it speaks for."""

    __slots__ = (
        *("_acked", "_has_spoken", "_head_since_s", "_link", "_owner", "_stalled_since_s"),
        *("_is_at_start", "_short_ways", "has_left", "is_sending", "is_tls", "peer_ip"),
    )

    def __init__(self, owner: HttpServer, peer_ip: str, *, is_tls: bool, **limits: Any) -> None:
        super().__init__(owner.manager, **limits)
        self._owner = owner
        self.peer_ip = peer_ip
        self.is_tls = is_tls
        self.has_left = False
        # aiohttp forgets its transport when it closes it, however much is still to be sent.
        self._link: asyncio.Transport | None = None
        self._has_spoken = False
        self._head_since_s: float | None = self._loop.time()
        self._stalled_since_s: float | None = None
        self._acked = -1
        self.is_sending = False  # past the transport (net/media_response.py)
        self._is_at_start = False  # nothing of the next request has reached the parser
        # Two, because players ask for playlists with one head and for segments with another.
        self._short_ways: tuple[ShortWay, ...] = ()

    # -- asyncio's side ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=WRITE_HIGH_WATER_BYTES)
        self._link = transport
        self._owner.connections.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._link = None
        for way in self._short_ways:
            way.close()
        self._owner.closed(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._short_ways and self._is_answered(data, self._link):
            return
        self._has_spoken = True
        if self._is_spoilt or self._messages is NO_MESSAGES:
            return
        count = self._request_count
        super().data_received(data)
        if self._request_count != count:
            self._head_since_s = None
        elif self._head_since_s is None and self._waiter is not None:
            self._head_since_s = self._loop.time()  # the first bytes of the next head
        self._is_at_start = self._request_count == count + 1 and data.endswith(b"\r\n\r\n")

    @property
    def _is_spoilt(self) -> bool:
        """What waits ends with a malformed head, behind which nothing is read.

        aiohttp would parse on and keep an error, with what it quotes, for each read, for as long as
        the request before them is being answered; a live stream's viewer stays for days.
        """
        return bool(self._messages) and isinstance(self._messages[-1][0], _ErrInfo)

    def listen_no_more(self) -> None:
        """The response has no end and the connection ends with it: what the client yet says is
        passed over, and nothing is kept to parse it with. There may be a thousand of them.
        """
        self._parser = None
        self._messages = NO_MESSAGES

    def offer_shortcut(self, shortcut: Shortcut, request: web.BaseRequest) -> None:
        """Requests like this one may be answered at once from now on."""
        if ShortWay.fits(request):
            self._short_ways = (ShortWay(shortcut, request), *self._short_ways[:1])

    def _is_answered(self, data: bytes, link: asyncio.Transport | None) -> bool:
        """By a short way, which is only open between requests."""
        if (
            not self._is_at_start
            or link is None
            or self._messages
            or self._waiter is None
            or self._waiter.done()
            or self._close
            or self._force_close
            or not any(way.answer(data, link) for way in self._short_ways)
        ):
            return False
        # As aiohttp's own loop does after each response.
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        return True

    # -- deadlines -----------------------------------------------------------------------------

    def overdue(self, now_s: float, head_s: float, stall_s: float) -> Overdue | None:
        if self._head_since_s is not None and now_s - self._head_since_s >= head_s:
            return Overdue.SLOW_HEAD if self._has_spoken else Overdue.SILENT
        if self._link is None or not (self.is_sending or self._link.get_write_buffer_size()):
            self._stalled_since_s = None
            return None
        acked = bytes_acked(self._link.get_extra_info("socket"))
        if self._stalled_since_s is None or acked != self._acked:
            self._acked = acked
            self._stalled_since_s = now_s
        return Overdue.STALLED if now_s - self._stalled_since_s >= stall_s else None

    @property
    def held_bytes(self) -> int:
        """What waits in this process for the client to read."""
        return 0 if self._link is None else self._link.get_write_buffer_size()

    def end(self, why: Overdue) -> None:
        """Close, with a word where the protocol has one; called once more if that hangs."""
        if self._link is None:
            return
        if why is Overdue.SLOW_HEAD and not self._link.is_closing():
            self._link.write(TOO_SLOW)
            self._link.close()
        elif why is Overdue.STALLED:
            self.abort()
        else:
            self._link.abort()

    def abort(self) -> None:
        """Close now, whatever is still to be sent.

        By a reset: otherwise the kernel goes on offering megabytes to a client that takes nothing,
        outside our caps and for as long as the client likes.
        """
        if self._link is not None:
            with contextlib.suppress(OSError):  # closed already
                self._link.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
            self._link.abort()

    # -- what aiohttp would log or answer by itself --------------------------------------------

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """A request that could not be parsed; the server's guard leaves nothing else to come."""
        if isinstance(exc, HttpProcessingError):
            status = 431 if isinstance(exc, LineTooLong) else status
            what = exc.message.partition("\n\n")[0]  # then it quotes, be it somebody's key
            self._owner.on_fault("http", "malformed request", f"{self.peer_ip} {what}")
        else:
            self._owner.internal_faults.report(exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the response has begun")
        response = refusal(status, "the request is malformed" if status < 500 else "fault")
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        exc = kw.get("exc_info")
        self._owner.internal_faults.report(exc if isinstance(exc, BaseException) else None)

    def log_debug(self, *args: Any, **kw: Any) -> None:
        """Nothing: what is worth a line is reported."""


class RawRequest(web.BaseRequest):
    """aiohttp's request with our headers on each response, whoever prepares it."""

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        put_headers(response)


SILENT = logging.getLogger("appliance.net.aiohttp")
SILENT.disabled = True
