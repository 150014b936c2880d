"""Sockets for the cores, to meet programs that we did not write."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from appliance.errors import PeerError
from appliance.wire.rtsp import events as e
from appliance.wire.rtsp.client import Event, RtspClient
from appliance.wire.rtsp.interleaved import Frames
from appliance.wire.rtsp.server import RtspServer
from appliance.wire.rtsp.tunnel import (
    GetOpened,
    Plain,
    PostOpened,
    TunnelClient,
    TunnelDoor,
    Tunnels,
)

NOISE = bytes(range(32))


def now_us() -> int:
    return time.monotonic_ns() // 1000


class Site:
    """Serves every connection by a core, plain or through HTTP; `asked` is what all of them were
    asked for, but for frames, which are counted."""

    def __init__(self, answer: Callable[[RtspServer, e.Event], None]) -> None:
        self.answer = answer
        self.asked: list[e.Event] = []
        self.frames: list[tuple[int, bytes]] = []
        self.faults: list[str] = []
        self.port = 0
        self._tunnels: Tunnels[asyncio.StreamWriter] = Tunnels()

    @property
    def kinds(self) -> list[type]:
        return [type(event) for event in self.asked]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        except PeerError as error:
            self.faults.append(str(error))
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        door = TunnelDoor("test")
        opened = None
        while opened is None:
            if not (data := await reader.read(65536)):
                return
            opened = door.receive(data)
            writer.write(door.take_output())
        match opened:
            case Plain(data):
                await self._run(data, reader, writer, bytes)
            case GetOpened(cookie):
                self._tunnels.add(cookie, "peer", writer)
                await reader.read()
            case PostOpened(cookie, data):
                getter = self._tunnels.join(cookie, "peer")
                await self._run(data, reader, getter, door.decode)
                getter.close()

    async def _run(
        self,
        data: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        decode: Callable[[bytes], bytes],
    ) -> None:
        core = RtspServer(NOISE, agent="test", now_us=now_us())
        while True:
            events = core.receive(data, now_us())
            while events:
                for event in events:
                    self._handle(core, event)
                events = core.proceed()
            writer.write(core.take_output())
            await writer.drain()
            if not (data := await reader.read(65536)):
                return
            data = decode(data)

    def _handle(self, core: RtspServer, event: e.Event) -> None:
        if isinstance(event, Frames):
            self.frames += event.frames
        else:
            self.asked.append(event)
            self.answer(core, event)


@contextlib.asynccontextmanager
async def open_site(answer: Callable[[RtspServer, e.Event], None]) -> AsyncIterator[Site]:
    site = Site(answer)
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()
        await server.wait_closed()


async def run_program(*words: str, timeout_s: float = 20) -> tuple[int, str]:
    """(status, what it said on both of its outputs)."""
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), timeout_s)
    except TimeoutError:
        process.kill()
        said, _ = await process.communicate()
    return process.returncode or 0, said.decode(errors="replace")


class Caller:
    """A client core on a connection, or on the two of a tunnel."""

    def __init__(
        self,
        core: RtspClient,
        read: Callable[[], Awaitable[bytes]],
        write: Callable[[bytes], None],
    ) -> None:
        self.core = core
        self._read = read
        self._write = write
        self._events: list[Event] = []

    async def next_event(self, timeout_s: float = 15) -> Event:
        """Raises: EOFError."""
        async with asyncio.timeout(timeout_s):
            while not self._events:
                self.flush()
                if not (data := await self._read()):
                    raise EOFError
                self._events += self.core.receive(data, now_us())
        return self._events.pop(0)

    def flush(self) -> None:
        if output := self.core.take_output():
            self._write(output)


@contextlib.asynccontextmanager
async def _connect(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Waits until somebody listens."""
    async with asyncio.timeout(15):
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def open_caller(core: RtspClient, port: int) -> AsyncIterator[Caller]:
    async with _connect(port) as (reader, writer):
        yield Caller(core, lambda: reader.read(65536), writer.write)


@contextlib.asynccontextmanager
async def open_tunnelled_caller(core: RtspClient, port: int) -> AsyncIterator[Caller]:
    tunnel = TunnelClient("/camera", f"127.0.0.1:{port}", "c" * 22, "test")
    async with _connect(port) as (answers, getter), _connect(port) as (_, poster):
        getter.write(tunnel.open_get())
        while not tunnel.is_open:
            assert tunnel.receive(await answers.read(65536)) == b""
        poster.write(tunnel.open_post())
        yield Caller(core, lambda: answers.read(65536), lambda d: poster.write(tunnel.encode(d)))
