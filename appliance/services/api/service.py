"""Routes of the API and who may use them.

Who may see what: everything under /api/ needs the action `api`. /healthz and /metrics show no
secret and are what monitoring polls, so by default they are also open to the local network; that
is `api.health` and `api.metrics`, with the words of `[auth]`. Nothing here changes anything
by GET: of SRS's ``?method=DELETE`` a foreign page could make use.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from appliance import __version__
from appliance.errors import AuthError
from appliance.hub.access import Action, Policy
from appliance.hub.addresses import is_lan
from appliance.hub.stream import Stream
from appliance.net.http import Handler, HttpError, Request
from appliance.services.api import envelope
from appliance.services.api.cameras import PREFIX, CameraPages, encode_exactly
from appliance.services.api.envelope import Identity, page_of, respond
from appliance.services.api.health import SICK, examine
from appliance.services.api.metrics import CONTENT_TYPE, render_metrics
from appliance.services.api.shapes import (
    VHOST_ID,
    Audience,
    client_shape,
    stream_id,
    stream_shape,
    vhost_shape,
)
from appliance.services.api.system import System
from appliance.services.contract import Context, StreamSettings, credentials_of

FEATURES = {
    "ssl": True,
    "hls": True,
    "hds": False,
    "callback": False,
    "api": True,
    "httpd": True,
    "dvr": False,
    "transcode": False,
    "ingest": True,
    "stat": True,
    "caster": False,
    "complex_send": False,
    "tcp_nodelay": True,
    "so_sendbuf": False,
    "mr": False,
}
V1_URLS = {
    "versions": "the version of Porthole",
    "summaries": "processor, memory, network and uptime",
    "features": "what this build can do",
    "authors": "the license and the authors",
    "vhosts": "the virtual hosts",
    "streams": "the streams",
    "clients": "the clients; DELETE ends one",
    "cameras": "the cameras of this device; PATCH changes one",
    "forwards": "where streams are handed on to, and how it goes",
    "pulls": "what is fetched from other servers, and how it goes",
    "transcodes": "sound that is encoded anew for those who need it, and how it goes",
    "webrtc": "who plays by WebRTC, by which way, and how that goes",
}
REPORTS = {  # by the services that make them
    "forwards": ("forward",),
    "pulls": ("pull", "edge"),
    "transcodes": ("transcode",),
    "webrtc": ("webrtc",),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """`[api]`

    health, metrics: who may see /healthz and /metrics without the action `api`.
    jsonp: answer ``?callback=``, by which any page that a user of the API opens can read it.
    """

    health: Policy = Policy.LAN
    metrics: Policy = Policy.LAN
    jsonp: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """code: of the envelope; payload: what follows it."""

    payload: dict[str, Any]
    code: int = envelope.OK


Show = Callable[[Request], Answer]
Act = Callable[[Request], Awaitable[dict[str, Any]]]


class ApiService:
    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._identity = Identity.of_device(context.device_name)
        self._system = System()
        self._since_us = context.hub.clock.monotonic_us()

    async def start(self) -> None:
        self._system.lag.start()
        router = self._context.router
        for path in ("/api/", "/api/v1/", "/api/v1"):
            router.exact("GET", path, self._answers(self._urls))
        router.prefix("GET", "/api/", self._answers(self._urls))
        pages: dict[str, Show] = {
            "versions": self._versions,
            "summaries": self._summaries,
            "features": self._features,
            "authors": self._authors,
        }
        for name, show in pages.items():
            router.exact("GET", f"/api/v1/{name}", self._answers(show))
        lists: dict[str, Show] = {
            "streams": self._streams,
            "clients": self._clients,
            "vhosts": self._vhosts,
        } | {name: self._reports(name) for name in REPORTS}
        for name, show in lists.items():
            router.exact("GET", f"/api/v1/{name}", self._redirect)
            router.prefix("GET", f"/api/v1/{name}/", self._answers(show))
        router.prefix("DELETE", "/api/v1/clients/", self._answers_kick)
        cameras = CameraPages(self._context)
        router.exact("GET", PREFIX.rstrip("/"), self._redirect)
        router.prefix("GET", PREFIX, self._answers_of_camera(cameras.show))
        router.prefix("PATCH", PREFIX, self._answers_of_camera(cameras.change))
        router.exact("GET", "/healthz", self._healthz)
        router.exact("GET", "/metrics", self._metrics)

    async def stop(self) -> None:
        self._system.lag.stop()

    def reload(self, settings: Any, streams: tuple[StreamSettings, ...]) -> list[str]:
        self._settings = settings
        return []

    # -- who may --------------------------------------------------------------------------------

    async def _authorize(self, request: Request, stream: str = "") -> None:
        try:
            await self._context.access.check(
                Action.API, stream, request.peer_ip, credentials_of(request)
            )
        except AuthError as error:
            reason = "unauthorized" if error.challenge else "forbidden"
            self._context.faults.count("api", reason, f"{request.peer_ip} {error}")
            raise

    async def _authorize_monitor(self, request: Request, policy: Policy) -> None:
        if policy is Policy.KEY or (policy is Policy.LAN and not is_lan(request.peer_ip)):
            await self._authorize(request)

    def _answers(self, show: Show) -> Handler:
        async def handle(request: Request) -> web.StreamResponse:
            await self._authorize(request)
            answer = show(request)
            document = self._identity.wrap(answer.code, answer.payload)
            return respond(request, document, jsonp=self._settings.jsonp)

        return handle

    async def _answers_kick(self, request: Request) -> web.StreamResponse:
        """A key that is limited to some streams ends nobody at the others."""
        await self._authorize(request)
        session = self._context.sessions.active.get(_tail(request))
        if session is not None and session.stream:
            await self._authorize(request, session.stream)
        return await self._answers(self._kick)(request)

    def _answers_of_camera(self, act: Act) -> Handler:
        """Not for JSONP: what a camera is set to is told to nobody's page."""

        async def handle(request: Request) -> web.StreamResponse:
            await self._authorize(request)
            document = self._identity.wrap(envelope.OK, await act(request))
            return web.Response(
                text=encode_exactly(document),
                content_type="application/json",
                headers={"Cache-Control": "no-store"},
            )

        return handle

    async def _redirect(self, request: Request) -> web.StreamResponse:
        """Lists are at the address with the slash; the query goes along."""
        await self._authorize(request)
        query = f"?{request.raw_query}" if request.raw_query else ""
        return web.Response(status=302, headers={"Location": f"{request.path}/{query}"})

    # -- what is shown --------------------------------------------------------------------------

    def _urls(self, request: Request) -> Answer:
        if request.path.startswith("/api/v1"):
            return Answer({"urls": V1_URLS})
        return Answer({"urls": {"v1": "the API, version 1"}})

    def _versions(self, _: Request) -> Answer:
        major, minor, revision = (int(part) for part in __version__.split(".")[:3])
        return Answer(
            {
                "data": {
                    "major": major,
                    "minor": minor,
                    "revision": revision,
                    "version": __version__,
                }
            }
        )

    def _summaries(self, _: Request) -> Answer:
        sessions, system = self._context.sessions, self._system
        system.refresh()
        return Answer(
            {
                "data": {
                    "ok": True,
                    "now_ms": self._context.hub.clock.unix_us() // 1000,
                    "self": system.self_shape(),
                    "system": system.system_shape(
                        sessions.received_bytes(), sessions.sent_bytes(), len(sessions.active)
                    ),
                    "porthole": system.porthole_shape(),
                }
            }
        )

    def _features(self, _: Request) -> Answer:
        texts = dict.fromkeys(("options", "options2", "build", "build2"), "")
        return Answer({"data": texts | {"features": FEATURES}})

    def _authors(self, _: Request) -> Answer:
        return Answer({"data": {"license": "MIT", "contributors": "the authors of Porthole"}})

    def _streams(self, request: Request) -> Answer:
        context = self._context
        audience = Audience.of(context.sessions)
        streams = sorted(context.hub.streams.values(), key=lambda stream: stream.name)
        wanted = _tail(request)
        host = self._rtmp_host(request)

        def shape(stream: Stream) -> dict[str, Any]:
            camera = context.cameras.of_stream(stream.name)
            return stream_shape(stream, context.sessions, audience, host, camera)

        if not wanted:
            shapes = [shape(stream) for stream in streams[page_of(request)]]
            return Answer({"streams": shapes, "total": len(streams)})
        for stream in streams:
            if stream_id(stream.name) == wanted:
                return Answer({"stream": shape(stream)})
        return Answer({}, envelope.STREAM_NOT_FOUND)

    def _rtmp_host(self, request: Request) -> str:
        """For tcUrl: by which the client reached us, with the port of RTMP instead of HTTP's."""
        host, _, port = request.host.rpartition(":")
        if not port.isdigit():
            host = request.host
        addresses = self._context.listening.get("rtmp", ())
        rtmp_port = addresses[0].rpartition(":")[2] if addresses else ""
        return f"{host}:{rtmp_port}" if rtmp_port not in {"", "1935"} else host

    def _clients(self, request: Request) -> Answer:
        sessions = self._context.sessions
        now_us = sessions.clock.monotonic_us()
        wanted = _tail(request)
        host = self._rtmp_host(request)
        if not wanted:
            page = list(sessions.active.values())[page_of(request)]
            shapes = [client_shape(session, now_us, host) for session in page]
            return Answer({"clients": shapes, "total": len(sessions.active)})
        session = sessions.active.get(wanted)
        if session is None:
            return Answer({}, envelope.CLIENT_NOT_FOUND)
        return Answer({"client": client_shape(session, now_us, host)})

    def _kick(self, request: Request) -> Answer:
        session = self._context.sessions.active.get(_tail(request))
        if session is None:
            return Answer({}, envelope.CLIENT_NOT_FOUND)
        if session.kick is None:
            return Answer({}, envelope.FAILED)
        session.log.info("ended through the API by %s", request.peer_ip)
        session.kick()
        return Answer({})

    def _vhosts(self, request: Request) -> Answer:
        wanted = _tail(request)
        shape = vhost_shape(self._context.sessions, len(self._context.hub.streams))
        if not wanted:
            return Answer({"vhosts": [shape][page_of(request)]})
        if wanted != VHOST_ID:
            return Answer({}, envelope.VHOST_NOT_FOUND)
        return Answer({"vhost": shape})

    def _reports(self, name: str) -> Show:
        """The rows of all services that report under this name; a row has no page of its own."""

        def show(request: Request) -> Answer:
            if _tail(request):
                raise HttpError(404, "nothing is here")
            reports = self._context.reports
            made = [reports[service]() for service in REPORTS[name] if service in reports]
            rows = [row for part in made for row in part]
            return Answer({name: rows[page_of(request)], "total": len(rows)})

        return show

    # -- for monitoring -------------------------------------------------------------------------

    async def _healthz(self, request: Request) -> web.StreamResponse:
        await self._authorize_monitor(request, self._settings.health)
        streams = examine(self._context, self._since_us)
        is_well = all(health.state not in SICK for health in streams)
        document = {
            "status": "ok" if is_well else "failing",
            "streams": {health.name: health.shape() for health in streams},
        }
        return web.Response(
            status=200 if is_well else 503,
            text=envelope.encode(document),
            content_type="application/json",
            headers={"Cache-Control": "no-store"},
        )

    async def _metrics(self, request: Request) -> web.StreamResponse:
        await self._authorize_monitor(request, self._settings.metrics)
        self._system.refresh()
        body = render_metrics(self._context, self._system, self._identity)
        return web.Response(
            body=body.encode(), headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"}
        )


def _tail(request: Request) -> str:
    """What follows ``/api/v1/<list>/``. Raises: HttpError 404 if that has a slash."""
    tail = request.path.split("/", 4)[4]
    if "/" in tail:
        raise HttpError(404, "nothing is here")
    return tail


def create(settings: Settings, context: Context) -> ApiService:
    return ApiService(settings, context)
