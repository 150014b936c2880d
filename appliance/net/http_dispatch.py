"""From a parsed request to its response: one guard around every handler."""

from __future__ import annotations

from aiohttp import web

from appliance.errors import ApplianceError, PeerError
from appliance.net.http_connection import Connection
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
from appliance.net.internal_faults import InternalFaults
from appliance.net.supervisor import OnFault

ORDINARY = {401, 404, 405, 416}  # refusals that well-meaning clients meet every day


class Dispatcher:
    """Checks what holds for every request, then asks the router."""

    def __init__(
        self,
        router: Router,
        settings: HttpSettings,
        proxies: Proxies,
        on_fault: OnFault,
        internal_faults: InternalFaults,
    ) -> None:
        self._router = router
        self._settings = settings
        self._hosts = HostGuard(settings.allowed_hosts)
        self._proxies = proxies
        self._on_fault = on_fault
        self._internal_faults = internal_faults

    async def answer(self, raw: web.BaseRequest) -> web.StreamResponse:
        """The outermost frame of every request: whatever happens becomes one response."""
        try:
            response = await self._dispatch(raw)
            return await send_in_slices(raw, response) if is_large(response) else response
        except web.HTTPException:  # aiohttp makes a response of it
            raise
        except ApplianceError as error:
            fault: Exception = error
            self._count(raw, error)
        except ConnectionError:
            raise  # the client has gone: aiohttp closes quietly
        except Exception as error:
            fault = error
            self._internal_faults.report(error)
        if raw.writer.output_size > 0:
            if raw.transport is not None:
                raw.transport.abort()  # half a response is out: only a cut tells the client
            raise ConnectionResetError("fault within a response")
        as_json = wants_json(raw.raw_path, raw.headers.get("Accept", ""))
        refused = error_response(fault, as_json=as_json)
        if not raw.content.is_eof():
            refused.force_close()
        return refused

    def _count(self, raw: web.BaseRequest, error: ApplianceError) -> None:
        """A query may hold a key, so the line has only the path."""
        if not isinstance(error, PeerError) or getattr(error, "status", 400) in ORDINARY:
            return
        path = raw.raw_path.partition("?")[0][:80]
        self._on_fault("http", "bad request", f"{_peer_ip(raw)} {raw.method} {path}: {error}")

    async def _dispatch(self, raw: web.BaseRequest) -> web.StreamResponse:
        request = self._admit(raw)
        if request.path == "*":
            return _answer_asterisk(request.method)
        methods = self._router.find(request.path, request.raw_query)
        if methods is None:
            raise HttpError(404, "nothing is here")
        route = _choose(methods, request.method)
        if route is None:
            return _answer_without_route(methods, request.method)
        if not route.cross_origin:
            check_forgery(request)
        return await route.handler(request)

    def _admit(self, raw: web.BaseRequest) -> Request:
        """What holds for every request before anybody looks at its path. Raises: PeerError."""
        connection = raw.protocol
        assert isinstance(connection, Connection)
        if raw.method not in METHODS:
            raise HttpError(405, "method not allowed", {"Allow": ", ".join(METHODS)})
        peer_ip, is_tls = self._proxies.client(connection.peer_ip, connection.is_tls, raw.headers)
        request = Request(
            raw,
            peer_ip=peer_ip,
            is_tls=is_tls,
            body_deadline_s=self._settings.request_deadline_us / 1e6,
            max_body_bytes=self._settings.max_body_bytes,
        )
        if raw.version < (1, 0):  # the parser takes HTTP/0.9, even with header fields
            raise HttpError(505, "speak HTTP/1.0 or HTTP/1.1")
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
        return request


def _peer_ip(raw: web.BaseRequest) -> str:
    return raw.protocol.peer_ip if isinstance(raw.protocol, Connection) else ""


def _choose(methods: Methods, method: str) -> Route | None:
    return methods.get(method) or (methods.get("GET") if method == "HEAD" else None)


def _answer_asterisk(method: str) -> web.StreamResponse:
    """RFC 9110 §9.3.7: the server as a whole, not a resource."""
    if method != "OPTIONS":
        raise HttpError(400, "only OPTIONS can ask for *")
    return web.Response(status=204, headers={"Allow": ", ".join(METHODS)})


def _answer_without_route(methods: Methods, method: str) -> web.StreamResponse:
    allow = {"Allow": allowed(methods)}
    if method == "OPTIONS":
        return web.Response(status=204, headers=allow)
    return refusal(405, "method not allowed", allow)
