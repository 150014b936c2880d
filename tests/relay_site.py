"""Places that have streams, and others that fetch them: services on hubs of their own, on loopback.

async with place(rtmp=True, http=True) as origin, place(source("live/cam", origin.rtmp_url)) as p:
    async with filming(origin, "live/cam"): ...
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from framehash import clip_units

from appliance.hub.access import Access, AuthSettings
from appliance.hub.hub import Hub
from appliance.hub.sessions import Session, Sessions
from appliance.hub.stats import Counters, Faults
from appliance.hub.stream import Stream
from appliance.hub.subscription import Subscription
from appliance.media.track import Track
from appliance.media.unit import AccessUnit
from appliance.net.http import HttpServer, HttpSettings, Router
from appliance.net.http_settings import TlsSettings
from appliance.net.supervisor import Supervisor
from appliance.services import forward, hls, httpflv, pull, rtmp
from appliance.services.contract import Context, Service, StreamSettings
from appliance.services.pull import edge

CAM = "live/cam"
TURN_S = 0.01


async def until(condition: Callable[[], object]) -> None:
    """The test's deadline bounds it."""
    while not condition():  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(TURN_S)


@dataclass
class Place:
    """An appliance in small: what is listened on, and the services that were asked for."""

    context: Context
    services: list[Service]
    rtmp_port: int = 0
    http_port: int = 0

    @property
    def hub(self) -> Hub:
        return self.context.hub

    @property
    def stream(self) -> Stream:
        return self.hub.streams[CAM]

    @property
    def players(self) -> list[Session]:
        return [one for one in self.context.sessions.active.values() if not one.is_publisher]

    @property
    def pulls(self) -> list[Session]:
        return [one for one in self.context.sessions.active.values() if one.proto == "pull"]

    def service(self, kind: type[Any]) -> Any:
        return next(one for one in self.services if isinstance(one, kind))

    def url(self, name: str = CAM, form: str = "rtmp") -> str:
        if form == "http":
            return f"http://127.0.0.1:{self.http_port}/{name}.flv"
        return f"{form}://127.0.0.1:{self.rtmp_port}/{name}"

    @property
    def origin(self) -> str:
        return f"rtmp://127.0.0.1:{self.rtmp_port}/"

    async def get(self, path: str) -> int:
        """The status of a request, whose body is not read."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.http_port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        line = await reader.readline()
        writer.close()
        return int(line.split()[1])

    async def vanish(self) -> None:
        """As a machine that is killed: every connection ends, nothing listens any more."""
        for service in reversed(self.services):
            await service.stop()
        for session in list(self.context.sessions.active.values()):
            if session.kick is not None:
                session.kick()
        self.services.clear()


def pulled(url: str, name: str = CAM, **more: Any) -> StreamSettings:
    return StreamSettings(name, url, **more)


@asynccontextmanager
async def place(
    *streams: StreamSettings,
    serves: bool = True,
    pulls: pull.Settings | None = None,
    edges: edge.Settings | None = None,
    tls: TlsSettings | None = None,
) -> AsyncIterator[Place]:
    """serves: RTMP (with TLS if `tls` is given), and over HTTP FLV and HLS. pulls, edges: settings
    of those services; with `edges` what begins there is forwarded."""
    access = Access()
    access.reload(AuthSettings(play="open", publish="open"))
    context = Context(
        hub=Hub(),
        router=Router(),
        access=access,
        sessions=Sessions(),
        faults=Faults(),
        counters=Counters(),
        supervisor=Supervisor(),
        device_name="porthole",
        streams=streams,
    )
    services: list[Service] = []
    ports = rtmp.Settings(listen=() if tls else ("127.0.0.1:0",), tls=tls or TlsSettings())
    if serves:
        services.append(rtmp.create(ports, context))
    if streams or pulls:
        services.append(pull.create(pulls or pull.Settings(), context))
    if edges is not None:
        services.append(edge.create(edges, context))
        services.append(forward.create((), context))
    if serves:
        services.append(httpflv.create(httpflv.Settings(), context))
        services.append(hls.create(hls.Settings(segment_us=1_000_000), context))
    here = Place(context, services)
    http = HttpServer(context.router, HttpSettings(listen=("127.0.0.1:0",)))
    for service in services:
        await service.start()
    if serves:
        http.bind()
        await http.start()
        here.http_port = int(http.addresses[0].rpartition(":")[2])
        found = next(one for one in services if isinstance(one, rtmp.service.RtmpService))
        here.rtmp_port = int(found.addresses[0].rpartition(":")[2])
    try:
        yield here
    finally:
        for service in reversed(here.services):
            await service.stop()
        context.hub.close()
        await http.stop()
        await context.supervisor.close()


@dataclass
class Film:
    """units: what was published so far."""

    units: list[AccessUnit]
    tracks: tuple[Track, ...]


@asynccontextmanager
async def filming(
    at: Place,
    name: str = CAM,
    kind: str = "h264-small+aac",
    *,
    rounds: int = 1000,
    speed: float = 1,
) -> AsyncIterator[Film]:
    """Publishes a clip there, again and again, as fast as it was made, or `speed` times so."""
    tracks, units = clip_units(kind)
    film = Film([], tracks)
    task = asyncio.create_task(_film(film, at.hub, name, kind, rounds, speed))
    await until(lambda: name in at.hub.streams and at.hub.streams[name].tracks)
    try:
        yield film
        if rounds < 1000:
            await task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _film(film: Film, hub: Hub, name: str, kind: str, rounds: int, speed: float) -> None:
    loop = asyncio.get_running_loop()
    by_id = {track.id: track for track in film.tracks}
    async with hub.publish(name, "film#1") as publisher:
        publisher.describe(film.tracks)
        begin_s, shift_us = loop.time(), 0
        for _ in range(rounds):
            _, units = clip_units(kind)
            first_us = units[0].dts_us
            for unit in units:
                due_s = begin_s + (unit.dts_us - first_us + shift_us) / 1e6 / speed
                if (delay_s := due_s - loop.time()) > 0:
                    await asyncio.sleep(delay_s)
                unit.track = by_id[unit.track.id]
                unit.dts_us += shift_us
                unit.pts_us += shift_us
                publisher.write(unit)
                film.units.append(unit)
            shift_us += units[-1].dts_us - units[0].dts_us + 33_333


class Watcher:
    """Watches a stream of a hub as any viewer would, and keeps what it is shown."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.units: list[AccessUnit] = []
        self.is_over = False

    async def run(self) -> None:
        cursor: Subscription[AccessUnit] = self.stream.subscribe(max_lag_us=60_000_000)
        async for batch in cursor:
            self.units += batch
        self.is_over = True

    @property
    def cuts(self) -> int:
        """Discontinuities in the picture."""
        return sum(unit.discontinuity for unit in self.units if unit.track.id == 1)

    def longest_gap_us(self) -> int:
        stamps = [unit.dts_us for unit in self.units if unit.track.id == 1]
        return max(after - before for before, after in zip(stamps, stamps[1:], strict=False))


async def exists(_: Stream) -> None:
    """Watchers of these tests wait for no media."""


@asynccontextmanager
async def watching(at: Place, name: str = CAM) -> AsyncIterator[Watcher]:
    stream = await at.hub.wait_for(name, exists)
    with stream.demand.viewer():
        watcher = Watcher(stream)
        task = asyncio.create_task(watcher.run())
        try:
            yield watcher
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
