"""Who is asked where a stream goes, and what it may answer."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from forward_site import KEY, Camera, filming, forward_site, origin

from appliance.errors import PeerError
from appliance.services.forward import backend as backend_module
from appliance.services.forward.backend import MAX_REPLY_BYTES, read_reply
from appliance.services.forward.settings import Rule

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Asked:
    """An HTTP server that says what it is told to, byte by byte if need be."""

    def __init__(self) -> None:
        self.port = 0
        self.bodies: list[Any] = []
        self.heads: list[str] = []
        self.reply: bytes | Answer = b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/forward?token=q-S3cret"

    def say(self, body: bytes, status: str = "200 OK", *fields: str) -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n"
        self.reply = (head + "".join(f"{field}\r\n" for field in fields) + "\r\n").encode() + body

    def name(self, *urls: str) -> None:
        self.say(json.dumps({"code": 0, "data": {"urls": urls}}).encode())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:-2])
            body = await reader.readexactly(int(fields["Content-Length"]))
            self.heads.append(head)
            self.bodies.append(json.loads(body))
            if isinstance(self.reply, bytes):
                writer.write(self.reply)
                await writer.drain()
            else:
                await self.reply(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def asked() -> AsyncIterator[Asked]:
    made = Asked()
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.ensure_future(made.serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_backend_is_asked_as_srs_asks_and_its_addresses_are_used() -> None:
    async with asked() as program, origin() as one, origin() as two:
        program.name(one.url(), two.url("x/y"), one.url())
        async with forward_site(Rule(backend=program.url)) as site, filming(Camera(site.hub)):
            await site.until(lambda: one.media and two.media)
            assert two.publishes[0].name == "y" and one.connections == 1
        (body,) = program.bodies
        assert body == {
            "action": "on_forward",
            "server_id": "door",
            "client_id": "test#1",
            "ip": "127.0.0.1",
            "vhost": "__defaultVhost__",
            "app": "live",
            "tcUrl": "rtmp://__defaultVhost__/live",
            "stream": "cam",
            "param": "",
        }
        assert program.heads[0].startswith("POST /forward?token=q-S3cret HTTP/1.1\r\n")


async def test_backend_is_asked_again_for_each_publisher() -> None:
    async with asked() as program, origin() as one, origin() as two:
        program.name(one.url())
        async with forward_site(Rule(backend=program.url)) as site:
            async with filming(Camera(site.hub)):
                await site.until(lambda: one.media)
            await site.until(lambda: one.stops)
            program.name(two.url())
            async with filming(Camera(site.hub)):
                await site.until(lambda: two.media)
            assert len(program.bodies) == 2 and one.connections == 1


async def test_backend_may_name_nobody() -> None:
    async with asked() as program:
        program.name()
        async with forward_site(Rule(backend=program.url)) as site, filming(Camera(site.hub)):
            await site.until(lambda: program.bodies)
            assert site.service.report() == []


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An answer that never ends, slowly."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.1)


async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An answer that never ends, fast."""
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"4000\r\n" + b" " * 0x4000 + b"\r\n")
        await writer.drain()


async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", "status 500"),
        (b"HTTP/1.1 302 Go\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n",
         "status 302"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n0", "no code 0"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "not JSON"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", "not JSON"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00",
         "not JSON"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}", "backend"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", "backend"),
        (b"SSH-2.0-x\r\n", "backend"),
        (b"", "backend"),
        (flood, "too long"),
        (hold, "does not answer"),
        (drip, "does not answer"),
    ],
)  # fmt: skip
async def test_backend_that_answers_badly_is_asked_again_and_the_publisher_goes_on(
    answer: bytes | Answer,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(backend_module, "DEADLINE_S", 0.5)
    caplog.set_level(logging.DEBUG)
    async with asked() as program, origin() as there:
        program.reply = answer
        async with forward_site(Rule(backend=program.url)) as site:
            async with filming(Camera(site.hub)) as camera:
                await site.until(lambda: site.context.faults.counts["forward", "backend"])
                assert words in caplog.text
                before = len(camera.units)
                program.name(there.url())
                await site.until(lambda: there.media)
                assert len(camera.units) > before
            assert "q-S3cret" not in caplog.text and KEY not in caplog.text


async def test_what_is_no_address_is_left_out_of_the_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with asked() as program, origin() as there:
        program.name(f"http://h/live/{KEY}", "rtmp://h", f"file:///{KEY}", there.url(), "")
        async with forward_site(Rule(backend=program.url)) as site, filming(Camera(site.hub)):
            await site.until(lambda: there.media)
            assert len(site.service.report()) == 1
            assert site.context.faults.counts["forward", "backend names no address"] == 4
        assert KEY not in caplog.text


@pytest.mark.parametrize(
    "body",
    [
        b"0", b"[]", b"null", b'"x"', b"{}", b'{"code":1}', b'{"code":0}', b'{"code":"0"}',
        b'{"code":false,"data":{"urls":[]}}', b'{"code":0,"data":[]}', b'{"code":0,"data":{}}',
        b'{"code":0,"data":{"urls":"rtmp://h/a/b"}}', b'{"code":0,"data":{"urls":[1]}}',
        b'{"code":0,"data":{"urls":[null]}}', b"[" * 60_000, b"\xff\xfe\x00", b"1" * 60_000,
        json.dumps({"code": 0, "data": {"urls": ["rtmp://h/a/b"] * 17}}).encode(),
    ],
)  # fmt: skip
def test_answer_that_is_none_is_refused(body: bytes) -> None:
    assert len(body) <= MAX_REPLY_BYTES
    with pytest.raises(PeerError):
        read_reply(body)
