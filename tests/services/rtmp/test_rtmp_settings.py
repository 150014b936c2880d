"""What players ask for, what streams say, and settings that change while they are connected."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest
from relay_site import CAM, Place, filming, place, until

from appliance.hub import sessions
from appliance.net.fanout_pool import Latency
from appliance.net.tcp import TcpLimits
from appliance.net.tcp_client import connect_tcp
from appliance.services.contract import StreamSettings
from appliance.services.pull.rtmp_fetch import PlayCore
from appliance.services.rtmp import Settings
from appliance.services.rtmp.service import RtmpService
from appliance.wire.rtmp.address import parse_rtmp_address
from appliance.wire.rtmp.client import Event, Refused

HERE = ("127.0.0.1:0",)


@asynccontextmanager
async def playing(at: Place, name: str = CAM) -> AsyncIterator[list[Event]]:
    """What a player hears."""
    heard: list[Event] = []

    async def listen() -> None:
        core = PlayCore(parse_rtmp_address(at.url(name)))
        connection = await connect_tcp("127.0.0.1", at.rtmp_port, core, TcpLimits())
        async with connection:
            async for events in connection:
                heard.extend(events)
                connection.flush()

    task = asyncio.create_task(listen())
    try:
        yield heard
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, OSError):
            await task


def latencies(at: Place) -> list[str]:
    return [latency for _, latency in at.service(RtmpService).pool.fanouts]


async def test_latency_is_the_player_s_then_the_stream_s_then_the_service_s() -> None:
    async with place() as here, filming(here), playing(here, f"{CAM}?latency=low"):
        await until(lambda: latencies(here) == ["low"])
        async with playing(here):
            await until(lambda: latencies(here) == ["low", "normal"])
            here.context.streams = (StreamSettings(CAM, latency="dense"),)
            async with playing(here):
                await until(lambda: latencies(here) == ["low", "normal", "dense"])


@pytest.mark.parametrize("asked", ["none", "", "LOW"])
async def test_latency_that_there_is_none_of_is_refused_in_words(asked: str) -> None:
    async with place() as here, filming(here), playing(here, f"{CAM}?latency={asked}") as heard:
        await until(lambda: heard)
        (refused,) = [event for event in heard if isinstance(event, Refused)]
        assert refused.code == "NetStream.Play.Failed"
        assert "low, normal or dense" in refused.text


async def test_player_leaves_out_what_it_does_not_want() -> None:
    async with place() as here, filming(here):
        stream = here.hub.streams[CAM]
        async with playing(here, f"{CAM}?audio=0"), playing(here, f"{CAM}?video=off"):
            await until(lambda: {"rtmp-video", "rtmp-audio"} <= set(stream.renditions))
            assert "rtmp" not in stream.renditions


async def test_player_that_wants_nothing_is_refused_in_words() -> None:
    async with (
        place() as here,
        filming(here),
        playing(here, f"{CAM}?audio=0&video=0") as heard,
    ):
        await until(lambda: heard)
        (refused,) = [event for event in heard if isinstance(event, Refused)]
        assert refused.text == "neither sound nor picture was asked for"


async def test_player_that_leaves_is_told_with_totals_and_is_no_fault(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "TOLD_US", 0)
    caplog.set_level(logging.INFO)
    async with place() as here, filming(here):
        async with playing(here):
            await until(
                lambda: any(one.sent.total_bytes for one in here.context.sessions.active.values())
            )
        await until(lambda: "units skipped" in caplog.text)
        assert not here.context.faults.counts
    (line,) = [one.getMessage() for one in caplog.records if "units skipped" in one.getMessage()]
    assert re.fullmatch(rf"rtmp#\d+ {CAM} [a-z ]+: [1-9]\d* bytes, 0 units skipped", line)


async def test_reload_reaches_who_plays_but_for_their_latency() -> None:
    async with place() as here, filming(here):
        service = here.service(RtmpService)
        before = Settings(listen=HERE)
        assert service.reload(before, ()) == []
        async with playing(here):
            await until(lambda: latencies(here))
            fresh = replace(before, stall_us=2_000_000, latency=Latency.LOW)
            assert service.reload(fresh, ()) == ["rtmp.latency (of players there are)"]
            (fanout,) = service.pool.fanouts.values()
            assert fanout.settings.stall_us == 2_000_000
            assert fanout.settings.max_interval_us == 100_000
            async with playing(here):
                await until(lambda: latencies(here) == ["normal", "low"])


async def test_reload_of_a_limit_holds_for_who_waits_already_and_who_comes() -> None:
    async with place() as here:
        service = here.service(RtmpService)
        async with playing(here, "live/none") as first:
            await until(lambda: here.players)
            assert not first
            quick = Settings(listen=HERE, max_connections=1, first_packet_us=1_000_000)
            assert service.reload(quick, ()) == []
            async with playing(here, "live/none"):
                refused = ("rtmp", "too many connections")
                await until(lambda: here.context.faults.counts[refused])
            assert len(here.players) == 1


async def test_reload_tells_each_time_what_waits_for_a_restart() -> None:
    async with place() as here:
        service = here.service(RtmpService)
        moved = Settings(listen=("127.0.0.1:1",))
        for _ in range(2):
            assert service.reload(moved, ()) == ["rtmp.listen"]
