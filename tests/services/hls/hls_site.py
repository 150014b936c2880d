"""The HLS service behind a real HTTP server on loopback, and sources that outrun real time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from container_samples import aac_track, avc_track, interleaved, picture, sound

from appliance.hub.access import Access, AuthSettings
from appliance.hub.clock import Clock
from appliance.hub.hub import Hub
from appliance.hub.publisher import Publisher
from appliance.hub.sessions import Sessions
from appliance.hub.stats import Counters, Faults
from appliance.hub.stream import Limits
from appliance.media.track import Track
from appliance.media.unit import AccessUnit
from appliance.net.http import HttpServer, HttpSettings, Router
from appliance.net.supervisor import Supervisor
from appliance.services.contract import Context
from appliance.services.hls import Hls, Settings, create

FRAME_US = 40_000  # 25 fps divides a second, so segments last exactly what is asked for
AAC_SAMPLES, AAC_HZ = 1024, 48_000
VIDEO, AUDIO = avc_track(), aac_track()


class HeldClock(Clock):
    """Moves only when told, wall and monotonic time apart."""

    def __init__(self) -> None:
        self.now_us = 5_000_000_000_000
        self.wall_us = 1_800_000_000_000_000

    def monotonic_us(self) -> int:
        return self.now_us

    def unix_us(self) -> int:
        return self.wall_us

    def advance(self, by_us: int) -> None:
        self.now_us += by_us
        self.wall_us += by_us


@dataclass(slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Client:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, target: str, *fields: str, method: str = "GET") -> Reply:
        lines = [f"{method} {target} HTTP/1.1", f"Host: 127.0.0.1:{self._port}", *fields]
        return await self.send("\r\n".join([*lines, "", ""]).encode(), has_body=method != "HEAD")

    async def send(self, data: bytes, *, has_body: bool = True) -> Reply:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(data)
        async with asyncio.timeout(20):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status, *lines = head.rstrip().split("\r\n")
            headers = {name.lower(): value for name, value in (x.split(": ", 1) for x in lines)}
            length = int(headers.get("content-length", 0)) if has_body else 0
            return Reply(int(status.split()[1]), headers, await reader.readexactly(length))

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


@dataclass
class HlsSite:
    hub: Hub
    hls: Hls
    server: HttpServer
    sessions: Sessions
    clients: list[Client] = field(default_factory=list)

    def client(self) -> Client:
        client = Client(self.server.port)
        self.clients.append(client)
        return client

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    async def get(self, target: str, *fields: str, method: str = "GET") -> Reply:
        """On a connection of its own."""
        client = Client(self.server.port)
        try:
            return await client.get(target, *fields, method=method)
        finally:
            client.close()

    async def files(self, playlist: str, folder: str = "/live/camera.hls/") -> dict[str, bytes]:
        """Everything that a media playlist names, by name."""
        names = [line for line in playlist.split("\n") if line and line[0] != "#"]
        names += [line.split('"')[1] for line in playlist.split("\n") if "URI=" in line]
        found = {}
        client = self.client()
        for name in names:
            reply = await client.get(folder + name)
            assert reply.status == 200, name
            found[name] = reply.body
        return found


@asynccontextmanager
async def hls_site(
    settings: Settings | None = None,
    *,
    clock: Clock | None = None,
    auth: AuthSettings | None = None,
    state_dir: Path | None = None,
    limits: Limits | None = None,
) -> AsyncIterator[HlsSite]:
    clock = clock or Clock()
    hub, router, supervisor = Hub(limits, clock), Router(), Supervisor()
    context = Context(
        hub=hub,
        router=router,
        access=Access(auth, state_dir, clock),
        sessions=Sessions(clock),
        faults=Faults(clock),
        counters=Counters(),
        supervisor=supervisor,
        device_name="test",
        streams=(),
    )
    hls = create(settings or Settings(), context)
    await hls.start()
    server = HttpServer(router, HttpSettings(listen=("127.0.0.1:0",)))
    await server.start()
    site = HlsSite(hub, hls, server, context.sessions)
    try:
        yield site
    finally:
        for client in site.clients:
            client.close()
        await hls.stop()
        hub.close()
        await server.stop()
        await supervisor.close()


def units(
    tracks: tuple[Track, ...], duration_us: int, *, gop_us: int = 2_000_000, size_bytes: int = 400
) -> list[AccessUnit]:
    """Pictures of one slice and frames of sound, from time 0 on."""
    streams: list[list[AccessUnit]] = []
    for track in tracks:
        if track.kind == "video":
            streams.append(
                [
                    picture(track, us, key=bool(gop_us) and us % gop_us == 0, size_bytes=size_bytes)
                    for us in range(0, duration_us, FRAME_US)
                ]
            )
        else:
            steps = (n * AAC_SAMPLES * 1_000_000 // AAC_HZ for n in itertools.count())
            within = itertools.takewhile(lambda us: us < duration_us, steps)
            streams.append([sound(track, us) for us in within])
    return interleaved(*streams)


def copied(unit: AccessUnit, by_us: int = 0) -> AccessUnit:
    """A fresh unit, since publishing changes the one it is given."""
    return replace(unit, dts_us=unit.dts_us + by_us, pts_us=unit.pts_us + by_us)


def write_all(publisher: Publisher, tracks: tuple[Track, ...], what: list[AccessUnit]) -> None:
    publisher.describe(tracks)
    for unit in what:
        publisher.write(copied(unit))


async def turns(count: int = 20) -> None:
    """Lets tasks that are ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def write_in_turns(publisher: Publisher, what: list[AccessUnit], by_us: int) -> None:
    """As a source would that has all the time in the world: feeds read as it writes."""
    for number, unit in enumerate(what):
        publisher.write(copied(unit, by_us))
        if not number % 20:
            await turns(3)
    await turns()


# Keeps as much past as a test likes to write at once.
LONG = Limits(
    units_us=60_000_000,
    units_keep_us=60_000_000,
    rendition_us=60_000_000,
    rendition_keep_us=60_000_000,
)


@asynccontextmanager
async def published(
    site: HlsSite,
    name: str = "live/camera",
    tracks: tuple[Track, ...] = (VIDEO, AUDIO),
    duration_us: int = 8_000_000,
    **options: int,
) -> AsyncIterator[Publisher]:
    """A stream with a past of `duration_us`, written at once."""
    async with site.hub.publish(name, "test#1") as publisher:
        write_all(publisher, tracks, units(tracks, duration_us, **options))
        yield publisher
