"""The one TCP pump: bytes between a socket and a sans-IO core, for servers and clients.

A session is written as a loop over batches of events; the pump owns what all of them need:
deadlines, back-pressure, bounds on what is neither handled nor sent, and quiet ends.

    async with connection:
        async for events in connection:
            for event in events: ...
            connection.flush()
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Protocol, TypeVar

from appliance.errors import PeerError
from appliance.net.tcp_socket import bytes_acked, set_options

Event = TypeVar("Event")

READ_EARLY_BYTES = 48 << 10  # whatever the pace; a new connection's buffer holds 64 KiB
TURN_S = 0.005  # of CPU time: on a busy machine more turns would make us only later

# One for all connections: what is read is copied out before the loop turns to another. A new one
# for each read, as asyncio's other protocols have it, costs four times as much as the reading.
_read_buffer = memoryview(bytearray(256 << 10))


class ByteCore(Protocol[Event]):
    """A protocol without its socket; either role."""

    def receive(self, data: bytes) -> list[Event]:
        """What these bytes complete. Raises: PeerError."""
        ...

    def receive_eof(self) -> list[Event]:
        """The peer sends no more. Raises: PeerError if it stopped within something."""
        ...

    def take_output(self) -> bytes:
        """What is to be sent since the last call; may be empty."""
        ...


@dataclass(frozen=True, slots=True)
class TcpLimits:
    """What a peer may take of us; seconds and bytes.

    deadline_s: from connecting until the session calls `established`: slow handshakes.
    idle_s: without a byte from the peer, once established; None for peers that only listen.
    stall_s: without the peer acknowledging any of what waits to be sent.
    unhandled_bytes: received and not yet taken by the session; beyond, reading pauses.
    unsent_bytes: in our buffer; a peer that makes us answer and never reads.
    turn_bytes: given to the core at a time; after TURN_S of that others have their turn. Against
        messages so small that one read is thousands.
    """

    deadline_s: float = 10.0
    idle_s: float | None = 60.0
    stall_s: float = 10.0
    unhandled_bytes: int = 256 << 10
    unsent_bytes: int = 1 << 20
    turn_bytes: int = 256 << 10


class TcpConnection(asyncio.BufferedProtocol, Generic[Event]):
    """One connection and its core. Iterating yields batches of events and ends with the peer.

    Iteration raises PeerError for what the core refuses and for limits, OSError for the network.

    on_events: takes what it can of a batch as soon as it comes, from its beginning, and returns the
        rest for the iteration: for media, of which there is a batch with every read. It is asked
        only while the session has handled everything before and waits.
    pace: asked when all that was read is taken, for how many seconds what comes may wait in the
        kernel, so that it is read, parsed and handed on together, which costs a fraction. Much is
        read sooner. Whatever it says later, a rest that has begun goes on.
    """

    __slots__ = (
        *(
            "_acked",
            "_backlog",
            "_ended",
            "_error",
            "_established",
            "_events",
            "_has_heard_end",
            "_loop",
            "_lost",
            "_reading",
        ),
        *("_since_s", "_stalled_since_s", "_ticker", "_transport", "_unhandled_bytes", "_wake"),
        *("_pacer", "_writable", "_writing", "core", "is_tls", "limits", "on_events", "pace"),
        *("peer_ip", "received_bytes", "sent_bytes"),
    )

    def __init__(
        self, core: ByteCore[Event], limits: TcpLimits, *, peer_ip: str = "", is_tls: bool = False
    ) -> None:
        self.core = core
        self.limits = limits
        self.peer_ip = peer_ip
        self.is_tls = is_tls
        self.received_bytes = 0
        self.sent_bytes = 0
        self.on_events: Callable[[list[Event]], list[Event]] | None = None
        self.pace: Callable[[], float] | None = None
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._events: list[Event] = []  # bounded by unhandled_bytes
        self._unhandled_bytes = 0
        self._backlog = memoryview(b"")  # of one read; while there is some, nothing is read
        self._error: Exception | None = None
        self._has_heard_end = False  # the peer's, behind the backlog
        self._ended = False
        self._wake: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._lost = self._loop.create_future()
        self._reading = True
        self._writing = True
        self._established = False
        self._since_s = self._loop.time()  # connected, or last heard of
        self._stalled_since_s: float | None = None
        self._acked = -1
        self._ticker: asyncio.TimerHandle | None = None
        self._pacer: asyncio.TimerHandle | None = None  # until it is over, little is not read

    # -- the session's side --------------------------------------------------------------------

    async def __aenter__(self) -> TcpConnection[Event]:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """A session that ends well has its last words sent, within the stall limit."""
        if error is not None:
            self.abort()
        await self.close()

    def __aiter__(self) -> TcpConnection[Event]:
        return self

    async def __anext__(self) -> list[Event]:
        while not self._events:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            self._wake = self._loop.create_future()
            await self._wake
        events, self._events = self._events, []
        self._unhandled_bytes = 0
        self._steer_reading()
        return events

    def established(self) -> None:
        """The handshake (and login) is over: from now on the idle limit holds."""
        self._established = True
        self._since_s = self._loop.time()

    def flush(self) -> None:
        """Send what the core has to say."""
        data = self.core.take_output()
        if data:
            self.write(data)

    def write(self, data: bytes | memoryview) -> None:
        """Send bytes past the core. After the connection's end they vanish."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self.sent_bytes += len(data)
        transport.write(data)
        if transport.get_write_buffer_size() > self.limits.unsent_bytes:
            self._fail(PeerError("the peer does not read our answers"))

    def rest(self) -> None:
        """Somebody else sends on the socket and sees to its limits, until `resume`."""
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None

    def resume(self) -> None:
        self._since_s = self._loop.time()
        if self._ticker is None and not self._lost.done():
            self._tick()

    async def drain(self) -> None:
        """Wait while the socket is full; the stall limit ends it. Raises: PeerError, OSError."""
        while not self._writing and self._error is None and not self._lost.done():
            if self._writable is None or self._writable.done():
                self._writable = self._loop.create_future()
            await asyncio.shield(self._writable)
        if self._error is not None:
            raise self._error

    def abort(self) -> None:
        """End now, whatever is still to be sent."""
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """Send what is left within the stall limit, then end; safe to call again."""
        if self._transport is None:
            return
        if self._error is None and not self._transport.is_closing():
            self.flush()
        self._transport.close()
        await asyncio.wait([self._lost], timeout=self.limits.stall_s)
        if not self._lost.done():
            self._transport.abort()
            await asyncio.wait([self._lost])

    @property
    def _is_waited_for(self) -> bool:
        return not self._events and self._wake is not None and not self._wake.done()

    @property
    def socket(self) -> socket.socket | None:
        """The socket of a plain connection, for the fan-out; None with TLS or after the end."""
        if self._transport is None or self.is_tls:
            return None
        found: socket.socket | None = self._transport.get_extra_info("socket")
        return found

    @property
    def transport(self) -> asyncio.Transport | None:
        return self._transport

    # -- asyncio's side ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        set_options(transport.get_extra_info("socket"))
        self._since_s = self._loop.time()
        self._tick()

    def get_buffer(self, sizehint: int) -> memoryview:
        return _read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = _read_buffer[:nbytes]
        self.received_bytes += nbytes
        if self._established:
            self._since_s = self._loop.time()
        if self._backlog:  # TLS gives what it has, whether reading pauses or not
            self._backlog = memoryview(bytes(self._backlog) + data)
            return
        self._backlog = data
        self._take_turn()

    def _take_turn(self) -> None:
        """All of a read, or of thousands of small messages a part, and the rest after others."""
        until_s = time.thread_time() + TURN_S
        turn_bytes = self.limits.turn_bytes
        while self._backlog:
            data, self._backlog = bytes(self._backlog[:turn_bytes]), self._backlog[turn_bytes:]
            self._take(data)
            if self._error is not None or self._ended:
                self._backlog = memoryview(b"")
            elif self._backlog and time.thread_time() >= until_s:
                self._backlog = memoryview(bytes(self._backlog))  # others read meanwhile
                self._steer_reading()
                self._loop.call_soon(self._take_turn)
                return
        if self._has_heard_end:
            self._end()
            return
        self._steer_reading()
        # What comes early, as it is much, is taken within the same rest.
        if self.pace is not None and self._pacer is None and self._error is None:
            self._rest(self.pace())

    def _take(self, data: bytes) -> None:
        if self._error is not None or self._ended:
            return
        try:
            events = self.core.receive(data)
        except PeerError as error:
            self._fail(error)
            return
        if events and self.on_events is not None and self._is_waited_for:
            try:
                events = self.on_events(events)
            except Exception as error:  # the session's, who is told of it by its iteration
                self._fail(error)
                return
        if events:
            self._events += events
            self._unhandled_bytes += len(data)
            self._steer_reading()
            self._rouse()
        self.flush()

    def _rest(self, seconds: float) -> None:
        if seconds > 0:
            self._set_least_read(READ_EARLY_BYTES)
            self._pacer = self._loop.call_later(seconds, self._end_rest)

    def _end_rest(self) -> None:
        self._pacer = None
        self._set_least_read(1)

    def _set_least_read(self, size_bytes: int) -> None:
        """The kernel wakes us for so much, or for an end."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            with suppress(OSError):  # of a socket that has ended, which is told anyway
                sock = transport.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size_bytes)

    def eof_received(self) -> bool:
        """The peer may still read: the session says its last words and closes."""
        self._has_heard_end = True
        if not self._backlog:
            self._end()
        return not self.is_tls

    def _end(self) -> None:
        if self._error is None and not self._ended:
            try:
                self._events += self.core.receive_eof()
            except PeerError as error:
                self._error = error
            self._ended = True
            self._rouse()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._error is None and isinstance(exc, OSError):
            self._error = exc
        if not (self._has_heard_end and self._backlog):  # TLS ends before all of it is taken
            self._ended = True
        for timer in (self._ticker, self._pacer):
            if timer is not None:
                timer.cancel()
        if not self._lost.done():
            self._lost.set_result(None)
        self._rouse()
        self.resume_writing()

    def pause_writing(self) -> None:
        """A peer that does not read its answers is not read either."""
        self._writing = False
        self._steer_reading()

    def resume_writing(self) -> None:
        self._writing = True
        self._steer_reading()
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    # -- limits --------------------------------------------------------------------------------

    def _steer_reading(self) -> None:
        transport = self._transport
        wanted = self._writing and self._unhandled_bytes <= self.limits.unhandled_bytes
        wanted = wanted and not self._backlog
        if wanted == self._reading or transport is None or transport.is_closing():
            return
        self._reading = wanted
        if wanted:
            transport.resume_reading()
        else:
            transport.pause_reading()

    def _tick(self) -> None:
        """A few times per limit; nothing is timed per byte."""
        limits = self.limits
        shortest_s = min(limits.deadline_s, limits.stall_s, limits.idle_s or limits.stall_s)
        self._ticker = self._loop.call_later(min(2.5, shortest_s / 4), self._tick)
        reason = self._overdue(self._loop.time())
        if reason is not None:
            self._fail(PeerError(reason))

    def _overdue(self, now_s: float) -> str | None:
        limits = self.limits
        quiet_s = now_s - self._since_s
        if not self._established:
            if quiet_s >= limits.deadline_s:
                return "handshake too slow"
        elif limits.idle_s is not None and quiet_s >= limits.idle_s and self._reading:
            return "nothing received for too long"
        transport = self._transport
        if transport is None or not transport.get_write_buffer_size():
            self._stalled_since_s = None
            return None
        acked = bytes_acked(transport.get_extra_info("socket"))
        if self._stalled_since_s is None or acked != self._acked:
            self._acked, self._stalled_since_s = acked, now_s
        return "peer stopped reading" if now_s - self._stalled_since_s >= limits.stall_s else None

    def _fail(self, error: Exception) -> None:
        """The core may have a last word (an error reply): it is sent if the socket takes it."""
        if self._error is None:
            self._error = error
        transport = self._transport
        if transport is not None and not transport.is_closing():
            if not transport.get_write_buffer_size():
                transport.write(self.core.take_output())
            if transport.get_write_buffer_size():
                transport.abort()
            else:
                transport.close()
        self._rouse()

    def _rouse(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
