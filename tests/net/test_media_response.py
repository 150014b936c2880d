"""Media files over real connections: whole, in ranges, to slow and to vanishing clients."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from http_site import LOOPBACK, Site, site, until
from test_tls import make_certificate

from appliance.net.http import HttpSettings, Request, TlsSettings
from appliance.net.media_file import MIN_FILE_BYTES, MediaFile, parse_range
from appliance.net.media_response import MediaResponse
from appliance.net.shortcut import Shortcut
from appliance.net.tls import client_context

SMALL = random.Random(1).randbytes(1000)
LARGE = random.Random(2).randbytes(6_000_000)
HASTY = HttpSettings(listen=LOOPBACK, stall_us=600_000)


class Shelf:
    """Serves files by name and counts how often the handler was asked."""

    def __init__(self, here: Site) -> None:
        self.here = here
        self.handled = 0
        self.found = 0
        self.hidden: set[bytes] = set()
        self.files = {
            b"small": MediaFile("video/mp4", [SMALL]),
            b"large": MediaFile("video/mp4", [LARGE[:100], LARGE[100:]]),
        }

    async def handle(self, request: Request) -> MediaResponse:
        self.handled += 1
        file = self.files[request.path.rpartition("/")[2].encode()]
        return MediaResponse(file, shortcut=Shortcut("/m/", "", self.find))

    def find(self, name: bytes) -> MediaFile | None:
        self.found += 1
        return None if name in self.hidden else self.files.get(name)


@asynccontextmanager
async def shelf(settings: HttpSettings | None = None) -> AsyncIterator[Shelf]:
    async with site(settings) as here:
        found = Shelf(here)
        here.router.prefix("GET", "/m/", found.handle)
        yield found


def request(name: str, *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    return "\r\n".join(
        [f"{method} /m/{name} HTTP/{version}", "Host: 127.0.0.1", *fields, "", ""]
    ).encode()


async def read_reply(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    async with asyncio.timeout(20):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split()[0])
        return head, await reader.readexactly(length)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize(
    ("value", "size_bytes", "expected"),
    [
        ("bytes=0-", 10, (0, 10)),
        ("bytes=0-0", 10, (0, 1)),
        ("bytes=3-5", 10, (3, 6)),
        ("bytes=3-500", 10, (3, 10)),
        ("bytes=9-9", 10, (9, 10)),
        ("bytes=-3", 10, (7, 10)),
        ("bytes=-30", 10, (0, 10)),
        ("BYTES=1-2", 10, (1, 3)),
        ("bytes=10-", 10, (10, 10)),
        ("bytes=10-11", 10, (10, 10)),
        ("bytes=-0", 10, (10, 10)),
        ("bytes=0-", 0, (0, 0)),
        ("bytes=5-4", 10, None),
        ("bytes=-", 10, None),
        ("bytes=0-1,3-4", 10, None),
        ("bytes=0-1,", 10, None),
        ("bytes= 0-1", 10, None),
        ("bytes=0-1 ", 10, None),
        ("bytes=0-1\n", 10, None),
        ("bytes=٣-", 10, None),
        ("bytes=1_0-", 100, None),
        ("bytes=+1-", 10, None),
        ("bytes=" + "1" * 19 + "-", 10, None),
        ("bytes", 10, None),
        ("", 10, None),
    ],
)
def test_range_is_read_as_rfc_9110_says(
    value: str, size_bytes: int, expected: tuple[int, int] | None
) -> None:
    assert parse_range(value, size_bytes) == expected


async def test_large_files_lie_outside_the_heap_and_small_ones_in_it() -> None:
    gc.collect()
    before = descriptors()
    small, large = MediaFile("a/b", [bytes(MIN_FILE_BYTES - 1)]), MediaFile("a/b", [LARGE])
    assert small.descriptor is None and large.descriptor is not None
    assert descriptors() == before + 1
    assert large.body == b""
    assert bytes(large.read(5, 50)) == LARGE[5:50]
    del small, large
    gc.collect()
    assert descriptors() == before


async def test_files_leave_most_descriptors_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a window of however many streams is kept."""
    before = descriptors()
    monkeypatch.setattr("appliance.net.media_file.max_files", lambda: before_files + 2)
    before_files = MediaFile.in_files
    files = [MediaFile("video/mp4", [LARGE[:20_000]]) for _ in range(5)]
    assert descriptors() == before + 2
    assert all(bytes(file.read(0, 20_000)) == LARGE[:20_000] for file in files)
    del files
    assert descriptors() == before
    assert MediaFile("video/mp4", [LARGE[:20_000]]).descriptor is not None


async def test_file_without_a_free_descriptor_is_served_from_the_heap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(name: str, flags: int) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", refuse)
    async with shelf() as here:
        assert here.files[b"large"].descriptor is None
        answer = await here.here.send(request("large", "Connection: close"))
        assert answer.endswith(LARGE)


@pytest.mark.parametrize("name", ["small", "large"])
@pytest.mark.parametrize("times", [1, 3])
async def test_slow_reader_gets_every_byte(name: str, times: int) -> None:
    """The first request goes the ordinary way, the others the short one."""
    async with shelf() as here:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        sock.connect(("127.0.0.1", here.here.server.port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=8192)
        for _ in range(times):
            writer.write(request(name))
            _, body = await read_reply(reader)
            assert body == (SMALL if name == "small" else LARGE)
        writer.close()
        assert (here.handled, here.found) == (1, times - 1)


@pytest.mark.parametrize("is_short", [False, True])
async def test_client_that_stops_reading_is_cut_off(is_short: bool) -> None:
    async with shelf(HASTY) as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.here.server.port)
        if is_short:
            writer.write(request("small"))
            await read_reply(reader)
        before = descriptors()
        transport = writer.transport
        transport.pause_reading()
        writer.write(request("large"))
        await until(lambda: not here.here.server.connections)
        assert ("http", "client stopped reading", "127.0.0.1") in here.here.faults
        await until(lambda: descriptors() <= before)
        transport.abort()


@pytest.mark.parametrize("is_short", [False, True])
async def test_client_that_leaves_within_a_body_leaves_nothing(is_short: bool) -> None:
    async with shelf() as here:
        before = descriptors()
        for _ in range(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", here.here.server.port)
            if is_short:
                writer.write(request("small"))
                await read_reply(reader)
            writer.write(request("large"))
            await reader.readexactly(1000)
            writer.transport.abort()
        await until(lambda: not here.here.server.connections)
        await until(lambda: descriptors() <= before)
        assert not [fault for fault in here.here.faults if "error" in fault[1]]


@pytest.mark.parametrize("is_short", [False, True])
async def test_server_that_stops_within_a_body_does_not_hang(is_short: bool) -> None:
    async with shelf() as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.here.server.port)
        if is_short:
            writer.write(request("small"))
            await read_reply(reader)
        writer.transport.pause_reading()
        writer.write(request("large"))
        await until(lambda: any(c.is_sending for c in here.here.server.connections))
        async with asyncio.timeout(5):
            await here.here.server.stop(0.2)
        writer.transport.abort()


async def test_connection_is_kept_or_closed_as_the_client_asks() -> None:
    async with shelf() as here:
        answer = await here.here.send(request("small", "Connection: close"))
        assert answer.count(b"HTTP/1.1 200") == 1
        assert b"\r\nConnection: close\r\n" in answer
        answer = await here.here.send(request("small", version="1.0"))
        assert answer.count(b"HTTP/1.1 200") == 1
        kept = request("small", "Connection: keep-alive", version="1.0")
        answer = await here.here.send(kept + request("small", version="1.0"))
        assert answer.count(b"HTTP/1.1 200") == 2
        assert b"\r\nConnection: keep-alive\r\n" in answer


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with shelf() as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.here.server.port)
        names = ["small", "large", "small", "large", "large"]
        for _ in range(2):
            writer.write(b"".join(map(request, names)))
            for name in names:
                _, body = await read_reply(reader)
                assert body == (SMALL if name == "small" else LARGE)
        writer.close()


async def test_tls_clients_get_the_same_bytes(tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path, "localhost")
    settings = HttpSettings(listen=(), tls=TlsSettings(("127.0.0.1:0",), cert, key))
    async with shelf(settings) as here:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1",
            here.here.server.port,
            ssl=client_context(cert),
            server_hostname="localhost",
        )
        for fields, body in (((), LARGE), (("Range: bytes=10-99",), LARGE[10:100]), ((), LARGE)):
            writer.write(request("large", *fields))
            assert (await read_reply(reader))[1] == body
        assert here.found == 0
        writer.transport.abort()


# -- the short way -----------------------------------------------------------------------------


@asynccontextmanager
async def warmed(here: Shelf) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection after its first request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", here.here.server.port)
    writer.write(request("small", "User-Agent: x"))
    await read_reply(reader)
    assert (here.handled, here.found) == (1, 0)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def test_short_way_answers_what_repeats_byte_for_byte() -> None:
    async with shelf() as here, warmed(here) as (reader, writer):
        for name, body in ((b"large", LARGE), (b"small", SMALL)) * 3:
            writer.write(request(name.decode(), "User-Agent: x"))
            head, found = await read_reply(reader)
            assert found == body and head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert (here.handled, here.found) == (1, 6)


async def test_short_way_knows_the_two_heads_that_players_take_turns_with() -> None:
    async with shelf() as here, warmed(here) as (reader, writer):
        for _ in range(4):
            for name, field in (("large", "Accept: video/*"), ("small", "User-Agent: x")):
                writer.write(request(name, field))
                await read_reply(reader)
        assert (here.handled, here.found) == (2, 7)


@pytest.mark.parametrize(
    "other",
    [
        request("small", "User-Agent: y"),
        request("small", "User-agent: x"),
        request("small", "User-Agent:  x"),
        request("small"),
        request("small", "User-Agent: x", "Range: bytes=0-"),
        request("small?a=1", "User-Agent: x"),
        request("sm%61ll", "User-Agent: x"),
        request("small", "User-Agent: x", method="HEAD"),
        request("small", "User-Agent: x", version="1.0"),
    ],
)
async def test_short_way_is_not_for_what_differs(other: bytes) -> None:
    async with shelf() as here, warmed(here) as (reader, writer):
        writer.write(other)
        async with asyncio.timeout(5):
            await reader.readuntil(b"\r\n\r\n")
        assert here.handled == 2


async def test_short_way_leaves_names_it_does_not_know_to_the_handler() -> None:
    async with shelf() as here, warmed(here) as (reader, writer):
        here.hidden.add(b"large")
        writer.write(request("large", "User-Agent: x"))
        assert (await read_reply(reader))[1] == LARGE
        assert (here.handled, here.found) == (2, 1)


async def test_short_way_ends_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.net.shortcut.LIFETIME_S", 0.0)
    async with shelf() as here, warmed(here) as (reader, writer):
        writer.write(request("small", "User-Agent: x"))
        await read_reply(reader)
        assert (here.handled, here.found) == (2, 0)


async def test_short_way_is_not_for_absolute_targets() -> None:
    """Their host stands in the target: what the Host header says has not been looked at."""
    async with shelf() as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.here.server.port)
        field = b" HTTP/1.1\r\nHost: evil.example\r\n\r\n"
        for target, expected in ((b"http://localhost/m/small", b" 200 "), (b"/m/small", b" 421 ")):
            writer.write(b"GET " + target + field)
            answer, _ = await read_reply(reader)
            assert expected in answer
        writer.close()


async def test_short_way_takes_no_request_in_pieces() -> None:
    async with shelf() as here, warmed(here) as (reader, writer):
        whole = request("small", "User-Agent: x")
        for cut in (1, 10, len(whole) - 2):
            handled = here.handled
            writer.write(whole[:cut])
            connection = next(iter(here.here.server.connections))
            await until(lambda: not connection._is_at_start)  # noqa: B023
            writer.write(whole[cut:])
            assert (await read_reply(reader))[1] == SMALL
            assert here.handled == handled + 1


async def test_short_way_answers_nothing_inside_another_request() -> None:
    """A request smuggled into the head of another one stays part of that."""
    async with shelf() as here, warmed(here) as (reader, writer):
        writer.write(b"GET /m/large HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Rest: ")
        connection = next(iter(here.here.server.connections))
        await until(lambda: not connection._is_at_start)
        writer.write(request("small", "User-Agent: x"))
        async with asyncio.timeout(5):
            answer = await reader.readuntil(b"\r\n\r\n")
        assert not answer.startswith(b"HTTP/1.1 200") or b"6000000" in answer
        assert here.found == 0


async def test_short_way_keeps_the_connection_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = HttpSettings(listen=LOOPBACK, idle_us=400_000)
    async with shelf(settings) as here, warmed(here) as (reader, writer):
        loop = asyncio.get_running_loop()
        end_s = loop.time() + 1.2
        while loop.time() < end_s:
            writer.write(request("small", "User-Agent: x"))
            await read_reply(reader)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await reader.read(1)
        assert here.handled == 1
        async with asyncio.timeout(5):
            assert await reader.read(1) == b""
