"""Viewers whose sockets are taken out of the HTTP server by a fan-out."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiohttp import web
from http_site import LOOPBACK, Site, site, until
from test_fanout import Tags
from test_fanout import running as running_fanout

from appliance.net.fanout import End, FanOut, FanOutSettings, Viewer
from appliance.net.fanout_sink import sink_of
from appliance.net.http import HttpSettings, Request
from appliance.net.http_takeover import Takeover, stream_head

GET = b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n"
SETTINGS = HttpSettings(listen=LOOPBACK, request_deadline_us=300_000, stall_us=300_000)


@asynccontextmanager
async def stream_site(ring: Tags) -> AsyncIterator[tuple[Site, FanOut, list[Viewer]]]:
    viewers: list[Viewer] = []
    settings = FanOutSettings(stall_us=300_000)
    async with site(SETTINGS) as here, running_fanout(ring, settings) as fanout:

        async def watch(request: Request) -> web.StreamResponse:
            transport = request.transport
            transport.write(stream_head("video/x-flv"))
            with fanout.viewing(sink_of(transport)) as viewer:
                viewers.append(viewer)
                if await viewer.wait() is End.STALLED:
                    transport.abort()
            return Takeover()

        here.router.exact("GET", "/live", watch)
        yield here, fanout, viewers


async def test_takeover_viewer_gets_head_and_stream_and_the_end() -> None:
    ring = Tags()
    ring.push(key=True)
    async with stream_site(ring) as (here, fanout, viewers):
        reader, writer = await asyncio.open_connection("127.0.0.1", here.server.port)
        writer.write(GET)
        head, _, body = (await reader.readuntil(b"<key 0>")).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\n")
        assert body == b"<header 0><key 0>"
        ring.push()
        ring.close()
        assert await reader.read() == b"<tag 1>"
        writer.close()
        await until(lambda: viewers[0].end is End.STREAM)
        await until(lambda: not here.server.connections)
        assert not fanout.viewers
        assert not here.faults


async def test_takeover_viewer_that_leaves_is_noticed_without_sending() -> None:
    ring = Tags()
    ring.push(key=True)
    async with stream_site(ring) as (here, fanout, viewers):
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", here.server.port)) as sock:
                sock.send(GET)
                await until(lambda: fanout.viewers)
            await until(lambda: not fanout.viewers)
        await until(lambda: not here.server.connections)
        assert [viewer.end for viewer in viewers] == [End.REMOVED] * 20


async def test_takeover_viewer_outlives_the_servers_own_deadlines() -> None:
    ring = Tags()
    ring.push(key=True)
    async with stream_site(ring) as (here, _, viewers):
        reader, writer = await asyncio.open_connection("127.0.0.1", here.server.port)
        writer.write(GET)
        loop = asyncio.get_running_loop()
        until_s = loop.time() + 1.5
        while loop.time() < until_s:
            ring.push()
            await reader.readuntil(b">")
            await asyncio.sleep(0.02)
        assert viewers[0].end is None
        writer.close()


async def test_takeover_stalled_viewer_is_cut_off() -> None:
    ring = Tags()
    ring.push(key=True)
    async with stream_site(ring) as (here, _, viewers):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", here.server.port))
            sock.send(GET)
            for _ in range(200):
                ring.push(size=50_000)
                await asyncio.sleep(0)
            await until(lambda: viewers and viewers[0].end)
            assert viewers[0].end is End.STALLED
            await until(lambda: not here.server.connections)
            with suppress(ConnectionResetError):
                while sock.recv(1 << 20):
                    pass
