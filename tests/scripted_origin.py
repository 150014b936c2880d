"""Servers that streams are pulled from, and that do not behave."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from framehash import clip_units

from appliance.containers.flv_muxer import FlvMuxer
from appliance.services.rtmp.muxer import RtmpMuxer
from appliance.wire.rtmp.events import ConnectAsked, PlayAsked
from appliance.wire.rtmp.server import RtmpServer


@dataclass
class RtmpOrigin:
    """Looked at per connection. redirect: where to send who connects; refuse: a code to answer play
    with, and words; media: how often the clip is sent; ends: whether the connection is closed then.
    """

    redirect: str = ""
    refuse: str = ""
    words: str = "no"
    media: int = 0
    ends: bool = False
    connections: int = 0
    connects: list[ConnectAsked] = field(default_factory=list)
    plays: list[PlayAsked] = field(default_factory=list)
    port: int = 0

    def url(self, path: str = "live/cam") -> str:
        return f"rtmp://127.0.0.1:{self.port}/{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        server = RtmpServer(os.urandom(1536))
        while data := await reader.read(1 << 16):
            played = False
            for event in server.receive(data, 0):
                played |= self._handle(server, event)
            writer.write(server.take_output())
            if played:
                writer.write(clip_as_rtmp(self.media))
                await writer.drain()
                if self.ends:
                    return

    def _handle(self, server: RtmpServer, event: object) -> bool:
        match event:
            case ConnectAsked():
                self.connects.append(event)
                if self.redirect:
                    server.reject_connect("elsewhere", self.redirect)
                else:
                    server.accept_connect()
            case PlayAsked():
                self.plays.append(event)
                if self.refuse:
                    server.refuse(event.stream_id, self.refuse, self.words)
                    return False
                server.accept_play(event.stream_id)
                return True
        return False


def clip_as_rtmp(rounds: int) -> bytes:
    if not rounds:
        return b""
    muxer = RtmpMuxer()
    tracks, _ = clip_units("h264-small+aac")
    return muxer.header(tracks) + _mux(muxer, rounds)


def clip_as_flv(rounds: int) -> bytes:
    muxer = FlvMuxer()
    tracks, _ = clip_units("h264-small+aac")
    return muxer.header(tracks) + _mux(muxer, rounds)


def _mux(muxer: Any, rounds: int) -> bytes:
    data = bytearray()
    for number in range(rounds):
        for unit in clip_units("h264-small+aac")[1]:
            unit.dts_us += number * 3_000_000
            unit.pts_us += number * 3_000_000
            for chunk in muxer.feed(unit):
                data += chunk.data
    return bytes(data)


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(serve: Serve, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """The port; every connection ends with the block."""
    tasks: set[asyncio.Task[None]] = set()

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError):
                await serve(reader, writer)
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.ensure_future(run(reader, writer)))

    server = await asyncio.start_server(accept, host, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


@asynccontextmanager
async def rtmp_origin(**switches: Any) -> AsyncIterator[RtmpOrigin]:
    made = RtmpOrigin(**switches)
    async with listening(made.serve) as made.port:
        yield made


@dataclass
class HttpOrigin:
    """Answers every request with the same bytes, then holds the connection or closes it."""

    answer: bytes = b"HTTP/1.1 200 OK\r\n\r\n"
    ends: bool = True
    requests: list[str] = field(default_factory=list)
    port: int = 0

    def url(self, path: str = "live/cam.flv", login: str = "") -> str:
        return f"http://{login}127.0.0.1:{self.port}/{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head.decode())
        writer.write(self.answer)
        await writer.drain()
        if not self.ends:
            await asyncio.Event().wait()


@asynccontextmanager
async def http_origin(answer: bytes = b"", **switches: Any) -> AsyncIterator[HttpOrigin]:
    made = HttpOrigin(answer or HttpOrigin.answer, **switches)
    async with listening(made.serve) as made.port:
        yield made


def answer(status: str, *fields: str, body: bytes = b"") -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status}", *fields, "", "")).encode() + body


def flv_answer(rounds: int = 1) -> bytes:
    return answer("200 OK", "Content-Type: video/x-flv", body=clip_as_flv(rounds))
