"""A TCP service: accepts under caps and runs one session per connection, each in its own task."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Generic

from appliance.errors import ApplianceError, PeerError
from appliance.net.accept import Acceptor, Caps, Doorkeeper
from appliance.net.address import format_address, listen_tcp
from appliance.net.internal_faults import InternalFaults
from appliance.net.supervisor import OnFault
from appliance.net.tcp import ByteCore, Event, TcpConnection, TcpLimits
from appliance.net.tls import ServerTls


class TcpServer(Generic[Event]):
    """proto: in fault counts. make_core: a fresh core per connection. serve: one session; it may
    raise whatever happens to it, and its connection is closed afterwards.
    """

    def __init__(
        self,
        proto: str,
        make_core: Callable[[], ByteCore[Event]],
        serve: Callable[[TcpConnection[Event]], Awaitable[None]],
        on_fault: OnFault,
        *,
        caps: Caps | None = None,
        limits: TcpLimits | None = None,
        tls: ServerTls | None = None,
    ) -> None:
        self._proto = proto
        self._make_core = make_core
        self._serve = serve
        self._on_fault = on_fault
        self._limits = limits or TcpLimits()
        self._tls = tls
        self._door = Doorkeeper(caps or Caps())
        self._acceptor: Acceptor | None = None
        self._sessions: set[asyncio.Task[None]] = set()  # no more than caps.total
        self._internal_faults = InternalFaults(proto, on_fault)
        self.addresses: tuple[str, ...] = ()

    @property
    def inside(self) -> int:
        return self._door.inside

    def start(self, addresses: tuple[str, ...]) -> None:
        """Listens when it returns. Raises: ConfigError; then on none."""
        listeners: list[socket.socket] = []
        try:
            for text in addresses:
                listeners += listen_tcp(text)
        except BaseException:
            for listener in listeners:
                listener.close()
            raise
        self.addresses = tuple(format_address(sock.getsockname()) for sock in listeners)
        self._acceptor = Acceptor(
            self._proto, listeners, self._door, self._on_accept, self._on_fault
        )
        self._acceptor.start()

    async def stop(self) -> None:
        """Stops listening, cancels the sessions and waits for their ends."""
        if self._acceptor is not None:
            self._acceptor.close()
        for task in self._sessions:
            task.cancel()
        if self._sessions:
            await asyncio.wait(self._sessions, timeout=self._limits.stall_s)
        self.addresses = ()

    def _on_accept(self, sock: socket.socket, ip: str) -> None:
        connection = TcpConnection(
            self._make_core(), self._limits, peer_ip=ip, is_tls=self._tls is not None
        )
        task = asyncio.get_running_loop().create_task(self._run(sock, connection))
        self._sessions.add(task)

        def forget(task: asyncio.Task[None]) -> None:
            self._sessions.discard(task)
            self._door.leave(ip)
            if connection.transport is None:  # cancelled before it began, or TLS failed
                sock.close()

        task.add_done_callback(forget)

    async def _run(self, sock: socket.socket, connection: TcpConnection[Event]) -> None:
        """A session's outermost frame."""
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                sock,
                ssl=self._tls.context if self._tls else None,
                ssl_handshake_timeout=self._limits.deadline_s if self._tls else None,
            )
            async with connection:
                await self._serve(connection)
        except PeerError as error:
            self._on_fault(self._proto, "protocol error", f"{connection.peer_ip} {error}")
        except ApplianceError as error:
            self._on_fault(self._proto, type(error).__name__, f"{connection.peer_ip} {error}")
        except OSError as error:  # ssl.SSLError and TimeoutError too
            self._on_fault(self._proto, "connection lost", f"{connection.peer_ip} {error}")
        except Exception as error:
            self._internal_faults.report(error)
