"""A camera service, HLS of its streams, and a viewer who must never lose touch with them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from camera_fixture import DEADLINE_S, NAME, Camera, camera
from playlist_linter import lint_media, lint_reload, lint_segments, read_media

from appliance.net.http import HttpServer, HttpSettings, Router
from appliance.services.camera import Settings
from appliance.services.contract import StreamSettings
from appliance.services.hls import Settings as HlsSettings
from appliance.services.hls import create as create_hls

POLL_S = 0.1


@dataclass
class Viewer:
    """Polls a playlist as a player does; every playlist and segment goes through the linter."""

    port: int
    name: str = NAME
    findings: list[str] = field(default_factory=list)
    statuses: set[int] = field(default_factory=set)
    segments: dict[str, float] = field(default_factory=dict)
    last: str = ""
    _files: dict[str, bytes] = field(default_factory=dict)

    @property
    def seen_s(self) -> float:
        return sum(self.segments.values())

    async def run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(POLL_S)

    async def look(self) -> None:
        status, body = await self._get(f"/{self.name}.hls/fmp4.m3u8")
        text = body.decode()
        if status == 404 and not self.last:
            return  # not yet
        self.statuses.add(status)
        if status != 200 or text == self.last:
            return
        self.findings += lint_media(text)
        if self.last:
            self.findings += lint_reload(self.last, text)
        self.last = text
        media = read_media(text)
        for segment in media.segments:
            self.segments[segment.uri] = segment.extinf_s
            for name in (segment.uri, segment.map_uri):
                if name and name not in self._files:
                    status, self._files[name] = await self._get(f"/{self.name}.hls/{name}")
                    self.statuses.add(status)
        self.findings += lint_segments(text, self._files)

    async def wait_more(self, seconds: float) -> None:
        """Until the playlist has grown by so much."""
        wanted = self.seen_s + seconds
        await wait_until(lambda: self.seen_s >= wanted)

    def assert_content(self) -> None:
        assert self.findings == [], (self.findings, self.segments, self.last)
        assert self.statuses == {200}

    async def _get(self, path: str) -> tuple[int, bytes]:
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}"]
                writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode())
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                return int(head.split()[1]), await reader.read()
            finally:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()


@dataclass
class Site:
    device: Camera
    viewers: dict[str, Viewer]

    @property
    def viewer(self) -> Viewer:
        return next(iter(self.viewers.values()))


@asynccontextmanager
async def camera_site(
    *streams: StreamSettings, settings: Settings, names: Sequence[str] = (NAME,), **more: Any
) -> AsyncIterator[Site]:
    """One viewer watches each stream of these names all the time."""
    router = Router()
    async with camera(*streams, settings=settings, router=router, **more) as device:
        hls = create_hls(HlsSettings(segment_us=1_000_000, window_us=8_000_000), device.context)
        await hls.start()
        server = HttpServer(router, HttpSettings(listen=("127.0.0.1:0",)))
        await server.start()
        viewers = {name: Viewer(server.port, name) for name in names}
        watching = [asyncio.create_task(viewer.run()) for viewer in viewers.values()]
        try:
            yield Site(device, viewers)
            for task in watching:
                assert not task.done(), task.exception()
        finally:
            for task in watching:
                task.cancel()
            await asyncio.wait(watching)
            await hls.stop()
            await server.stop()


async def wait_until(condition: Callable[[], Any], deadline_s: float = DEADLINE_S) -> None:
    """Polls, because what is waited for is in many places."""
    end_s = asyncio.get_running_loop().time() + deadline_s
    while not condition():
        assert asyncio.get_running_loop().time() < end_s, "did not happen in time"
        await asyncio.sleep(0.05)
