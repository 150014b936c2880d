"""The WebRTC service behind an HTTP server on loopback, with a clip as its stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from framehash import clip_units
from mutation import CORPUS

from appliance.hub.access import Access, AuthSettings
from appliance.hub.clock import Clock
from appliance.hub.hub import Hub
from appliance.hub.publisher import Publisher
from appliance.hub.sessions import Sessions
from appliance.hub.stats import Counters, Faults
from appliance.media.unit import AccessUnit
from appliance.net.http import HttpServer, HttpSettings, Router
from appliance.net.supervisor import Supervisor
from appliance.services.contract import Context
from appliance.services.webrtc import Settings, create
from appliance.services.webrtc.exchange import Exchange
from appliance.services.webrtc.service import WebRtcService

NAME = "live/camera"
PATH = f"/{NAME}/whep"
LISTEN = ("127.0.0.1:0",)
SDP = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}
OFFER = (CORPUS / "webrtc" / "chromium_play.sdp").read_bytes()


class Film:
    """A clip that is published unit by unit, again and again, with the stamps of now."""

    def __init__(self, publisher: Publisher, kind: str) -> None:
        self.publisher = publisher
        self.tracks, self._units = clip_units(kind)
        self.written: list[AccessUnit] = []
        self.key_requests = 0
        self._at = 0
        self._round_us = 0
        self._shift_us = publisher.stream.clock.monotonic_us() - self._units[0].dts_us
        publisher.on_keyframe_request = self._note_request
        publisher.describe(self.tracks)

    def _note_request(self) -> None:
        self.key_requests += 1

    def write(self, count: int = 1) -> None:
        for _ in range(count):
            unit = self._units[self._at % len(self._units)]
            turns = self._at // len(self._units)
            shift_us = self._shift_us + turns * 3_000_000
            self._at += 1
            made = AccessUnit(
                unit.track, unit.dts_us + shift_us, unit.pts_us + shift_us, unit.key, unit.parts
            )
            self.written.append(made)
            self.publisher.write(made)


@dataclass
class WebRtcSite:
    context: Context
    service: WebRtcService
    server: HttpServer
    http: aiohttp.ClientSession
    films: list[Film] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    @property
    def exchange(self) -> Exchange:
        assert self.service.exchange is not None, "somebody has come"
        return self.service.exchange

    @property
    def hub(self) -> Hub:
        return self.context.hub

    def publish(self, kind: str = "h264-small", name: str = NAME) -> Film:
        film = Film(self.hub.publish(name, "test#1", stamped=True), kind)
        self.films.append(film)
        return film

    async def ask(
        self, method: str, path: str, body: bytes = b"", **headers: str
    ) -> tuple[int, str, dict[str, str]]:
        """Status, text, and the head by names in lower case."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.request(
            method, self.url + path, data=body or None, headers=named
        ) as reply:
            head = {name.lower(): value for name, value in reply.headers.items()}
            return reply.status, await reply.text(), head

    async def offer(
        self, offer: bytes = OFFER, path: str = PATH
    ) -> tuple[int, str, dict[str, str]]:
        return await self.ask("POST", path, offer, Content_Type="application/sdp")


@asynccontextmanager
async def webrtc_site(
    settings: Settings | None = None,
    *,
    auth: AuthSettings | None = None,
    state_dir: Path | None = None,
) -> AsyncIterator[WebRtcSite]:
    clock = Clock()
    supervisor = Supervisor()
    context = Context(
        hub=Hub(clock=clock),
        router=Router(),
        access=Access(auth, state_dir, clock),
        sessions=Sessions(clock),
        faults=Faults(clock),
        counters=Counters(),
        supervisor=supervisor,
        device_name="test",
        streams=(),
        state_dir=state_dir,
    )
    service = create(settings or Settings(listen=LISTEN, wait_us=200_000), context)
    await service.start()
    server = HttpServer(
        context.router, HttpSettings(listen=("127.0.0.1:0",), trusted_proxies=("127.0.0.1",))
    )
    await server.start()
    try:
        async with aiohttp.ClientSession() as http:
            yield WebRtcSite(context, service, server, http)
    finally:
        await service.stop()
        context.hub.close()
        await server.stop(0.2)
        await supervisor.close()
