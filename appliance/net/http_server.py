"""The HTTP server: sockets, caps, deadlines and TLS around aiohttp's parser and connections.

aiohttp's low-level server is used without its Application (one dictionary look-up per request
instead of a chain of resources) and without its sites, because accepting must stay quiet when
descriptors run out and count peers before anything is spent on them.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
import ssl
from typing import Any

import aiohttp.http_parser
from aiohttp import web

from appliance.errors import ConfigError
from appliance.net.accept import Acceptor, Caps, Doorkeeper
from appliance.net.address import format_address, listen_tcp
from appliance.net.http_connection import SILENT, Connection, RawRequest
from appliance.net.http_dispatch import Dispatcher
from appliance.net.http_guard import Proxies
from appliance.net.http_router import Router
from appliance.net.http_settings import HttpSettings
from appliance.net.internal_faults import InternalFaults
from appliance.net.supervisor import OnFault
from appliance.net.tls import ServerTls

log = logging.getLogger(__name__)

SWEEP_S = 0.5
TLS_SWEEPS = 20  # certificate files are looked at every so many sweeps
LINGER_S = 1.0  # how long the rest of a refused body is read so that the refusal arrives
FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 21\r\n\r\ntoo many connections\n"
)


def _ignore_fault(proto: str, reason: str, detail: str) -> None:
    log.debug("%s: %s: %s", proto, reason, detail)


class HttpServer:
    """Listens, guards and dispatches to `router`, whose routes may be added at any time.

    on_fault: called with ("http", reason, detail) for every refusal worth counting.
    """

    def __init__(
        self, router: Router, settings: HttpSettings, on_fault: OnFault = _ignore_fault
    ) -> None:
        self.settings = settings
        self.on_fault = on_fault
        self.connections: set[Connection] = set()
        self.manager: web.Server
        self.internal_faults = InternalFaults("http", on_fault)
        proxies = Proxies(settings.trusted_proxies)
        self._dispatcher = Dispatcher(router, settings, proxies, on_fault, self.internal_faults)
        self._door = Doorkeeper(
            Caps(
                total=settings.max_connections,
                per_ip=settings.max_connections_per_ip,
                is_exempt=proxies.trusts,
            )
        )
        self._acceptors: list[Acceptor] = []
        self._plain: list[socket.socket] = []  # bound, not served yet
        self._encrypted: list[socket.socket] = []
        self._tls: ServerTls | None = None
        self._opening: set[asyncio.Task[Any]] = set()  # no more than max_connections
        self._sweeper: asyncio.TimerHandle | None = None
        self._sweeps = 0
        self.addresses: tuple[str, ...] = ()
        self.tls_addresses: tuple[str, ...] = ()

    @property
    def port(self) -> int:
        """Of the first plain address (or TLS address, if that is all), once started."""
        return int((self.addresses + self.tls_addresses)[0].rpartition(":")[2])

    @property
    def inside(self) -> int:
        """Connections, those in their TLS handshake included."""
        return self._door.inside

    # -- start and stop ------------------------------------------------------------------------

    def bind(self) -> None:
        """Takes every address; who connects waits until `start`. Raises: ConfigError; then none."""
        settings = self.settings
        if settings.tls.listen:
            self._tls = ServerTls(settings.tls.cert, settings.tls.key)
        try:
            for text in settings.listen:
                self._plain += listen_tcp(text)
            for text in settings.tls.listen:
                self._encrypted += listen_tcp(text)
        except BaseException:
            self._unbind()
            raise

    def _unbind(self) -> None:
        for sock in self._plain + self._encrypted:
            sock.close()
        self._plain, self._encrypted = [], []

    async def start(self) -> None:
        """Serves on every address when it returns, bound now if `bind` was not called.

        Raises: ConfigError; then it serves on none.
        """
        if getattr(aiohttp.http_parser, "HttpRequestParserC", None) is not (
            aiohttp.http_parser.HttpRequestParser
        ):
            raise ConfigError("aiohttp lacks its C parser; install a wheel with extensions")
        self._loop = asyncio.get_running_loop()
        self.manager = web.Server(
            self._dispatcher.answer,
            request_factory=self._make_raw,
            handler_cancellation=True,
        )
        if not self._plain and not self._encrypted:
            self.bind()
        self.addresses = self._serve(self._plain, is_tls=False)
        self.tls_addresses = self._serve(self._encrypted, is_tls=True)
        self._plain, self._encrypted = [], []
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)

    def _serve(self, listeners: list[socket.socket], *, is_tls: bool) -> tuple[str, ...]:
        if not listeners:
            return ()
        acceptor = Acceptor(
            "http",
            listeners,
            self._door,
            self._accept_tls if is_tls else self._accept_plain,
            self.on_fault,
            None if is_tls else _say_full,
        )
        acceptor.start()
        self._acceptors.append(acceptor)
        addresses = tuple(format_address(sock.getsockname()) for sock in listeners)
        log.debug("%s on %s", "https" if is_tls else "http", ", ".join(addresses))
        return addresses

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Stops listening, lets running requests end within the time, then closes the rest."""
        self._unbind()
        for acceptor in self._acceptors:
            acceptor.close()
        self._acceptors.clear()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for task in tuple(self._opening):
            task.cancel()
        if self._opening:
            await asyncio.wait(self._opening)
        if self.addresses or self.tls_addresses:
            self.manager.pre_shutdown()
            await self.manager.shutdown(timeout_s)
            for connection in tuple(self.connections):  # who does not take the rest
                connection.abort()
            for _ in range(4):  # TLS tells the connection it is lost three turns later
                await asyncio.sleep(0)
        self.addresses = self.tls_addresses = ()

    # -- connections ---------------------------------------------------------------------------

    def _accept_plain(self, sock: socket.socket, ip: str) -> None:
        self._open(sock, ip, None)

    def _accept_tls(self, sock: socket.socket, ip: str) -> None:
        assert self._tls is not None
        self._open(sock, ip, self._tls.context)

    def _open(self, sock: socket.socket, ip: str, context: ssl.SSLContext | None) -> None:
        settings = self.settings
        connection = Connection(
            self,
            ip,
            is_tls=context is not None,
            loop=self._loop,
            keepalive_timeout=settings.idle_us / 1e6,
            max_line_size=settings.max_header_line_bytes,
            max_field_size=settings.max_header_line_bytes,
            max_headers=settings.max_headers,
            lingering_time=LINGER_S,
            auto_decompress=False,
            access_log=None,
            logger=SILENT,
        )
        opening = self._loop.connect_accepted_socket(
            lambda: connection,
            sock,
            ssl=context,
            ssl_handshake_timeout=settings.request_deadline_us / 1e6 if context else None,
        )
        task = self._loop.create_task(opening)
        self._opening.add(task)
        task.add_done_callback(functools.partial(self._opened, sock, connection))

    def _opened(self, sock: socket.socket, connection: Connection, task: asyncio.Task[Any]) -> None:
        """A new connection's socket has its transport, or failed, or is not wanted any more."""
        self._opening.discard(task)
        if task.cancelled():
            pass
        elif error := task.exception():
            if isinstance(error, OSError):  # as TimeoutError and ssl.SSLError are
                reason = "handshake failed" if connection.is_tls else "connect failed"
                self.on_fault("http", reason, f"{connection.peer_ip} {error}")
            else:
                self.internal_faults.report(error)
        else:
            return
        sock.close()
        self.closed(connection)

    def _sweep(self) -> None:
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)
        now_s = self._loop.time()
        head_s = self.settings.request_deadline_us / 1e6
        stall_s = self.settings.stall_us / 1e6
        for connection in tuple(self.connections):
            why = connection.overdue(now_s, head_s, stall_s)
            if why is not None:
                if why.value:
                    self.on_fault("http", why.value, connection.peer_ip)
                connection.end(why)
        self._sweeps += 1
        if self._sweeps % TLS_SWEEPS == 0:
            self.refresh_tls()

    def refresh_tls(self) -> None:
        """Take over a certificate that was replaced; happens by itself every ten seconds."""
        try:
            if self._tls is not None and self._tls.refresh():
                log.info("the certificate has been read again")
        except ConfigError as error:
            self.on_fault("http", "certificate unusable", str(error))

    def closed(self, connection: Connection) -> None:
        """A connection's last word, whether it was ever made or not; said once or twice."""
        if not connection.has_left:
            connection.has_left = True
            self.connections.discard(connection)
            self._door.leave(connection.peer_ip)

    def _make_raw(self, message, payload, protocol, writer, task):  # type: ignore[no-untyped-def]
        return RawRequest(message, payload, protocol, writer, task, self._loop)


def _say_full(sock: socket.socket) -> None:
    """Best effort: the socket's buffer is empty, so the few bytes go at once or never."""
    try:
        sock.setblocking(False)
        sock.send(FULL)
    except OSError:
        return
