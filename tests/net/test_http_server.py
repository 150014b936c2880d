"""The HTTP server over loopback: dispatch, error mapping, headers."""

from __future__ import annotations

import asyncio
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
from appliance.net.http import HttpError, HttpServer, HttpSettings, Router


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
    caplog: pytest.LogCaptureFixture,
) -> None:
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
