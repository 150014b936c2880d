"""A fan-out's way to a WebSocket: every batch is one binary message (RFC 6455 §5.2)."""

from __future__ import annotations

from collections.abc import Callable

from appliance.net.fanout_sink import Buffer, Sink

MAX_MESSAGE_BYTES = 64 << 10  # so much is held at most for a viewer whose socket is full
BINARY_FINAL = 0x82


class WebSocketSink:
    """Puts message heads before what a sink is given.

    A message that the socket takes in part counts as taken: its rest goes before anything else.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._rest = memoryview(b"")

    def send(self, data: Buffer, /) -> int:
        if self._rest:
            self._rest = self._rest[self._sink.send(self._rest) :]
            if self._rest:
                raise BlockingIOError
        taken = data[:MAX_MESSAGE_BYTES]
        message = memoryview(message_head(len(taken)) + bytes(taken))
        self._rest = message[self._sink.send(message) :]
        return len(taken)

    def watch(self, callback: Callable[[], object]) -> None:
        self._sink.watch(callback)

    def unwatch(self) -> None:
        self._sink.unwatch()

    def close(self) -> None:
        self._sink.close()


def message_head(size_bytes: int) -> bytes:
    """Of one whole binary message, not masked as it comes from a server."""
    if size_bytes < 126:
        return bytes((BINARY_FINAL, size_bytes))
    if size_bytes < 1 << 16:
        return bytes((BINARY_FINAL, 126)) + size_bytes.to_bytes(2, "big")
    return bytes((BINARY_FINAL, 127)) + size_bytes.to_bytes(8, "big")
