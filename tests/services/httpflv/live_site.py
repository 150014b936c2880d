"""The live service behind an HTTP server on loopback, and viewers without a player."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from container_samples import aac_track, avc_track, picture, sound

from appliance.hub.access import Access, AuthSettings
from appliance.hub.clock import Clock
from appliance.hub.hub import Hub
from appliance.hub.publisher import Publisher
from appliance.hub.sessions import Session, Sessions
from appliance.hub.stats import Counters, Faults
from appliance.media.track import Track
from appliance.media.unit import AccessUnit
from appliance.net.http import HttpServer, HttpSettings, Router
from appliance.net.supervisor import Supervisor
from appliance.services.contract import Context
from appliance.services.httpflv import Settings, create
from appliance.services.httpflv.service import LiveService

NAME = "live/camera"
VIDEO, AUDIO = avc_track(), aac_track()
FRAME_US = 40_000
LOOPBACK = HttpSettings(listen=("127.0.0.1:0",))


async def until(condition: Callable[[], object]) -> None:
    """Looks again and again at something that tells nobody when it changes."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


@dataclass
class Viewer:
    """One HTTP connection; the head has been read, the body goes on."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)

    async def read(self, count: int) -> bytes:
        async with asyncio.timeout(20):
            return await self.reader.readexactly(count)

    async def read_to(self, mark: bytes) -> bytes:
        async with asyncio.timeout(20):
            return await self.reader.readuntil(mark)

    async def rest(self) -> bytes:
        """All there is until the server closes."""
        async with asyncio.timeout(20):
            return await self.reader.read()

    def close(self) -> None:
        self.writer.close()


class Show:
    """A publisher whose units are 40 ms apart, with a key first and then every tenth."""

    def __init__(self, publisher: Publisher, tracks: tuple[Track, ...], size_bytes: int) -> None:
        self.publisher = publisher
        self.tracks = tracks
        self.count = 0
        self._size_bytes = size_bytes
        self._start_us = publisher.stream.clock.monotonic_us()
        publisher.describe(tracks)

    def write(self, count: int = 1) -> None:
        for _ in range(count):
            dts_us = self._start_us + self.count * FRAME_US
            for track in self.tracks:
                self.publisher.write(self._unit(track, dts_us))
            self.count += 1

    def _unit(self, track: Track, dts_us: int) -> AccessUnit:
        mark = b"<%06d>" % self.count
        if track.kind == "audio":
            return sound(track, dts_us, b"\x21" + mark)
        unit = picture(
            track, dts_us, key=self.count % 10 == 0, size_bytes=self._size_bytes - len(mark)
        )
        unit.parts = (bytes(unit.parts[0]) + mark,)
        return unit


@dataclass
class LiveSite:
    context: Context
    live: LiveService
    server: HttpServer
    viewers: list[Viewer] = field(default_factory=list)

    @property
    def hub(self) -> Hub:
        return self.context.hub

    @property
    def port(self) -> int:
        return self.server.port

    def sessions(self) -> list[Session]:
        return list(self.context.sessions.active.values())

    async def gone(self) -> None:
        """Returns when nobody watches any more and nothing of them is left."""
        await until(lambda: not self.sessions() and not self.live._watching)
        assert self.live._viewers == 0

    def publish(
        self,
        *tracks: Track,
        name: str = NAME,
        size_bytes: int = 0,
        placeholder: str = "",
    ) -> Show:
        publisher = self.hub.publish(name, "test#1", stamped=True, placeholder=placeholder)
        return Show(publisher, tracks or (VIDEO, AUDIO), size_bytes)

    async def get(self, target: str, *fields: str, method: str = "GET") -> Viewer:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=8 << 20)
        lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", *fields, "", ""]
        writer.write("\r\n".join(lines).encode())
        viewer = Viewer(reader, writer)
        self.viewers.append(viewer)
        head = (await viewer.read_to(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip().split("\r\n")
        viewer.status = int(first.split()[1])
        pairs = (line.split(": ", 1) for line in lines)
        viewer.headers = {name.lower(): value for name, value in pairs}
        return viewer

    @asynccontextmanager
    async def socket(
        self, target: str = f"/{NAME}.flv", **options: Any
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """By aiohttp's client."""
        url = f"ws://127.0.0.1:{self.port}{target}"
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, max_msg_size=0, **options) as socket,
        ):
            yield socket


@asynccontextmanager
async def live_site(
    settings: Settings | None = None,
    *,
    auth: AuthSettings | None = None,
    state_dir: Path | None = None,
    http: HttpSettings = LOOPBACK,
) -> AsyncIterator[LiveSite]:
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
    )
    live = create(settings or Settings(), context)
    await live.start()
    server = HttpServer(context.router, http)
    await server.start()
    site = LiveSite(context, live, server)
    try:
        yield site
        context.hub.close()
    finally:
        for viewer in site.viewers:
            viewer.close()
        await live.stop()
        context.hub.close()
        await server.stop(0.2)
        await supervisor.close()
