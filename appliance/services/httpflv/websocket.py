"""A viewer by WebSocket: every batch of a fan-out is one binary message (RFC 6455).

aiohttp's own WebSocket answers by itself, which would be amid a message of the fan-out; so all
that is sent goes through one sink, and what the viewer says is read by `ViewerFrames`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from appliance.hub.clock import SYSTEM_CLOCK
from appliance.net.fanout_sink import Buffer, Sink
from appliance.net.http import HttpError, Request
from appliance.wire.websocket import (
    VERSION,
    CloseCode,
    Closed,
    Opcode,
    Ping,
    ViewerFrames,
    accept_key,
    close_frame,
    first_protocol,
    frame,
    frame_head,
)

MAX_MESSAGE_BYTES = 64 << 10  # so much is held at most for a viewer whose socket is full


def is_wanted(request: Request) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


def upgrade_head(request: Request, *, public: bool) -> bytes:
    """The answer that opens it (RFC 6455 §4.2). Raises: HttpError, PeerError.

    public: pages of other sites may watch; browsers let any page open a WebSocket anywhere.
    """
    origin = request.headers.get("Origin", "")
    if origin and not public and origin.partition("://")[2].lower() != request.host.lower():
        raise HttpError(403, "pages of other sites may not watch; see live.public")
    if request.headers.get("Sec-WebSocket-Version", "") != VERSION:
        raise HttpError(426, "speak WebSocket version 13", {"Sec-WebSocket-Version": VERSION})
    accept = accept_key(request.headers.get("Sec-WebSocket-Key", ""))
    protocol = first_protocol(request.headers.get("Sec-WebSocket-Protocol", ""))
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Server: porthole\r\nSec-WebSocket-Accept: {accept}\r\n"
        + (f"Sec-WebSocket-Protocol: {protocol}\r\n" if protocol else "")
        + "\r\n"
    ).encode("latin-1")


class WebSocketSink:
    """Puts heads before what a sink is given, and answers between messages.

    A message that the socket takes in part counts as taken: its rest goes before anything else,
    as soon as there is room. Of pings only the newest is answered (§5.5.3).
    """

    def __init__(self, sink: Sink) -> None:
        self.descriptor: int | None = None  # nothing goes past us: heads must stand before it
        self._sink = sink
        self._rest = memoryview(b"")  # of one message
        self._pong = b""
        self._callback: Callable[[], object] | None = None
        self._is_watched = False
        self._is_closed = False
        self.code = CloseCode.GOING_AWAY  # what is said at the end

    def send(self, data: Buffer, /) -> int:
        self._send_rest()
        taken = data[:MAX_MESSAGE_BYTES]
        self._rest = memoryview(b"".join((frame_head(Opcode.BINARY, len(taken)), taken)))
        with suppress(BlockingIOError):
            self._send_rest()
        return len(taken)

    def send_pong(self, payload: bytes) -> None:
        """Now, or after the message that is on its way."""
        if not self._is_closed:
            self._pong = frame(Opcode.PONG, payload)
            with suppress(OSError):  # also full; and who has gone is noticed by reading
                self._send_rest()

    def _send_rest(self) -> None:
        """Raises: BlockingIOError if not all of it goes, OSError."""
        while self._rest or self._pong:
            if not self._rest:
                self._rest, self._pong = memoryview(self._pong), b""
            try:
                self._rest = self._rest[self._sink.send(self._rest) :]
            except BlockingIOError:
                self._watch()
                raise
            if self._rest:
                self._watch()
                raise BlockingIOError

    # -- room in the socket --------------------------------------------------------------------

    def watch(self, callback: Callable[[], object]) -> None:
        self._callback = callback
        self._watch()

    def _watch(self) -> None:
        if not self._is_watched:
            self._is_watched = True
            self._sink.watch(self._on_room)

    def _on_room(self) -> None:
        with suppress(OSError):  # who has gone is noticed by the callback, or by reading
            self._send_rest()
        if not self._rest and self._callback is None:
            self.unwatch()
        elif self._callback is not None:
            self._callback()

    def unwatch(self) -> None:
        self._callback = None
        if self._is_watched and not self._rest:
            self._is_watched = False
            self._sink.unwatch()

    def close(self) -> None:
        """With a word, if there is room for it and it is not amid a message."""
        if self._is_closed:
            return
        self._is_closed = True
        with suppress(OSError):
            self._send_rest()
            self._sink.send(close_frame(self.code))
        self._rest = memoryview(b"")
        self.unwatch()
        self._sink.close()


class Listener:
    """What the viewer says; to be given to the connection as its parser.

    on_end: called when it has said goodbye or broken the rules. reason: which; empty if none.
    """

    def __init__(self, sink: WebSocketSink, on_end: Callable[[], object]) -> None:
        self.reason = ""
        self._sink = sink
        self._on_end = on_end
        self._frames = ViewerFrames()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """As `RequestHandler.set_parser` wants it: (whether this was the end, what is left)."""
        is_over = False
        for event in self._frames.receive(data, SYSTEM_CLOCK.monotonic_us()):
            match event:
                case Ping():
                    self._sink.send_pong(event.payload)
                case Closed():
                    is_over = True
                    self._sink.code, self.reason = event.code, event.reason
                    self._on_end()
        return is_over, b""

    def feed_eof(self) -> None:
        """The connection is lost, of which its handler hears anyway."""
