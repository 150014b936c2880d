"""What a service with one session per TCP connection has of them: where it listens, plain and by
TLS, all that are there, a look at each once a second, and their end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from appliance.errors import ConfigError
from appliance.net.accept import Caps
from appliance.net.address import reachable_urls
from appliance.net.http_settings import TlsSettings
from appliance.net.internal_faults import InternalFaults
from appliance.net.supervisor import OnFault, Supervisor
from appliance.net.tcp import ByteCore, Event, TcpConnection, TcpLimits
from appliance.net.tcp_server import TcpServer
from appliance.net.tls import ServerTls

log = logging.getLogger(__name__)

TICK_S = 1.0
GOODBYE_S = 1.0  # for peers to be told that it is over


class TcpSession(Protocol):
    """One connection's."""

    async def run(self) -> None:
        """Until the connection ends. Raises what ended it."""
        ...

    def tick(self) -> None:
        """Once a second: ends who is silent or says too much, and keeps the figures."""
        ...

    def end(self, why: str) -> None:
        """Now."""
        ...

    async def see_off(self) -> None:
        """All of them end. Returns when its peer was told, if it is to be told anything."""
        ...


Session = TypeVar("Session", bound=TcpSession)


class TcpSessions(Generic[Event, Session]):
    """proto: in fault counts and as the scheme of URLs, with an `s` by TLS. make_core: told whether
    it is by TLS. active: those that are there.
    """

    def __init__(
        self,
        proto: str,
        make_core: Callable[[bool], ByteCore[Event]],
        make_session: Callable[[TcpConnection[Event]], Session],
        supervisor: Supervisor,
        on_fault: OnFault,
    ) -> None:
        self.active: set[Session] = set()  # no more than the caps let in, twice: plain and by TLS
        self._proto = proto
        self._make_core = make_core
        self._make_session = make_session
        self._supervisor = supervisor
        self._on_fault = on_fault
        self._internal_faults = InternalFaults(proto, on_fault)
        self._servers: dict[str, TcpServer[Event]] = {}  # by scheme

    @property
    def listening(self) -> dict[str, tuple[str, ...]]:
        """Addresses by scheme."""
        return {scheme: server.addresses for scheme, server in self._servers.items()}

    @property
    def addresses(self) -> tuple[str, ...]:
        """All of them, those without TLS first."""
        return tuple(address for server in self._servers.values() for address in server.addresses)

    def start(
        self, listen: tuple[str, ...], tls: TlsSettings, caps: Caps, limits: TcpLimits
    ) -> None:
        """Listens when it returns. Raises: ConfigError, with the key of what cannot be had."""
        if listen:
            self._listen(listen, None, caps, limits)
        if tls.listen:
            self._listen(tls.listen, ServerTls(tls.cert, tls.key), caps, limits)
        self._supervisor.keep(f"{self._proto} sessions", self._tick)

    def _listen(
        self, addresses: tuple[str, ...], tls: ServerTls | None, caps: Caps, limits: TcpLimits
    ) -> None:
        scheme = f"{self._proto}s" if tls else self._proto
        server: TcpServer[Event] = TcpServer(
            scheme,
            lambda: self._make_core(tls is not None),
            self._serve,
            self._on_fault,
            caps=caps,
            limits=limits,
            tls=tls,
        )
        try:
            server.start(addresses)
        except ConfigError as error:
            raise ConfigError(f"{self._proto}{'.tls' if tls else ''}.{error}") from error.__cause__
        self._servers[scheme] = server
        for address in server.addresses:
            for url in reachable_urls(scheme, address):
                log.info("listening on %s", url)

    def adjust(self, caps: Caps, limits: TcpLimits) -> None:
        """For those who connect from now on."""
        for server in self._servers.values():
            server.adjust(caps, limits)

    async def _serve(self, connection: TcpConnection[Event]) -> None:
        session = self._make_session(connection)
        self.active.add(session)
        try:
            await session.run()
        finally:
            self.active.discard(session)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._tick_all()

    def _tick_all(self) -> None:
        """By itself, so that no session that ends is held until the next tick."""
        for session in list(self.active):
            try:
                session.tick()
            except Exception as error:  # of one session; the others go on
                self._internal_faults.report(error)
                session.end("a fault of ours")

    async def stop(self) -> None:
        ends = [asyncio.create_task(session.see_off()) for session in self.active]
        if ends:
            await asyncio.wait(ends, timeout=GOODBYE_S)
        for server in self._servers.values():
            await server.stop()
