"""The HTTP server over loopback: dispatch, error mapping, headers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging

import pytest
from aiohttp import web
from http_site import echo_path, raising, site, status

from appliance.errors import (
    AuthError,
    CodecUnsupported,
    ConfigError,
    LimitExceeded,
    NameInvalid,
    PeerError,
    StreamBusy,
    StreamNotFound,
)
from appliance.net import internal_faults
from appliance.net.http import HttpError, HttpServer, HttpSettings, Request, Router


async def test_server_request_gets_decoded_path_and_query() -> None:
    async with site() as here:
        here.router.prefix("GET", "/x/", echo_path)
        answer = await here.get("/x/a%20b%C3%A9?a=1%202&a=3")
    assert status(answer) == 200
    assert answer.endswith("/x/a bé|1 2".encode())


async def test_server_every_answer_carries_our_headers() -> None:
    async with site() as here:
        here.router.exact("GET", "/", echo_path)
        for answer in (
            await here.get("/"),
            await here.get("/none"),
            await here.send(b"\0\r\n\r\n"),
        ):
            assert b"Server: porthole\r\n" in answer
            assert b"X-Content-Type-Options: nosniff\r\n" in answer


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NameInvalid("x"), 400),
        (StreamNotFound("x"), 404),
        (AuthError("x"), 401),
        (AuthError("x", challenge=False), 403),
        (LimitExceeded("x"), 503),
        (StreamBusy("x"), 409),
        (CodecUnsupported("x"), 415),
        (PeerError("x"), 400),
        (HttpError(416, "x"), 416),
        (web.HTTPFound("/y"), 302),
        (ValueError("x"), 500),
    ],
)
async def test_server_error_of_handler_becomes_status(
    error: Exception, expected: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with site() as here:
        here.router.exact("GET", "/", raising(error))
        answer = await here.get("/")
    assert status(answer) == expected
    assert (b"Retry-After" in answer) == (expected == 503)
    assert (b"WWW-Authenticate: Basic" in answer) == (expected == 401)
    assert (("http", "internal error", "ValueError") in here.faults) == (expected == 500)


async def test_server_unexpected_faults_log_one_traceback(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(internal_faults, "TRACEBACK_EVERY_S", 3600)  # the test may take long
    async with site() as here:
        here.router.exact("GET", "/", raising(ZeroDivisionError("secret")))
        with caplog.at_level(logging.INFO):
            for _ in range(20):
                assert b"secret" not in await here.get("/")
    assert sum(record.exc_info is not None for record in caplog.records) == 1
    assert len([fault for fault in here.faults if fault[1] == "internal error"]) == 20


async def test_server_method_without_route_is_405_with_allow() -> None:
    async with site() as here:
        here.router.exact("GET", "/", echo_path)
        answer = await here.get("/", method="DELETE")
        assert status(answer) == 405
        assert b"Allow: GET, HEAD, OPTIONS\r\n" in answer
        assert status(await here.get("/", method="OPTIONS")) == 204
        assert status(await here.get("/", method="HEAD")) == 200


async def test_server_taken_port_is_told_in_a_sentence() -> None:
    async with site() as here:
        other = HttpServer(Router(), HttpSettings(listen=(f"127.0.0.1:{here.server.port}",)))
        with pytest.raises(ConfigError, match="is taken by .*stop it, or configure another"):
            await other.start()


async def test_server_dual_stack_serves_both_families() -> None:
    async with site(HttpSettings(listen=(":0",))) as here:
        here.router.exact("GET", "/", echo_path)
        for host in ("127.0.0.1", "::1"):
            _, writer = await asyncio.open_connection(host, here.server.port)
            writer.close()


async def test_server_large_body_is_whole_with_its_headers() -> None:
    body = bytes(range(256)) * 4096

    async def large(request: Request) -> web.Response:
        response = web.Response(body=body, content_type="video/mp4", headers={"X-Mine": "1"})
        response.set_cookie("name", "value")
        return response

    async with site() as here:
        here.router.exact("GET", "/large", large)
        head, _, got = (await here.get("/large")).partition(b"\r\n\r\n")
        assert got == body
        for line in (b"Content-Length: 1048576", b"X-Mine: 1", b"Set-Cookie: name=value"):
            assert line in head
        assert b"Content-Type: video/mp4" in head
        head, _, got = (await here.get("/large", method="HEAD")).partition(b"\r\n\r\n")
        assert got == b""
        assert b"Content-Length: 1048576" in head
        old = await here.send(b"GET /large HTTP/1.0\r\n\r\n")
        assert old.endswith(body)


async def test_server_fault_within_a_response_cuts_the_connection() -> None:
    async def half(request: Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request.raw)
        await response.write(b"half")
        raise ValueError

    async with site() as here:
        here.router.exact("GET", "/half", half)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            answer = await here.get("/half")
    assert b"0\r\n\r\n" not in answer, "not ended as if it were whole"
    assert b"500" not in answer
    assert here.faults[0][1] == "internal error"


async def test_server_page_carries_its_policy_and_may_have_its_own() -> None:
    async def page(request: Request) -> web.Response:
        headers = {"Content-Security-Policy": "own"} if request.query else None
        return web.Response(text="<p>", content_type="text/html", headers=headers)

    async with site() as here:
        here.router.exact("GET", "/page", page)
        answer = await here.get("/page")
        assert b"default-src 'self'" in answer
        assert b"frame-ancestors 'none'" in answer
        assert b"Referrer-Policy: no-referrer" in answer
        assert b"Content-Security-Policy: own\r\n" in await here.get("/page?own=1")


@pytest.mark.parametrize(("path", "accept"), [("/api/x", "*/*"), ("/x", "application/json")])
async def test_server_refusal_is_json_where_that_is_spoken(path: str, accept: str) -> None:
    async with site() as here:
        head, _, body = (await here.get(path, f"Accept: {accept}")).partition(b"\r\n\r\n")
        assert json.loads(body) == {"code": 404, "error": "nothing is here"}
        assert b"Cache-Control: no-store" in head


async def test_server_stop_lets_a_running_request_end() -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> web.Response:
        entered.set()
        await release.wait()
        return web.Response(text="done")

    async with site() as here:
        here.router.exact("GET", "/slow", slow)
        asking = asyncio.create_task(here.get("/slow"))
        await entered.wait()
        stopping = asyncio.create_task(here.server.stop(5))
        await asyncio.sleep(0)
        release.set()
        assert (await asking).endswith(b"done")
        await stopping


async def test_server_stop_ends_a_request_that_does_not_end() -> None:
    entered, cancelled = asyncio.Event(), asyncio.Event()

    async def hang(request: Request) -> web.Response:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return web.Response()

    async with site() as here:
        here.router.exact("GET", "/hang", hang)
        reader, writer = await asyncio.open_connection("127.0.0.1", here.server.port)
        writer.write(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n")
        await entered.wait()
        await here.server.stop(0.05)
        assert await reader.read() == b""
        writer.close()
        async with asyncio.timeout(5):
            await cancelled.wait()
        assert not here.server.inside


async def test_server_fault_line_has_who_and_what_but_no_query() -> None:
    async with site() as here:
        here.router.exact("GET", "/x", raising(PeerError("odd")))
        await here.get("/x?key=secret")
        await here.get("/favicon.ico")
    assert here.faults == [("http", "bad request", "127.0.0.1 GET /x: odd")]
