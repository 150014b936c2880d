"""An HTTP server on a free loopback port for the tests, with its faults collected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from appliance.net.http import HttpServer, HttpSettings, Request, Router

LOOPBACK = ("127.0.0.1:0",)


async def until(condition: Callable[[], object]) -> None:
    """Looks again and again at something that tells nobody when it changes."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(10):
        while not condition():
            passed: asyncio.Future[None] = loop.create_future()
            loop.call_later(0.005, passed.set_result, None)
            await passed


@dataclass
class Site:
    router: Router
    server: HttpServer
    faults: list[tuple[str, str, str]] = field(default_factory=list)

    async def send(self, data: bytes) -> bytes:
        """Everything the server answers to these bytes until it closes or 5 s pass."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        writer.write(data)
        try:
            async with asyncio.timeout(5):
                return await reader.read()
        finally:
            writer.close()

    async def get(self, target: str, *headers: str, method: str = "GET") -> bytes:
        lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *headers]
        return await self.send("\r\n".join([*lines, "", ""]).encode())


@asynccontextmanager
async def site(settings: HttpSettings | None = None) -> AsyncIterator[Site]:
    router = Router()
    faults: list[tuple[str, str, str]] = []
    server = HttpServer(
        router,
        settings or HttpSettings(listen=LOOPBACK),
        lambda *fault: faults.append(fault),
    )
    await server.start()
    try:
        yield Site(router, server, faults)
    finally:
        await server.stop(1)


async def echo_path(request: Request) -> web.Response:
    return web.Response(text=f"{request.path}|{request.query.get('a', '-')}")


def raising(error: Exception) -> Callable[[Request], Awaitable[web.Response]]:
    async def handler(request: Request) -> web.Response:
        raise error

    return handler


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])
