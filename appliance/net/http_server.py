"""The HTTP server: one guard around every handler, on aiohttp's parser and connections.

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
from dataclasses import dataclass, field
from typing import Any

import aiohttp.http_parser
from aiohttp import web

from appliance.errors import ApplianceError, ConfigError, PeerError
from appliance.net.accept import Acceptor, Caps, Doorkeeper
from appliance.net.address import format_address, listen_tcp
from appliance.net.http_connection import SILENT, Connection, RawRequest
from appliance.net.http_guard import SAFE_METHODS, HostGuard, Proxies, check_forgery
from appliance.net.http_request import HttpError, Request
from appliance.net.http_response import (
    error_response,
    is_large,
    refusal,
    send_in_slices,
    wants_json,
)
from appliance.net.http_router import METHODS, Methods, Route, Router, allowed
from appliance.net.http_settings import HttpSettings
from appliance.net.supervisor import OnFault
from appliance.net.tls import ServerTls

log = logging.getLogger(__name__)

SWEEP_S = 0.5
TLS_SWEEPS = 20  # certificate files are looked at every so many sweeps
TRACEBACK_EVERY_S = 1.0
LINGER_S = 1.0  # how long the rest of a refused body is read so that the refusal arrives
FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 21\r\n\r\ntoo many connections\n"
)


def _ignore_fault(proto: str, reason: str, detail: str) -> None:
    log.debug("%s: %s: %s", proto, reason, detail)


@dataclass(slots=True)
class _Tracebacks:
    """At most one traceback a second, whatever a peer finds to trigger."""

    told_s: float = field(default=float("-inf"))

    def tell(self, error: BaseException | None, now_s: float) -> None:
        if now_s - self.told_s >= TRACEBACK_EVERY_S:
            self.told_s = now_s
            log.error("unexpected fault while answering a request", exc_info=error)


class HttpServer:
    """Listens, guards and dispatches to `router`, whose routes may be added at any time.

    on_fault: called with ("http", reason, detail) for every refusal worth counting.
    """

    def __init__(
        self, router: Router, settings: HttpSettings, on_fault: OnFault = _ignore_fault
    ) -> None:
        self.router = router
        self.settings = settings
        self.on_fault = on_fault
        self.connections: set[Connection] = set()
        self.manager: web.Server
        self._hosts = HostGuard(settings.allowed_hosts)
        self._proxies = Proxies(settings.trusted_proxies)
        self._door = Doorkeeper(
            Caps(
                total=settings.max_connections,
                per_ip=settings.max_connections_per_ip,
                is_exempt=self._proxies.trusts,
            )
        )
        self._acceptors: list[Acceptor] = []
        self._tls: ServerTls | None = None
        self._opening: set[asyncio.Task[Any]] = set()  # no more than max_connections
        self._sweeper: asyncio.TimerHandle | None = None
        self._sweeps = 0
        self._tracebacks = _Tracebacks()
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

    async def start(self) -> None:
        """Listens on every address when it returns. Raises: ConfigError; then on none."""
        if getattr(aiohttp.http_parser, "HttpRequestParserC", None) is not (
            aiohttp.http_parser.HttpRequestParser
        ):
            raise ConfigError("aiohttp lacks its C parser; install a wheel with extensions")
        self._loop = asyncio.get_running_loop()
        self.manager = web.Server(
            self._guard,
            request_factory=self._make_raw,
            handler_cancellation=True,
        )
        settings = self.settings
        if settings.tls.listen:
            self._tls = ServerTls(settings.tls.cert, settings.tls.key)
        plain: list[socket.socket] = []
        encrypted: list[socket.socket] = []
        try:
            for text in settings.listen:
                plain += await self._loop.run_in_executor(None, listen_tcp, text)
            for text in settings.tls.listen:
                encrypted += await self._loop.run_in_executor(None, listen_tcp, text)
        except BaseException:
            for sock in plain + encrypted:
                sock.close()
            raise
        self.addresses = self._serve(plain, is_tls=False)
        self.tls_addresses = self._serve(encrypted, is_tls=True)
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
                self.report(error)
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

    def report(self, error: BaseException | None) -> None:
        """A fault that is ours: counted, and told with a traceback at most once a second."""
        self.on_fault("http", "internal error", type(error).__name__ if error else "")
        self._tracebacks.tell(error, self._loop.time())

    # -- requests ------------------------------------------------------------------------------

    def _make_raw(self, message, payload, protocol, writer, task):  # type: ignore[no-untyped-def]
        return RawRequest(message, payload, protocol, writer, task, self._loop)

    async def _guard(self, raw: web.BaseRequest) -> web.StreamResponse:
        """The outermost frame of every request: whatever happens becomes one response."""
        try:
            response = await self._dispatch(raw)
            return await send_in_slices(raw, response) if is_large(response) else response
        except web.HTTPException:
            raise
        except ApplianceError as error:
            fault: Exception = error
            if isinstance(error, PeerError):
                self.on_fault("http", "bad request", f"{raw.remote} {error}")
        except ConnectionError:
            raise  # the client has gone: aiohttp closes quietly
        except Exception as error:
            fault = error
            self.report(error)
        if raw.writer.output_size > 0:
            if raw.transport is not None:
                raw.transport.abort()  # half a response is out: only a cut tells the client
            raise ConnectionResetError("fault within a response")
        answer = error_response(
            fault, as_json=wants_json(raw.raw_path, raw.headers.get("Accept", ""))
        )
        if not raw.content.is_eof():
            answer.force_close()
        return answer

    async def _dispatch(self, raw: web.BaseRequest) -> web.StreamResponse:
        connection = raw.protocol
        assert isinstance(connection, Connection)
        if raw.method not in METHODS:
            raise HttpError(405, "method not allowed", {"Allow": ", ".join(METHODS)})
        peer_ip, is_tls = self._proxies.client(connection.peer_ip, connection.is_tls, raw.headers)
        request = Request(
            raw,
            peer_ip=peer_ip,
            is_tls=is_tls,
            body_deadline_s=self.settings.request_deadline_us / 1e6,
            max_body_bytes=self.settings.max_body_bytes,
        )
        self._check(request)
        if request.path == "*":
            return _answer_asterisk(request.method)
        methods = self.router.find(request.path)
        if methods is None:
            raise HttpError(404, "nothing is here")
        route = _choose(methods, request.method)
        if route is None:
            return _answer_options(methods, request.method)
        if not route.cross_origin:
            check_forgery(request)
        return await route.handler(request)

    def _check(self, request: Request) -> None:
        """What holds for every request before anybody looks at its path."""
        raw = request.raw
        hosts = raw.headers.getall("Host", [])
        if len(hosts) > 1 or (not hosts and raw.version >= (1, 1)):
            raise HttpError(400, "a request needs one Host header")
        if request.host:
            self._hosts.check(request.host)
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise HttpError(415, "encoded bodies are refused", {"Accept-Encoding": "identity"})
        if request.headers.get("Expect", "100-continue").lower() != "100-continue":
            raise HttpError(417, "that expectation cannot be met")
        if request.method in SAFE_METHODS and raw.body_exists:
            raise HttpError(400, f"{request.method} carries no body here")


def _choose(methods: Methods, method: str) -> Route | None:
    return methods.get(method) or (methods.get("GET") if method == "HEAD" else None)


def _answer_asterisk(method: str) -> web.StreamResponse:
    """RFC 9110 §9.3.7: the server as a whole, not a resource."""
    if method != "OPTIONS":
        raise HttpError(400, "only OPTIONS can ask for *")
    return web.Response(status=204, headers={"Allow": ", ".join(METHODS)})


def _answer_options(methods: Methods, method: str) -> web.StreamResponse:
    allow = {"Allow": allowed(methods)}
    if method == "OPTIONS":
        return web.Response(status=204, headers=allow)
    return refusal(405, "method not allowed", allow)


def _say_full(sock: socket.socket) -> None:
    """Best effort: the socket's buffer is empty, so the few bytes go at once or never."""
    try:
        sock.setblocking(False)
        sock.send(FULL)
    except OSError:
        return
