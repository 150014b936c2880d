"""The one UDP pump: datagrams between a socket and a sans-IO core, with the core's own timer."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from appliance.errors import PeerError
from appliance.net.address import format_address
from appliance.net.internal_faults import InternalFaults
from appliance.net.supervisor import OnFault

Event = TypeVar("Event")
UdpAddress = tuple[str, int] | tuple[str, int, int, int]
"""As the socket module has it: IPv4 peers of a dual-stack socket are ``::ffff:…``."""

DATAGRAMS_PER_TURN = 64  # a flood must not hold the loop
RECEIVE_BUFFER_BYTES = 1 << 20  # what the kernel keeps while the loop is busy elsewhere
FAULT_PAUSE_S = 1.0  # after a fault of ours at a deadline
MAX_DATAGRAM_BYTES = 65_536


class DatagramCore(Protocol[Event]):
    """A protocol without its socket. `now_us` is CLOCK_MONOTONIC."""

    def receive(self, data: bytes, peer: UdpAddress, now_us: int) -> list[Event]:
        """Raises: PeerError; the datagram is then counted and forgotten."""
        ...

    def handle_deadline(self, now_us: int) -> list[Event]:
        """The time `deadline_us` named has come."""
        ...

    def deadline_us(self) -> int | None:
        """When it wants to be called next if nothing arrives."""
        ...

    def take_output(self, now_us: int) -> list[tuple[bytes, UdpAddress]]: ...


class UdpPump(Generic[Event]):
    """Runs a core on one bound, non-blocking socket, which it owns.

    on_event: called for each event, at once; what it lets the core produce is sent right after.
    A datagram that the socket does not take is dropped and counted: datagrams may get lost anyway.
    """

    def __init__(
        self,
        proto: str,
        sock: socket.socket,
        core: DatagramCore[Event],
        on_event: Callable[[Event], None],
        on_fault: OnFault,
    ) -> None:
        self._proto = proto
        self._sock = sock
        self._core = core
        self._on_event = on_event
        self._on_fault = on_fault
        self._internal_faults = InternalFaults(proto, on_fault)
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray(MAX_DATAGRAM_BYTES)
        self._view = memoryview(self._buffer)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_us: int | None = None
        self.received_datagrams = 0
        self.dropped_datagrams = 0
        self.address = format_address(sock.getsockname())
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self._loop.add_reader(sock, self._receive_some)
        self.flush()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._sock)
        self._sock.close()

    def flush(self) -> None:
        """Send what the core has to say and keep its deadline; after each call into the core."""
        for data, peer in self._core.take_output(_now_us()):
            self._send(data, peer)
        self._set_timer(self._core.deadline_us())

    def _receive_some(self) -> None:
        now_us = _now_us()
        for _ in range(DATAGRAMS_PER_TURN):
            try:
                count, _, flags, peer = self._sock.recvmsg_into([self._view])
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                continue  # an ICMP error about a datagram sent before: RFC 1122 §4.1.3.3
            self.received_datagrams += 1
            if flags & socket.MSG_TRUNC:
                continue  # longer than UDP over IP can be
            self._take(bytes(self._view[:count]), peer, now_us)
        self.flush()

    def _take(self, data: bytes, peer: UdpAddress, now_us: int) -> None:
        try:
            events = self._core.receive(data, peer, now_us)
            for event in events:
                self._on_event(event)
        except PeerError as error:
            self._on_fault(self._proto, "protocol error", str(error))
        except Exception as error:  # a datagram's outermost frame
            self._internal_faults.report(error)

    def _send(self, data: bytes, peer: UdpAddress) -> None:
        try:
            self._sock.sendto(data, peer)
        except (BlockingIOError, InterruptedError):
            self.dropped_datagrams += 1
        except OSError as error:
            self.dropped_datagrams += 1
            reason = errno.errorcode.get(error.errno or 0, "send failed")
            self._on_fault(self._proto, "send failed", reason)

    def _set_timer(self, deadline_us: int | None) -> None:
        if deadline_us == self._timer_us:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_us = deadline_us
        self._timer = (
            None
            if deadline_us is None
            else self._loop.call_at(deadline_us / 1_000_000, self._on_timer)
        )

    def _on_timer(self) -> None:
        self._timer = self._timer_us = None
        now_us = _now_us()
        deadline_us = self._core.deadline_us()
        if deadline_us is not None and deadline_us <= now_us:
            try:
                for event in self._core.handle_deadline(now_us):
                    self._on_event(event)
            except Exception as error:  # a deadline's outermost frame
                self._internal_faults.report(error)
                self._timer = self._loop.call_later(FAULT_PAUSE_S, self._on_timer)
                return  # it may be due still, and then there would be no end of it
        self.flush()


def _now_us() -> int:
    """The loop's clock (time.monotonic) in the core's unit."""
    return time.monotonic_ns() // 1000
