"""Servers that are not there: they are looked for every second, and asked when they listen."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fault_camera import FaultCamera, fault_camera
from hurried_loop import HurriedLoop
from relay_site import Place, place, pulled, until
from rtsp_source import from_camera, last_error

from appliance.services.pull import feed as feed_module
from appliance.services.pull.feed import PullFeed
from appliance.services.pull.knock import KNOCK_S, first_listening
from appliance.services.pull.service import PullService

NEVER_S = 86_400.0


@contextmanager
def closed_port() -> Iterator[socket.socket]:
    """Nobody else gets it, and nobody listens until it is told to."""
    with socket.socket() as held:
        held.setblocking(False)
        held.bind(("127.0.0.1", 0))
        yield held


def feed_of(at: Place) -> PullFeed:
    service: PullService = at.service(PullService)
    return service._feeds[at.stream.name][1]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The back-off alone would bring nothing back."""
    monkeypatch.setattr(feed_module, "MIN_BACKOFF_S", NEVER_S)
    monkeypatch.setattr(feed_module, "MAX_BACKOFF_S", NEVER_S)


async def test_first_that_listens_is_found_among_those_that_do_not() -> None:
    with closed_port() as one, closed_port() as other:
        doors = {"one": one.getsockname(), "other": other.getsockname()}
        finding = asyncio.create_task(first_listening(doors))
        await asyncio.sleep(0)
        other.listen()
        assert await finding == "other"


@pytest.mark.parametrize("url", ["rtsp://{}/a/b", "rtmp://{}/a/b", "http://{}/a/b.flv"])
@pytest.mark.usefixtures("patient")
async def test_server_that_was_away_is_asked_as_soon_as_it_listens(url: str) -> None:
    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1):  # a knock says nothing
            was_asked.set()
        writer.close()

    was_asked = asyncio.Event()
    with closed_port() as port:
        at = f"127.0.0.1:{port.getsockname()[1]}"
        async with place(pulled(url.format(at)), serves=False) as edge:
            await until(lambda: last_error(edge) == "unreachable: connection refused")
            assert feed_of(edge).away
            await until(lambda: feed_of(edge).report()["retry_s"] is not None)
            assert feed_of(edge).report()["retry_s"] <= KNOCK_S
            async with await asyncio.start_server(hear, sock=port):
                await was_asked.wait()
                # It listens and fails: that is what the back-off is for.
                await until(lambda: last_error(edge) != "unreachable: connection refused")
                assert not feed_of(edge).away


@pytest.mark.usefixtures("patient")
async def test_server_that_hears_knocks_alone_is_left_to_the_back_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its name leads elsewhere whenever it is asked: knocking would go on in a circle."""

    async def lookup(host: str, port: int, **more: Any) -> list[tuple[Any, ...]]:
        asked.append(host)
        return await getaddrinfo(f"127.0.0.{9 if len(asked) % 2 else 1}", port, **more)

    asked: list[str] = []
    loop = asyncio.get_running_loop()
    getaddrinfo = loop.getaddrinfo
    monkeypatch.setattr(loop, "getaddrinfo", lookup)
    with closed_port() as port:
        port.listen()
        url = f"rtsp://camera.local:{port.getsockname()[1]}/a"
        async with place(pulled(url), serves=False) as edge:
            await until(lambda: edge.context.faults.counts["pull", "unreachable"] == 2)
            assert len(asked) == 3
            assert not feed_of(edge).away


async def test_outage_is_told_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with fault_camera() as camera:
        stream = from_camera(camera)
        await camera.power_off()
        async with place(stream, serves=False) as edge:
            await until(lambda: edge.context.faults.counts["pull", "unreachable"] >= 2)
            await camera.power_on()
            await until(lambda: edge.stream.is_live)
    told = [one.getMessage().partition("live/cam ")[2] for one in caplog.records]
    outage = "unreachable: connection refused; looking for it every second"
    assert told.count(outage) == 1
    assert [one.startswith("is back after") for one in told].count(True) == 1
    assert told.index(outage) < next(n for n, one in enumerate(told) if "is back" in one)


# -- by a clock that jumps -------------------------------------------------------------------------


def in_no_time(test: Callable[[FaultCamera, Place], Awaitable[None]], **switches: Any) -> None:
    async def run() -> None:
        async with fault_camera(**switches) as camera:
            stream = from_camera(camera)
            await camera.power_off()
            async with place(stream, serves=False) as edge:
                await test(camera, edge)

    with asyncio.Runner(loop_factory=HurriedLoop) as runner:
        runner.run(run())


@pytest.mark.parametrize("away_s", [1, 20, 90])
def test_camera_is_seen_two_seconds_after_it_listens_however_long_it_was_away(away_s: int) -> None:
    async def come_back(camera: FaultCamera, edge: Place) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(away_s)
        began_s = loop.time()
        await camera.power_on()
        await edge.stream.changed.wait()
        assert edge.stream.is_live
        assert loop.time() - began_s <= 2.0

    in_no_time(come_back)


def test_camera_that_starts_and_is_not_ready_is_asked_again_soon() -> None:
    """The back-off of its absence is not held against it."""

    async def come_back(camera: FaultCamera, edge: Place) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(60)
        began_s = loop.time()
        await camera.power_on()
        await until(lambda: "404" in last_error(edge))
        camera.answers.clear()
        await edge.stream.changed.wait()
        assert loop.time() - began_s <= 2.5

    in_no_time(come_back, answers={"DESCRIBE": "404 Not Found"})


def test_camera_that_listens_and_fails_is_asked_less_and_less() -> None:
    async def fail(camera: FaultCamera, edge: Place) -> None:
        await camera.power_on()
        await asyncio.sleep(600)
        assert camera.connections < 60

    in_no_time(fail, answers={"DESCRIBE": "404 Not Found"})
