"""Taking a viewer's socket out of aiohttp: for streams that a fan-out sends.

A handler writes the head itself, gives `sink_of(request.transport)` to a fan-out, awaits the
viewer's end and returns a `Takeover`. aiohttp goes on reading meanwhile, so the handler is
cancelled when the viewer leaves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter


class Takeover(web.StreamResponse):
    """What a handler returns that has sent its response past aiohttp; the connection closes."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        self._keep_alive = False
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        self._eof_sent = True


def stream_head(content_type: str, extra: str = "") -> bytes:
    """The head of an endless response. extra: further lines, each ending in CRLF.

    Without a length and not chunked: the end of the connection is the end (RFC 9112 §6.3), which
    every player understands and which needs no framing per batch.
    """
    return (
        f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nCache-Control: no-store\r\n"
        f"Server: porthole\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n{extra}\r\n"
    ).encode("latin-1")
