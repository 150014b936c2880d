"""The pictures service behind an HTTP server on loopback, and a camera in the test's hand."""

from __future__ import annotations

import asyncio
import functools
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from container_samples import avc_track, picture

from appliance.hub.access import Access, AuthSettings
from appliance.hub.cameras import PictureAsk, StillPicture
from appliance.hub.clock import Clock
from appliance.hub.hub import Hub
from appliance.hub.publisher import Publisher
from appliance.hub.sessions import Sessions
from appliance.hub.stats import Counters, Faults
from appliance.net.http import HttpServer, HttpSettings, Router
from appliance.net.supervisor import Supervisor
from appliance.services.contract import Context, StreamSettings
from appliance.services.pictures import Pictures, Settings, create

NAME = "live/camera"
VIDEO = avc_track()
LOOPBACK = HttpSettings(listen=("127.0.0.1:0",))


KINDS = 8  # of pictures that look different


@functools.cache
def jpegs(width: int) -> list[bytes]:
    """Pictures made by a real encoder."""
    ffmpeg = shutil.which("ffmpeg")
    assert ffmpeg is not None
    source = f"testsrc2=size={width}x{width * 9 // 16 // 2 * 2}:rate=5"
    command = [ffmpeg, "-v", "error", "-nostdin", "-f", "lavfi", "-i", source]
    command += ["-frames:v", str(KINDS), "-pix_fmt", "yuvj420p", "-f", "mjpeg", "-"]
    output = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
    pictures = [b"\xff\xd8" + rest for rest in output.split(b"\xff\xd8")[1:]]
    assert len(set(pictures)) == KINDS
    return pictures


def jpeg(number: int, width: int = 320) -> bytes:
    """What the camera's picture of this number shows, labelled with it."""
    return labelled(jpegs(width)[number % KINDS], str(number))


def labelled(data: bytes, label: str) -> bytes:
    """The same picture with a comment segment (ITU-T T.81 §B.2.4.5)."""
    text = label.encode()
    return data[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + data[2:]


def label_of(data: bytes) -> str:
    assert data[:4] == b"\xff\xd8\xff\xfe"
    return data[6 : 4 + int.from_bytes(data[4:6], "big")].decode()


@dataclass
class HandCamera:
    """Answers when `gate` is open; numbers its pictures. padding: makes them larger."""

    stream_name: str = NAME
    asks: list[PictureAsk] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None
    age_us: int = 0
    padding_bytes: int = 0
    at_once: int = 0
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    @property
    def name(self) -> str:
        return self.stream_name.rpartition("/")[2]

    def describe(self) -> dict[str, Any]:
        return {}

    async def change(self, values: Mapping[str, Any]) -> None:
        raise NotImplementedError

    async def picture(self, ask: PictureAsk) -> StillPicture:
        self.asks.append(ask)
        number = len(self.asks)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.gate.wait()
        finally:
            self.at_once -= 1
        if self.error is not None:
            raise self.error
        data = jpeg(number, 160 if ask.width else 320) + bytes(self.padding_bytes)
        return StillPicture(data, Clock().monotonic_us() - self.age_us, ask.width or 320, 180)


@dataclass(slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


async def until(condition: Callable[[], object]) -> None:
    """Looks again and again at something that tells nobody when it changes."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    return int(first.split()[1]), fields_of(lines)


def fields_of(lines: list[str]) -> dict[str, str]:
    pairs = (line.split(": ", 1) for line in lines)
    return {name.lower(): value for name, value in pairs}


@dataclass
class PicturesSite:
    context: Context
    pictures: Pictures
    server: HttpServer
    camera: HandCamera
    watchers: list[Watcher] = field(default_factory=list)

    @property
    def hub(self) -> Hub:
        return self.context.hub

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    async def get(self, target: str, *fields: str, method: str = "GET") -> Reply:
        """On a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", *fields, "", ""]
        writer.write("\r\n".join(lines).encode())
        try:
            async with asyncio.timeout(20):
                status, headers = await read_head(reader)
                length = 0 if method == "HEAD" else int(headers["content-length"])
                return Reply(status, headers, await reader.readexactly(length))
        finally:
            writer.close()

    def publish(self, name: str = NAME) -> Publisher:
        """A stream with one picture in it."""
        publisher = self.hub.publish(name, "test#1", stamped=True)
        publisher.describe((VIDEO,))
        publisher.write(picture(VIDEO, self.hub.clock.monotonic_us(), key=True))
        return publisher

    async def watch(self, target: str = f"/{NAME}.mjpeg", **options: Any) -> Watcher:
        """Asks for moving pictures and reads the head of the answer."""
        watcher = await Watcher.connect(self.server.port, target, **options)
        self.watchers.append(watcher)
        return watcher


class Watcher:
    """A viewer of moving pictures who checks every byte between them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.status = 0
        self.headers: dict[str, str] = {}
        self.boundary = b""

    @classmethod
    async def connect(cls, port: int, target: str, *fields: str) -> Watcher:
        watcher = cls(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 20))
        lines = [f"GET {target} HTTP/1.1", "Host: 127.0.0.1", *fields, "", ""]
        watcher.writer.write("\r\n".join(lines).encode())
        async with asyncio.timeout(20):
            watcher.status, watcher.headers = await read_head(watcher.reader)
        if watcher.status == 200:
            kind, _, boundary = watcher.headers["content-type"].partition("; boundary=")
            assert kind == "multipart/x-mixed-replace"
            watcher.boundary = b"--" + boundary.encode() + b"\r\n"
            assert await watcher.reader.readexactly(len(watcher.boundary)) == watcher.boundary
        return watcher

    async def part(self) -> tuple[dict[str, str], bytes]:
        """The next picture, and the boundary behind it, which must have come by then."""
        async with asyncio.timeout(20):
            raw = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            fields = fields_of(raw.rstrip().split("\r\n"))
            body = await self.reader.readexactly(int(fields["content-length"]))
            end = b"\r\n" + self.boundary
            assert await self.reader.readexactly(len(end)) == end
        return fields, body

    async def label(self) -> int:
        return int(label_of((await self.part())[1]))

    async def ended(self) -> bytes:
        """What was left, once the server has closed."""
        async with asyncio.timeout(20):
            return await self.reader.read()

    def close(self) -> None:
        self.writer.close()


@asynccontextmanager
async def pictures_site(
    settings: Settings | None = None,
    *,
    auth: AuthSettings | None = None,
    state_dir: Path | None = None,
    streams: tuple[StreamSettings, ...] = (),
    http: HttpSettings = LOOPBACK,
) -> AsyncIterator[PicturesSite]:
    clock = Clock()
    context = Context(
        hub=Hub(clock=clock),
        router=Router(),
        access=Access(auth, state_dir, clock),
        sessions=Sessions(clock),
        faults=Faults(clock),
        counters=Counters(),
        supervisor=Supervisor(),
        device_name="test",
        streams=streams,
    )
    camera = HandCamera()
    context.cameras.add(camera)
    pictures = create(settings or Settings(), context)
    await pictures.start()
    server = HttpServer(context.router, http)
    await server.start()
    site = PicturesSite(context, pictures, server, camera)
    try:
        yield site
    finally:
        for watcher in site.watchers:
            watcher.close()
        await pictures.stop()
        context.hub.close()
        await server.stop()
        await context.supervisor.close()
