"""A TCP service: accepts under caps and runs one session per connection, each in its own task."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Generic

from appliance.errors import ApplianceError, ConfigError, PeerError
from appliance.net.accept import Acceptor, Caps, Doorkeeper
from appliance.net.address import format_address, listen_tcp
from appliance.net.internal_faults import InternalFaults
from appliance.net.supervisor import OnFault
from appliance.net.tcp import ByteCore, Event, TcpConnection, TcpLimits
from appliance.net.tls import ServerTls

log = logging.getLogger(__name__)

TLS_CHECK_S = 1.0  # how often the certificate's files are looked at, while somebody connects


class TcpServer(Generic[Event]):
    """proto: in fault counts. make_core: a fresh core per connection. serve: one session; it may
    raise whatever happens to it, and its connection is closed afterwards. tls: followed to newer
    files, for those who connect from then on.
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
        self._tls_checked_s = 0.0
        self._door = Doorkeeper(caps or Caps())
        self._acceptor: Acceptor | None = None
        self._sessions: set[asyncio.Task[None]] = set()  # no more than caps.total
        self._internal_faults = InternalFaults(proto, on_fault)
        self.addresses: tuple[str, ...] = ()

    @property
    def inside(self) -> int:
        return self._door.inside

    def adjust(self, caps: Caps, limits: TcpLimits) -> None:
        """For those who connect from now on."""
        self._door.caps = caps
        self._limits = limits

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

    def _refresh_tls(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if self._tls is None or now_s - self._tls_checked_s < TLS_CHECK_S:
            return
        self._tls_checked_s = now_s
        try:
            if self._tls.refresh():
                log.info("%s: the certificate has been read again", self._proto)
        except ConfigError as error:
            self._on_fault(self._proto, "certificate unusable", str(error))

    def _on_accept(self, sock: socket.socket, ip: str) -> None:
        self._refresh_tls()
        connection = TcpConnection(
            self._make_core(), self._limits, peer_ip=ip, is_tls=self._tls is not None
        )
        task = asyncio.get_running_loop().create_task(self._run(sock, connection))
        self._sessions.add(task)
        task.add_done_callback(partial(self._forget, sock, connection))

    def _forget(
        self, sock: socket.socket, connection: TcpConnection[Event], task: asyncio.Task[None]
    ) -> None:
        self._sessions.discard(task)
        self._door.leave(connection.peer_ip)
        if connection.transport is None:  # cancelled before it began, or TLS failed
            sock.close()

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
        except ConnectionError as error:
            if connection.transport is None:
                why = str(error) or "during the TLS handshake"
                self._on_fault(self._proto, "connection lost", f"{connection.peer_ip} {why}")
            # Players leave like this later on; whose leaving matters is told by the session.
        except OSError as error:  # ssl.SSLError and TimeoutError too
            self._on_fault(self._proto, "connection lost", f"{connection.peer_ip} {error}")
        except Exception as error:
            self._internal_faults.report(error)
