"""The forward service on a hub of its own, streams in the test's hand, and destinations."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from framehash import clip_units

from appliance.hub.access import Access
from appliance.hub.hub import Hub
from appliance.hub.publisher import Publisher
from appliance.hub.sessions import Sessions
from appliance.hub.stats import Counters, Faults
from appliance.hub.stream import Stream
from appliance.media.amf0 import decode
from appliance.media.track import Kind, Track
from appliance.media.unit import AccessUnit
from appliance.net.http import Router
from appliance.net.supervisor import Supervisor
from appliance.services.contract import Context
from appliance.services.forward import create
from appliance.services.forward.service import ForwardService
from appliance.services.forward.settings import Rule
from appliance.wire.rtmp.events import ConnectAsked, PublishAsked, Stopped
from appliance.wire.rtmp.message import Message, MessageType
from appliance.wire.rtmp.server import RtmpServer

NAME = "live/cam"
KEY = "s3cret-K3y"
TURN_S = 0.01
BLANK = {"state": "", "last_error": "", "bytes": 0, "dropped_units": 0, "lag_ms": 0, "attempts": 0}


@dataclass
class Site:
    hub: Hub
    context: Context
    service: ForwardService

    def row(self, index: int = 0) -> dict[str, Any]:
        """A blank one as long as there is no such destination."""
        rows = self.service.report()
        return rows[index] if index < len(rows) else BLANK

    async def until(self, condition: Callable[[], object]) -> None:
        """The test's deadline bounds it."""
        while not condition():  # noqa: ASYNC110 - figures have no event
            await asyncio.sleep(TURN_S)

    async def until_state(self, state: str, index: int = 0) -> None:
        await self.until(lambda: self.row(index)["state"] == state)

    async def until_error(self, words: str, index: int = 0) -> None:
        await self.until(lambda: words in self.row(index)["last_error"])


@asynccontextmanager
async def forward_site(*rules: Rule) -> AsyncIterator[Site]:
    context = Context(
        hub=Hub(),
        router=Router(),
        access=Access(),
        sessions=Sessions(),
        faults=Faults(),
        counters=Counters(),
        supervisor=Supervisor(),
        device_name="door",
        streams=(),
    )
    service = create(tuple(rules), context)
    await service.start()
    try:
        yield Site(context.hub, context, service)
    finally:
        await service.stop()
        context.hub.close()
        await context.supervisor.close()


class Camera:
    """Publishes a clip in a loop, `speed` times as fast as it was made, and keeps the units.

    padding_bytes: added to each picture, as filler data (H.264 §7.3.2.7). gate: nothing is written
    before it is open, which it is unless a test closes it.
    """

    def __init__(
        self,
        hub: Hub,
        kind: str = "h264+aac",
        name: str = NAME,
        *,
        speed: float = 1.0,
        padding_bytes: int = 0,
    ) -> None:
        self.hub, self.kind, self.name, self.speed = hub, kind, name, speed
        self._padding = (b"\x0c" + b"\xff" * padding_bytes + b"\x80",) if padding_bytes else ()
        self.units: list[AccessUnit] = []
        self.publisher: Publisher | None = None
        self.is_over = False
        self.gate = asyncio.Event()
        self.gate.set()

    @property
    def stream(self) -> Stream:
        return self.hub.find(self.name)

    def _padded(self, unit: AccessUnit, track: Track) -> AccessUnit:
        parts = unit.parts + (self._padding if track.kind is Kind.VIDEO else ())
        return replace(unit, track=track, parts=parts)

    async def run(self, rounds: int = 1000) -> None:
        loop = asyncio.get_running_loop()
        async with self.hub.publish(self.name, "test#1") as publisher:
            self.publisher = publisher
            publisher.describe(clip_units(self.kind)[0])
            await self.gate.wait()
            began_s = loop.time()
            for _ in range(rounds):
                _, units = clip_units(self.kind)
                by_id = {track.id: track for track in publisher.stream.tracks}
                last_us = max(unit.dts_us for unit in units)
                start_us = units[0].dts_us
                for unit in units:
                    due_s = began_s + (unit.dts_us - start_us) / 1e6 / self.speed
                    if (delay_s := due_s - loop.time()) > 0:
                        await asyncio.sleep(delay_s)
                    unit = self._padded(unit, by_id[unit.track.id])
                    publisher.write(unit)
                    self.units.append(unit)
                began_s += (last_us - start_us + 33_333) / 1e6 / self.speed
        self.is_over = True


@asynccontextmanager
async def filming(camera: Camera, rounds: int = 1000) -> AsyncIterator[Camera]:
    task = asyncio.create_task(camera.run(rounds))
    try:
        yield camera
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@dataclass
class Origin:
    """An RTMP server that keeps what the newest publisher sends, by switches that may be turned.

    refuse: a code to answer publish with; redirect: where to send who connects; deaf: accept the
    publisher, then read nothing; mute: accept the connection and say nothing.
    """

    refuse: str = ""
    words: str = "no"
    redirect: str = ""
    deaf: bool = False
    mute: bool = False
    chunk_bytes: int = 1 << 16
    pause_s: float = 0.0
    tls: ssl.SSLContext | None = None
    connects: list[ConnectAsked] = field(default_factory=list)
    publishes: list[PublishAsked] = field(default_factory=list)
    media: list[Message] = field(default_factory=list)
    stops: int = 0
    connections: int = 0
    port: int = 0
    host: str = "127.0.0.1"
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def url(self, path: str = f"live/{KEY}", scheme: str = "rtmp") -> str:
        return f"{scheme}://127.0.0.1:{self.port}/{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.add(writer)
        server, heard = RtmpServer(os.urandom(1536)), list[Message]()
        try:
            if self.tls is not None:
                await writer.start_tls(self.tls)
            while data := await reader.read(self.chunk_bytes):
                if self.pause_s:
                    await asyncio.sleep(self.pause_s)
                if self.mute:
                    continue
                for event in server.receive(data, 0):
                    self.handle(server, event, heard)
                writer.write(server.take_output())
                await writer.drain()
                if self.deaf and self.publishes:
                    await asyncio.Event().wait()
        except OSError:
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    def handle(self, server: RtmpServer, event: object, heard: list[Message]) -> None:
        match event:
            case ConnectAsked():
                self.connects.append(event)
                if self.redirect:
                    server.reject_connect("elsewhere", self.redirect)
                else:
                    server.accept_connect()
            case PublishAsked():
                self.publishes.append(event)
                self.media = heard
                if self.refuse:
                    server.refuse(event.stream_id, self.refuse, self.words)
                else:
                    server.accept_publish(event.stream_id)
            case Message():
                heard.append(event)
            case Stopped():
                self.stops += 1

    def kinds(self) -> list[int]:
        return [message.kind for message in self.media]

    def metadata(self) -> list[Any]:
        (data,) = [m for m in self.media if m.kind == MessageType.DATA][:1]
        return decode(data.payload)


@asynccontextmanager
async def origin(**switches: Any) -> AsyncIterator[Origin]:
    """Listening until the end of the block."""
    made = Origin(**switches)
    tasks: set[asyncio.Task[Any]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.ensure_future(made.serve(reader, writer)))

    server = await asyncio.start_server(accept, made.host, made.port)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


def rule(*to: str, **more: Any) -> Rule:
    return Rule(to=tuple(to), **more)
