"""Servers that a stream is forwarded to, or that are asked where to: most of them behave badly."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from types import TracebackType

from appliance.wire.rtmp.chunks import ChunkWriter
from appliance.wire.rtmp.events import ConnectAsked, PublishAsked
from appliance.wire.rtmp.message import Message, UserEvent, user_event
from appliance.wire.rtmp.server import RtmpServer

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
START_S = 20.0


class BadServers:
    """All of them, in a thread with a loop of its own, while the block runs.

    ports: by kind. received: messages of media by kind. connections: by kind.
    """

    def __init__(self) -> None:
        self.ports: dict[str, int] = {}
        self.received: Counter[str] = Counter()
        self.connections: Counter[str] = Counter()
        self._stack = ExitStack()
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))

    def __enter__(self) -> BadServers:
        self.ports["refuses"] = self._unused_port()
        self.ports["blackhole"] = self._full_port()
        self._thread.start()
        assert self._ready.wait(START_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(START_S)
        self._loop.close()
        self._stack.close()

    def _unused_port(self) -> int:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            return int(sock.getsockname()[1])

    def _full_port(self) -> int:
        """The kernel drops who knocks at a listener whose backlog is full."""
        listener = self._stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            sock = self._stack.enter_context(socket.socket())
            sock.setblocking(False)
            with suppress(BlockingIOError):
                sock.connect(listener.getsockname())
        return int(listener.getsockname()[1])

    async def _run(self) -> None:
        kinds: dict[str, Serve] = {
            "good": self._rtmp("good"),
            "slow": self._rtmp("slow", pause_s=0.2),
            "deaf": self._rtmp("deaf", reads=False),
            "circle": self._rtmp("circle", redirect="rtmp://127.0.0.1:{port}/live"),
            "file": self._rtmp("file", redirect="file:///etc/passwd"),
            "talks": self._rtmp("talks", talks=True),
            "mute": _hold,
            "closes": _close,
            "garbage": _garbage,
            "web": _say(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
            "hangs": _hold,
            "500": _answer(b"", "500 Oh"),
            "long": _answer(b'{"code":0,"data":{"urls":[' + b" " * (1 << 20) + b"]}}"),
            "html": _answer(b"<html>"),
            "0": _answer(b"0"),
            "elsewhere": _answer(b"", "302 Found\r\nLocation: http://169.254.169.254/"),
        }
        tasks: set[asyncio.Task[None]] = set()
        servers = []
        for name, serve in kinds.items():

            def accept(
                reader: asyncio.StreamReader,
                writer: asyncio.StreamWriter,
                name: str = name,
                serve: Serve = serve,
            ) -> None:
                self.connections[name] += 1
                tasks.add(asyncio.ensure_future(_guard(serve, reader, writer)))

            server = await asyncio.start_server(accept, "127.0.0.1", 0)
            self.ports[name] = server.sockets[0].getsockname()[1]
            servers.append(server)
        self._ready.set()
        await self._over.wait()
        for server in servers:
            server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _rtmp(
        self,
        kind: str,
        *,
        redirect: str = "",
        pause_s: float = 0.0,
        reads: bool = True,
        talks: bool = False,
    ) -> Serve:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            server, is_published = RtmpServer(os.urandom(1536)), False
            while data := await reader.read(1024 if pause_s else 1 << 16):
                for event in server.receive(data, 0):
                    match event:
                        case ConnectAsked() if redirect:
                            server.reject_connect("go", redirect.format(port=self.ports[kind]))
                        case ConnectAsked():
                            server.accept_connect()
                        case PublishAsked():
                            server.accept_publish(event.stream_id)
                            is_published = True
                        case Message():
                            self.received[kind] += 1
                writer.write(server.take_output())
                await writer.drain()
                await asyncio.sleep(pause_s)
                if is_published and not reads:
                    await asyncio.Event().wait()
                if is_published and talks:
                    await _ping_without_end(writer)

        return serve


async def _guard(serve: Serve, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with suppress(OSError):
            await serve(reader, writer)
    finally:
        writer.close()


async def _hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def _close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x03" + random.Random(3).randbytes(200_000))
    await reader.read()


async def _ping_without_end(writer: asyncio.StreamWriter) -> None:
    pings = ChunkWriter().write(user_event(UserEvent.PING_REQUEST, 1), 2) * 4000
    while True:
        writer.write(pings)
        await writer.drain()


def _say(data: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await reader.read()

    return serve


def _answer(body: bytes, status: str = "200 OK") -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()

    return serve
