"""Sockets for the cores, to meet programs that we did not write."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

from appliance.errors import PeerError
from appliance.wire.rtsp import events as e
from appliance.wire.rtsp.client import Event, RtspClient
from appliance.wire.rtsp.server import RtspServer

NOISE = bytes(range(32))


def now_us() -> int:
    return time.monotonic_ns() // 1000


class Site:
    """Serves every connection by a core; `asked` is what all of them were asked for."""

    def __init__(self, answer: Callable[[RtspServer, e.Event], None]) -> None:
        self.answer = answer
        self.asked: list[e.Event] = []
        self.faults: list[str] = []
        self.ended = asyncio.Event()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        core = RtspServer(NOISE, agent="test", now_us=now_us())
        try:
            while data := await reader.read(65536):
                events = core.receive(data, now_us())
                while events:
                    self.asked += events
                    for event in events:
                        self.answer(core, event)
                    events = core.proceed()
                writer.write(core.take_output())
                await writer.drain()
        except PeerError as error:
            self.faults.append(str(error))
        except ConnectionError:
            pass
        finally:
            writer.close()
            self.ended.set()


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
    """A client core on a socket."""

    def __init__(
        self, core: RtspClient, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.core = core
        self._reader = reader
        self._writer = writer
        self._events: list[Event] = []

    async def next_event(self, timeout_s: float = 15) -> Event:
        """Raises: EOFError."""
        async with asyncio.timeout(timeout_s):
            while not self._events:
                self._writer.write(self.core.take_output())
                data = await self._reader.read(65536)
                if not data:
                    raise EOFError
                self._events += self.core.receive(data, now_us())
        return self._events.pop(0)

    async def flush(self) -> None:
        self._writer.write(self.core.take_output())
        await self._writer.drain()


@contextlib.asynccontextmanager
async def open_caller(core: RtspClient, port: int) -> AsyncIterator[Caller]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Caller(core, reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
