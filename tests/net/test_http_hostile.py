"""What hostile and broken HTTP clients send, and that the others do not notice."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp.http_parser
import pytest
from aiohttp import web
from http_site import LOOPBACK, Site, echo_path, site, status, until

from appliance.net.http import HttpSettings, Request
from appliance.net.http_connection import Connection

HASTY = HttpSettings(
    listen=LOOPBACK, request_deadline_us=300_000, stall_us=300_000, idle_us=2_000_000
)


async def echo_body(request: Request) -> web.Response:
    return web.Response(text=str(len(await request.read_body(1 << 20))))


async def echo_json(request: Request) -> web.Response:
    return web.json_response(await request.read_json())


@asynccontextmanager
async def busy_site(settings: HttpSettings | None = None) -> AsyncIterator[Site]:
    """A site with a route of each kind that must still serve when the test is done with it."""
    async with site(settings) as here:
        here.router.prefix("GET", "/", echo_path)
        here.router.exact("POST", "/body", echo_body)
        here.router.exact("POST", "/json", echo_json)
        yield here
        assert status(await here.get("/canary")) == 200


def head(start: str, *headers: str) -> bytes:
    lines = [f"{start} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def post(path: str, body: bytes = b"", *headers: str) -> bytes:
    return head(f"POST {path}", *headers) + body


CHUNKED = ("Transfer-Encoding: chunked",)


def test_aiohttp_parser_is_the_c_one() -> None:
    assert (
        aiohttp.http_parser.HttpRequestParser.__module__
        == aiohttp.http_parser.HttpRequestParserC.__module__
        == "aiohttp._http_parser"
    )


# -- paths ---------------------------------------------------------------------------------------

NAMES = [
    *("/.", "/..", "/../x", "/a/../../x", "/a//b", "//etc/passwd", "/%2e%2e%2fx", "/..%c0%af"),
    *("/a%00.flv", "/a%0d%0aX:%20y", "/a%1b[2J", "/%ff%fe", "/%E2%80%AE", "http://127.0.0.1/../"),
    *("x", "../x", "?x", "/" + "a" * 4096, "/" + "a" * 65535, "http://[::1/", "127.0.0.1:80"),
]


@pytest.mark.parametrize("target", NAMES)
async def test_http_target_that_is_no_path_is_refused(target: str) -> None:
    async with busy_site() as here:
        answer = await here.get(target)
        assert 400 <= status(answer) < 500


async def test_http_target_bytes_beyond_ascii_are_refused_or_decoded() -> None:
    async with busy_site() as here:
        answer = await here.send(b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert status(answer) == 400


async def test_http_double_encoded_path_is_decoded_once() -> None:
    async with busy_site() as here:
        assert b"/%2e%2e%2fx|" in await here.get("/%252e%252e%252fx")


# -- heads ---------------------------------------------------------------------------------------

HEADS = {
    "line of 9000 bytes": head("GET /", "X: " + "x" * 9000),
    "50 000 headers": head("GET /", *["X: y"] * 50_000),
    "endless name": b"GET / HTTP/1.1\r\n" + b"x" * 2_000_000,
    "endless target": b"GET /" + b"x" * 2_000_000,
    "no host": b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
    "two hosts": head("GET /", "Host: b"),
    "two lengths": head("POST /body", "Content-Length: 1", "Content-Length: 2") + b"ab",
    "te and cl": head("POST /body", "Content-Length: 4", *CHUNKED) + b"0\r\n\r\n",
    "te with control": head("POST /body", "Transfer-Encoding: \x0bchunked") + b"0\r\n\r\n",
    "te not chunked last": head("POST /body", "Transfer-Encoding: chunked, identity"),
    "bare lf": b"GET / HTTP/1.1\nHost: a\n\n",
    "folded": head("GET /", "X: y\r\n z"),
    "http/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http/9": b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
    "trace": head("TRACE /"),
    "connect": head("CONNECT h:1"),
    "asterisk": head("GET *"),
    "gzip": head("POST /body", "Content-Length: 1", "Content-Encoding: gzip") + b"x",
    "body on get": head("GET /", "Content-Length: 5") + b"hello",
    "expectation": head("POST /body", "Content-Length: 1", "Expect: a miracle") + b"x",
    "two credentials": head("GET /basic", *["Authorization: Basic YTpi"] * 2),
}


@pytest.mark.parametrize("name", HEADS)
async def test_http_bad_head_is_refused_and_closed(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def basic(request: Request) -> web.Response:
        return web.Response(text=str(request.basic))

    with caplog.at_level(logging.INFO):
        async with busy_site() as here:
            here.router.exact("GET", "/basic", basic)
            try:
                answer = await here.send(HEADS[name])
                assert 400 <= status(answer) < 500
            except ConnectionResetError:
                assert name.startswith(("endless", "50 000"))  # the rest of the flood meets RST
            assert here.faults or name in {"trace", "connect"}
    assert not [record for record in caplog.records if record.exc_info]


async def test_http_bad_requests_write_no_tracebacks(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with busy_site() as here:
            for _ in range(100):
                await here.send(b"\x16\x03\x01 nonsense\r\n\r\n")
    assert len([fault for fault in here.faults if fault[1] == "malformed request"]) == 100
    assert len(caplog.records) <= 2, "no line but those of start and stop"


@pytest.mark.parametrize("rest", [b"", b"G", b"GET / HTTP/1.1\r\nHost: a\r\n"])
async def test_http_slow_head_is_closed_at_the_deadline(rest: bytes) -> None:
    async with busy_site(HASTY) as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.server.port)
        writer.write(rest)
        async with asyncio.timeout(5):
            answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 408") == bool(rest)
        assert bool(here.faults) == bool(rest), "connecting in advance is no fault"


async def test_http_slow_head_after_a_request_is_closed_too() -> None:
    async with busy_site(HASTY) as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.server.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"/|-")
        writer.write(b"GET / HT")
        async with asyncio.timeout(5):
            assert (await reader.read()).startswith(b"HTTP/1.1 408")
        writer.close()


async def test_http_head_dribbled_within_the_deadline_is_served() -> None:
    async with busy_site() as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.server.port)
        for byte in b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        assert b"/x|-" in await reader.read()
        writer.close()


# -- bodies --------------------------------------------------------------------------------------

BODIES = {
    "hexadecimal size": (b"0x10\r\n" + b"a" * 16 + b"\r\n0\r\n\r\n", {400}),
    "signed size": (b"+5\r\nhello\r\n0\r\n\r\n", {400}),
    "negative size": (b"-5\r\nhello\r\n0\r\n\r\n", {400}),
    "size of 20 digits": (b"f" * 20 + b"\r\nhello", {400}),
    "no line end": (b"5\r\nhelloX0\r\n\r\n", {400}),
    "megabyte of extension": (
        b"5;" + b"e" * 1_000_000 + b"\r\nhello\r\n0\r\n\r\n",
        {400, 431, 200},
    ),
    "chunks of one byte": (b"1\r\na\r\n" * 100_000 + b"0\r\n\r\n", {200}),
    "too many chunks": (b"1\r\na\r\n" * 1_100_000 + b"0\r\n\r\n", {413}),
    "endless trailers": (b"0\r\n" + b"X: y\r\n" * 300_000, {400, 431}),
    "too long": (b"100001\r\n" + b"a" * 0x100001 + b"\r\n0\r\n\r\n", {413}),
    "just fits": (b"100000\r\n" + b"a" * 0x100000 + b"\r\n0\r\n\r\n", {200}),
}


@pytest.mark.parametrize("name", BODIES)
async def test_http_chunked_body_is_read_or_refused(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    body, statuses = BODIES[name]
    async with busy_site() as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.server.port)
        writer.write(post("/body", body, *CHUNKED))
        async with asyncio.timeout(30):
            head = await reader.readline()
            assert status(head) in statuses
        writer.close()
        await until(lambda: not here.server.connections)
    assert not [record for record in caplog.records if record.exc_info]


async def test_http_announced_body_too_long_is_refused_before_it_comes() -> None:
    async with busy_site() as here:
        answer = await here.send(post("/body", b"", "Content-Length: 999999999999"))
        assert status(answer) == 413


@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
async def test_http_slow_body_is_refused_at_the_deadline(framing: str) -> None:
    async with busy_site(HASTY) as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.server.port)
        writer.write(post("/body", b"1\r\na", framing))
        async with asyncio.timeout(5):
            answer = await reader.read()
        assert status(answer) == 408
        writer.close()


async def test_http_body_nobody_reads_does_not_keep_the_connection() -> None:
    async with busy_site(HASTY) as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.server.port)
        writer.write(post("/none", b"", "Content-Length: 1000000"))
        async with asyncio.timeout(5):
            assert status(await reader.read()) in {404, 405}
        writer.close()


async def test_http_expect_continue_and_then_nothing_is_closed() -> None:
    async with busy_site(HASTY) as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.server.port)
        writer.write(post("/body", b"", "Content-Length: 5", "Expect: 100-continue"))
        async with asyncio.timeout(5):
            assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
            assert b"HTTP/1.1 408" in await reader.read()
        writer.close()


async def test_http_expect_continue_is_answered_and_the_body_read() -> None:
    async with busy_site() as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.server.port)
        writer.write(post("/body", b"", "Content-Length: 5", "Expect: 100-continue"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hello")
        answer = await reader.read()
        assert status(answer) == 200
        assert answer.endswith(b"5")
        writer.close()


@pytest.mark.parametrize(
    "body", [b"[" * 5000, b"NaN", b"1e999", b"9" * 5000, b'{"a":1,"a":2}', b'"\\ud800"', b""]
)
async def test_http_bad_json_is_a_bad_request(body: bytes) -> None:
    async with busy_site() as here:
        length = f"Content-Length: {len(body)}"
        answer = await here.send(post("/json", body, length, "Content-Type: application/json"))
        assert status(answer) == 400


# -- reading slowly, asking a lot ----------------------------------------------------------------


async def test_http_reader_that_stalls_is_aborted_and_was_cheap() -> None:
    big = os.urandom(1 << 20) * 8

    async def send_big(request: Request) -> web.Response:
        return web.Response(body=big)

    async with busy_site(HASTY) as here:
        here.router.exact("GET", "/big", send_big)
        socks = []
        for _ in range(20):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", here.server.port))
            sock.send(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
            socks.append(sock)
        held = 0

        def over() -> bool:
            nonlocal held
            held = max(held, sum(c.held_bytes for c in here.server.connections))
            return bool(here.faults) and not here.server.connections

        await until(over)
        for sock in socks:
            sock.close()
        assert ("http", "client stopped reading", "127.0.0.1") in here.faults
        assert 0 < held <= 20 * (96 << 10), "one slice each, not eight megabytes"


async def test_http_garbage_behind_a_request_that_lasts_is_not_kept() -> None:
    """Of a viewer of live media, say, who may send megabytes of it."""
    begun, over = asyncio.Event(), asyncio.Event()

    async def last(request: Request) -> web.Response:
        begun.set()
        await over.wait()
        return web.Response()

    async with busy_site() as here:
        here.router.exact("GET", "/last", last)
        reader, writer = await asyncio.open_connection("127.0.0.1", here.server.port)
        writer.write(b"GET /last HTTP/1.1\r\nHost: a\r\n\r\n")
        await begun.wait()
        (connection,) = here.server.connections
        for _ in range(20):
            connection.data_received(b"x" * 65_536)
        assert len(connection._messages) == 1
        over.set()
        answers = await reader.read()
        assert answers.count(b" 200 OK\r\n") == answers.count(b" 400 Bad Request\r\n") == 1
        writer.close()


async def test_http_reader_that_is_slow_but_reads_is_served() -> None:
    big = os.urandom(1 << 20)

    async def send_big(request: Request) -> web.Response:
        return web.Response(body=big)

    async with busy_site(HASTY) as here:
        here.router.exact("GET", "/big", send_big)
        reader, writer = await asyncio.open_connection("127.0.0.1", here.server.port, limit=16384)
        writer.write(b"GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        received = bytearray()
        while chunk := await reader.read(32 << 10):
            received += chunk
            await asyncio.sleep(0.04)  # 1.3 s in all, far beyond the stall limit
        assert bytes(received) == big
        writer.close()


async def test_http_ten_thousand_pipelined_requests_are_all_answered() -> None:
    asyncio.get_running_loop().set_debug(False)  # which costs each task ten times its time
    async with busy_site() as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.server.port)

        async def ask() -> None:
            for _ in range(100):
                writer.write(b"GET /p HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
                await writer.drain()

        asking = asyncio.create_task(ask())
        answers = 0
        while answers < 10_000:
            answers += (await reader.readuntil(b"/p|-")).count(b"HTTP/1.1 200")
        await asking
        writer.close()


async def test_http_connection_serves_on_after_a_refusal() -> None:
    async with busy_site() as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.server.port)
        for target in ("/../x", "/ok"):
            writer.write(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert status(await reader.readline()) == 400
        assert b"200 OK" in await reader.readuntil(b"/ok|-")
        writer.close()


# -- who asks, and through whom ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *(("127.0.0.1:8080", 200), ("[::1]:8080", 200), ("192.168.1.7", 200), ("localhost", 200)),
        *(("porthole.local:8080", 200), ("PORTHOLE.Local.", 200), ("camera", 200)),
        *(("cam.example.org", 200), ("front.lan", 200), (socket.gethostname(), 200)),
        *(("evil.com", 421), ("evil.com:8080", 421), ("127.0.0.1.evil.com", 421)),
        *(("local.evil.com", 421), ("camera.example.org", 421), ("[evil.com]", 421)),
        *(("127.1.evil.com:80", 421), ("[::1].evil.com", 421), ("a@evil.com", 421)),
    ],
)
async def test_http_host_that_is_not_ours_is_misdirected(host: str, expected: int) -> None:
    settings = HttpSettings(listen=LOOPBACK, allowed_hosts=("Cam.example.org",))
    async with busy_site(settings) as here:
        head = f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        assert status(await here.send(head.encode())) == expected
        absolute = f"GET http://{host}/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        assert status(await here.send(absolute.encode())) in (
            {200} if expected == 200 else {400, 421}
        )


JSON = "Content-Type: application/json"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ((JSON,), 200),
        ((JSON, "Origin: http://127.0.0.1"), 200),
        ((JSON, "Sec-Fetch-Site: same-origin"), 200),
        ((JSON, "Origin: https://evil"), 403),
        ((JSON, "Origin: null"), 403),
        ((JSON, "Origin: http://127.0.0.1:81"), 403),
        ((JSON, "Origin: http://127.0.0.1.evil"), 403),
        ((JSON, "Sec-Fetch-Site: cross-site"), 403),
        (("Content-Type: text/plain",), 415),
        (("Content-Type: text/plain; charset=utf-8",), 415),
        (("Content-Type: application/x-www-form-urlencoded",), 415),
        (("Content-Type: multipart/form-data; boundary=x",), 415),
        (("Content-Type: application/xml",), 415),
        ((), 200),
    ],
)
async def test_http_post_of_a_foreign_page_is_refused(
    headers: tuple[str, ...], expected: int
) -> None:
    async with busy_site() as here:
        answer = await here.send(post("/json", b"{}", "Content-Length: 2", *headers))
        assert status(answer) == expected
        assert b"Access-Control" not in answer


async def test_http_cross_origin_route_is_open_to_foreign_pages() -> None:
    async with busy_site() as here:
        here.router.exact("POST", "/whep", echo_body, cross_origin=True)
        headers = ("Content-Length: 2", "Origin: https://other", "Content-Type: application/sdp")
        assert status(await here.send(post("/whep", b"{}", *headers))) == 200


async def test_http_forwarded_for_is_believed_only_from_trusted_proxies() -> None:
    async def who(request: Request) -> web.Response:
        return web.Response(text=f"<{request.peer_ip} {request.is_tls}>")

    claims = ("X-Forwarded-For: 6.6.6.6, 203.0.113.7, 10.0.0.2", "X-Forwarded-Proto: https")
    for trusted, expected in (
        ((), b"<127.0.0.1 False>"),
        (("127.0.0.0/8", "10.0.0.0/8"), b"<203.0.113.7 True>"),
        (("127.0.0.1",), b"<10.0.0.2 True>"),
    ):
        async with busy_site(HttpSettings(listen=LOOPBACK, trusted_proxies=trusted)) as here:
            here.router.exact("GET", "/who", who)
            assert expected in await here.get("/who", *claims)


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        # As HAProxy appends: a line of its own after what the client made up.
        (("X-Forwarded-For: 127.0.0.1", "X-Forwarded-For: 203.0.113.7"), b"<203.0.113.7 False>"),
        (("X-Forwarded-Proto: https", "X-Forwarded-Proto: http"), b"<127.0.0.1 False>"),
        # What cannot be read is nobody's address, least of all the proxy's own.
        (("X-Forwarded-For: 203.0.113.7:4711",), b"<0.0.0.0 False>"),
        (("X-Forwarded-For: 10.0.0.1, unknown",), b"<0.0.0.0 False>"),
        (("X-Forwarded-For: ",), b"<127.0.0.1 False>"),
    ],
)
async def test_http_forwarded_for_cannot_be_made_up_through_a_proxy(
    claims: tuple[str, ...], expected: bytes
) -> None:
    async def who(request: Request) -> web.Response:
        return web.Response(text=f"<{request.peer_ip} {request.is_tls}>")

    async with busy_site(HttpSettings(listen=LOOPBACK, trusted_proxies=("127.0.0.1",))) as here:
        here.router.exact("GET", "/who", who)
        assert expected in await here.get("/who", *claims)


async def test_http_version_0_9_is_refused() -> None:
    async with busy_site() as here:
        assert b" 505 " in await here.send(b"GET /\r\nHost: evil.example\r\n\r\n")


@pytest.mark.parametrize(
    "bad",
    [
        "Cookie: porthole_hls=HIDDENHIDDEN\x01",
        "Authorization: Basic\x01 HIDDENHIDDEN",
        "X-Api-Key: HIDDENHIDDEN\x01",
    ],
)
async def test_http_fault_of_a_malformed_head_does_not_quote_it(bad: str) -> None:
    async with site() as here:
        assert status(await here.get("/", bad)) == 400
        assert status(await here.send(b"GET /?k%65y=HIDDENHIDDEN HTTP/9.7x\r\n\r\n")) == 400
        assert len(here.faults) == 2
        assert "HIDDEN" not in str(here.faults)


@pytest.mark.parametrize(
    ("header", "basic", "bearer"),
    [
        ("", None, None),
        ("Basic YTpi", ("a", "b"), None),
        ("bAsIc   YTpi ", ("a", "b"), None),
        ("Basic YTpiOmM=", ("a", "b:c"), None),
        ("Basic YWI=", None, None),
        ("Basic !!!", None, None),
        ("Basic YToA", None, None),
        ("Basic /w==", None, None),
        ("Basic", None, None),
        ("Bearer abc", None, "abc"),
        ("Bearer ", None, None),
        ("Digest x", None, None),
    ],
)
async def test_http_credentials_are_parsed_or_absent(
    header: str, basic: tuple[str, str] | None, bearer: str | None
) -> None:
    seen = []

    async def look(request: Request) -> web.Response:
        seen.append((request.basic, request.bearer))
        return web.Response()

    async with busy_site() as here:
        here.router.exact("GET", "/look", look)
        await here.get("/look", f"Authorization: {header}")
    assert seen == [(basic, bearer)]


# -- other protocols -----------------------------------------------------------------------------

RANDOM = random.Random(1).randbytes(4096)
OTHER_PROTOCOLS = {
    "tls": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "rtmp": b"\x03" + RANDOM[:1536],
    "rtsp": b"OPTIONS rtsp://127.0.0.1/x RTSP/1.0\r\nCSeq: 1\r\n\r\n",
    "sip": b"REGISTER sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP h\r\nCall-ID: 1\r\n\r\n",
    "stun": bytes.fromhex("000100002112a442") + bytes(12),
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "zeros": bytes(4096),
    "random": RANDOM,
    "nothing": b"",
}


@pytest.mark.parametrize("name", OTHER_PROTOCOLS)
async def test_http_port_closes_on_another_protocol(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        async with busy_site(HASTY) as here:
            reader, writer = await asyncio.open_connection("127.0.0.1", here.server.port)
            writer.write(OTHER_PROTOCOLS[name])
            try:
                async with asyncio.timeout(5):
                    answer = await reader.read()
                assert answer == b"" or 400 <= status(answer) < 500
            except ConnectionResetError:
                assert len(OTHER_PROTOCOLS[name]) > 1000  # closed with bytes unread
            writer.close()
            await until(lambda: not here.server.connections)
            assert len(here.faults) == (name != "nothing")
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("how", ["reset", "half-close", "reset within a request"])
async def test_http_client_that_vanishes_leaves_nothing(how: str) -> None:
    async with busy_site() as here:
        entered = asyncio.Event()
        cancelled = asyncio.Event()

        async def hang(request: Request) -> web.Response:
            entered.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
            return web.Response()

        here.router.exact("GET", "/hang", hang)
        sock = socket.create_connection(("127.0.0.1", here.server.port))
        async with asyncio.timeout(5):
            if how != "reset":
                sock.send(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n")
                await entered.wait()
            if how == "half-close":
                sock.shutdown(socket.SHUT_WR)
            else:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
            if how != "reset":
                await cancelled.wait()
            await until(lambda: not here.server.connections)
        sock.close()


# -- too many ------------------------------------------------------------------------------------


async def test_http_connections_beyond_the_cap_are_told_to_come_back() -> None:
    async with busy_site(HttpSettings(listen=LOOPBACK, max_connections=5)) as here:
        inside = [await asyncio.open_connection("127.0.0.1", here.server.port) for _ in range(5)]
        answer = await here.send(b"")
        assert status(answer) == 503
        assert b"Retry-After" in answer
        assert ("http", "too many connections", "127.0.0.1") in here.faults
        for _, writer in inside:
            writer.close()
        await until(lambda: not here.server.connections)


def known_connections() -> list[Connection]:
    gc.collect()
    return [thing for thing in gc.get_objects() if isinstance(thing, Connection)]


async def test_http_connections_leave_no_objects_behind() -> None:
    before = known_connections()  # a test that failed is remembered with all it had
    async with busy_site() as here:
        for number in range(300):
            reader, writer = await asyncio.open_connection("127.0.0.1", here.server.port)
            writer.write(
                [b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n", b"nonsense\r\n\r\n", b"GE"][number % 3]
            )
            if number % 3 < 2:
                await reader.readline()
            writer.close()
        await until(lambda: not here.server.connections)
        left = [one for one in known_connections() if all(one is not other for other in before)]
        assert not left
        assert not here.server.inside
