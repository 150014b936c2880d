"""Edge mode: one connection per stream, absent names, fail-over, and what is handed on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace
from typing import Any

import pytest
from relay_site import CAM, Place, filming, place, until, watching
from scripted_origin import clip_as_flv, listening, rtmp_origin

from appliance.errors import ConfigError, LimitExceeded, StreamNotFound
from appliance.net.tcp import TcpLimits
from appliance.net.tcp_client import connect_tcp
from appliance.services.contract import StreamSettings
from appliance.services.forward.service import ForwardService
from appliance.services.pull.edge import EdgeService, Settings, check_origin
from appliance.services.pull.rtmp_fetch import PlayCore
from appliance.wire.rtmp.address import parse_rtmp_address
from appliance.wire.rtmp.message import Message


def edge(*origins: str, **more: Any) -> Settings:
    """Quick to give up; with `push` only where that is asked for."""
    quick = {"open_us": 2_000_000, "silence_us": 1_000_000, "close_us": 100_000, "push": False}
    return Settings(origins=origins, **(quick | more))


async def say_nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    while await reader.read(1 << 16):
        pass


async def play_rtmp(at: Place, name: str, seen: list[int]) -> None:
    """Until cancelled; counts the media in `seen`."""
    core = PlayCore(parse_rtmp_address(at.url(name)))
    connection = await connect_tcp("127.0.0.1", at.rtmp_port, core, TcpLimits())
    async with connection:
        async for events in connection:
            if any(isinstance(event, Message) for event in events):
                seen.append(1)
            connection.flush()


async def play_flv(at: Place, name: str, seen: list[int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", at.http_port)
    writer.write(f"GET /{name}.flv HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    try:
        await reader.readuntil(b"FLV\x01")
        while await reader.read(1 << 16):
            seen.append(1)
    finally:
        writer.close()


@contextlib.asynccontextmanager
async def playing(at: Place, count: int, name: str = CAM):  # type: ignore[no-untyped-def]
    """So many viewers, half of RTMP and half of HTTP-FLV; one list each of what they got."""
    seen: list[list[int]] = [[] for _ in range(count)]
    plays = (play_rtmp, play_flv)
    tasks = [asyncio.create_task(plays[i % 2](at, name, seen[i])) for i in range(count)]
    try:
        yield seen
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_edge_fetches_a_stream_once_for_twenty_viewers_and_ends_after_the_last() -> None:
    async with place() as origin, filming(origin), place(edges=edge(origin.origin)) as here:
        assert not here.hub.streams
        async with playing(here, 20) as seen:
            await until(lambda: all(len(one) > 2 for one in seen))
            assert len(origin.players) == 1
            assert len(here.pulls) == 1
            assert here.service(EdgeService).report()[0]["stream"] == CAM
        await until(lambda: not here.pulls and not origin.players and not here.hub.streams)
        async with playing(here, 1) as seen:
            await until(lambda: seen[0])


async def test_edge_serves_hls_of_a_stream_of_its_origin() -> None:
    async with place() as origin, filming(origin), place(edges=edge(origin.origin)) as here:
        assert await here.get(f"/{CAM}.m3u8") == 200
        assert await here.get(f"/{CAM}.hls/fmp4.m3u8") == 200
        assert len(origin.players) == 1


async def test_edge_asked_for_what_no_origin_has_refuses_at_once_and_asks_no_more() -> None:
    async with (
        rtmp_origin(refuse="NetStream.Play.StreamNotFound") as first,
        rtmp_origin(refuse="NetStream.Play.StreamNotFound") as second,
    ):
        origins = edge(first.url(""), second.url(""), absent_us=1_000_000)
        async with place(edges=origins) as here:
            answers = [await here.get(f"/{CAM}.m3u8") for _ in range(4)]
            assert answers == [404] * 4
            assert (len(first.plays), len(second.plays)) == (1, 1)
            assert not here.hub.streams
            with pytest.raises(StreamNotFound):
                here.hub.want(CAM)
            while len(first.plays) == 1:  # forgotten some time after
                assert await here.get(f"/{CAM}.m3u8") == 404


async def test_edge_tells_once_what_players_go_on_waiting_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with rtmp_origin(refuse="NetStream.Play.StreamNotFound") as other:
        origins = edge(other.url(""), absent_us=220_000)
        async with place(edges=origins) as here, playing(here, 1):
            counts = here.context.faults.counts
            await until(lambda: counts["edge", "absent"] >= 7)  # more than a second
    told = [one for one in caplog.records if CAM in one.getMessage()]
    assert len(told) == 1 and "StreamNotFound" in told[0].getMessage()


async def test_edge_lets_players_wait_for_what_an_origin_has_later() -> None:
    async with (
        place() as one,
        place() as two,
        rtmp_origin(refuse="NetStream.Play.StreamNotFound") as other,
    ):
        origins = edge(other.url(""), absent_us=50_000)
        async with place(edges=origins) as here, playing(here, 2) as seen:
            await until(lambda: len(other.plays) >= 3)
            assert len(here.players) == 2
            fresh = replace(origins, origins=(one.origin, two.origin), open_us=500_000)
            assert here.service(EdgeService).reload(fresh, ()) == []
            async with filming(two):
                await until(lambda: all(seen))
                assert len(two.players) == 1


async def test_edge_lets_players_wait_for_who_publishes_there() -> None:
    async with (
        rtmp_origin(refuse="NetStream.Play.StreamNotFound") as other,
        place(edges=edge(other.url(""))) as here,
        playing(here, 2) as seen,
    ):
        await until(lambda: other.plays and not here.hub.streams)
        async with filming(here):
            await until(lambda: all(seen))
        assert not here.pulls


async def test_edge_asked_for_ever_new_names_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    async with rtmp_origin(refuse="NetStream.Play.StreamNotFound") as origin:
        caplog.set_level(logging.INFO)
        async with place(edges=edge(origin.url(""))) as here:
            for number in range(40):
                assert await here.get(f"/live/{number}.m3u8") == 404
            assert here.context.faults.counts["edge", "absent"] == 40
    told = [one for one in caplog.records if "/live/" in one.getMessage()]
    assert len(told) < 20


async def test_edge_fetches_again_what_came_back_after_it_was_over() -> None:
    async with (
        place() as origin,
        place(edges=edge(origin.origin, linger_us=100_000, absent_us=0, open_us=1_000_000)) as here,
    ):
        async with filming(origin):
            assert await here.get(f"/{CAM}.hls/fmp4.m3u8") == 200
        origin.hub.remove(CAM)
        await until(lambda: not here.hub.streams)
        assert await here.get(f"/{CAM}.hls/fmp4.m3u8") == 404
        async with filming(origin):
            await until(lambda: not here.pulls)
            assert await here.get(f"/{CAM}.hls/fmp4.m3u8") == 200
            await until(lambda: here.hub.streams[CAM].is_live)


async def test_edge_keeps_no_stream_for_a_name_that_is_configured_to_be_published_to() -> None:
    async with place() as origin, filming(origin), place(edges=edge(origin.origin)) as here:
        here.context.streams = (StreamSettings(CAM),)
        async with watching(here) as viewer:
            await until(lambda: viewer.units)
        await until(lambda: not here.hub.streams)


async def test_edge_that_cannot_reach_its_origin_refuses() -> None:
    async with rtmp_origin() as gone:
        pass
    async with place(edges=edge(gone.url(""))) as here:
        assert await here.get(f"/{CAM}.m3u8") == 404
        assert here.context.faults.counts["pull", "unreachable"] == 1


async def test_edge_never_asks_for_what_is_no_name() -> None:
    async with rtmp_origin() as origin, place(edges=edge(origin.url(""))) as here:
        for path in ("/live/.cam.m3u8", "/live/a%3Fb.m3u8", "/a/b/c/d/e.m3u8"):
            assert await here.get(path) in {400, 404}
        assert await here.get("/cam.m3u8") == 404  # RTMP has no name without an app
        assert not origin.connections


async def test_edge_at_its_limit_refuses_one_more_stream() -> None:
    async with (
        place() as origin,
        filming(origin),
        filming(origin, "live/b"),
        place(edges=edge(origin.origin, streams=1)) as here,
        watching(here) as viewer,
    ):
        await until(lambda: viewer.units)
        with pytest.raises(LimitExceeded):
            here.hub.want("live/b")
        assert await here.get("/live/b.m3u8") == 503


async def test_edge_takes_turns_with_its_origins() -> None:
    async with (
        place() as one,
        filming(one),
        filming(one, "live/b"),
        place() as two,
        filming(two),
        filming(two, "live/b"),
        place(edges=edge(one.origin, two.origin)) as here,
        watching(here),
        watching(here, "live/b"),
    ):
        await until(lambda: len(one.players) == len(two.players) == 1)


async def test_edge_whose_origin_is_killed_shows_the_next_one_to_the_same_viewers() -> None:
    async with (
        place() as one,
        filming(one),
        place() as two,
        filming(two),
        place(edges=edge(one.origin, two.origin)) as here,
        watching(here) as viewer,
        playing(here, 4) as seen,
    ):
        await until(lambda: len(viewer.units) > 20 and all(seen))
        assert len(one.players) == 1
        assert not two.players
        await one.vanish()
        await until(lambda: two.players and viewer.cuts)
        counts = [len(each) for each in seen]
        await until(lambda: all(len(now) > then for now, then in zip(seen, counts, strict=True)))
        assert not viewer.is_over
        assert viewer.longest_gap_us() < 5_000_000


async def test_edge_whose_origin_falls_silent_goes_on_to_the_next_one() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + clip_as_flv(1))
        await asyncio.Event().wait()

    async with listening(hang) as port, place() as two, filming(two):
        origins = edge(f"http://127.0.0.1:{port}/", two.origin)
        async with place(edges=origins) as here, watching(here) as viewer:
            await until(lambda: viewer.cuts)
            assert len(two.players) == 1
            assert not viewer.is_over
            assert viewer.longest_gap_us() < 5_000_000


async def test_edge_asks_the_next_origin_beside_one_that_says_nothing() -> None:
    async with (
        listening(say_nothing) as first,
        listening(say_nothing) as second,
        place() as third,
        filming(third),
    ):
        silent = (f"rtmp://127.0.0.1:{first}/", f"http://127.0.0.1:{second}/")
        origins = edge(*silent, third.origin, open_us=60_000_000)
        async with place(edges=origins) as here, watching(here) as viewer:
            await until(lambda: len(here.pulls) == 2)
            await until(lambda: viewer.units)
            await until(lambda: len(here.pulls) == 1)  # it goes on alone
            (row,) = here.service(EdgeService).report()
            assert row["from"].startswith(third.origin)
            assert not row["last_error"]  # being too slow is no fault


async def test_edge_whose_origins_are_all_silent_gives_up_once() -> None:
    async with listening(say_nothing) as first, listening(say_nothing) as second:
        silent = (f"rtmp://127.0.0.1:{first}/", f"rtmp://127.0.0.1:{second}/")
        async with place(edges=edge(*silent, open_us=1_200_000)) as here:
            assert await here.get(f"/{CAM}.m3u8") == 404
            assert here.context.faults.counts["pull", "silent"] == 2
            assert not here.pulls


async def test_edge_ends_a_stream_that_its_origins_have_no_more() -> None:
    async with (
        place() as origin,
        place(edges=edge(origin.origin, linger_us=300_000)) as here,
        filming(origin),
        watching(here) as viewer,
    ):
        await until(lambda: viewer.units)
        origin.hub.remove(CAM)
        await until(lambda: viewer.is_over)
        assert not here.hub.streams


async def test_edge_hands_on_what_begins_there_to_one_origin_and_then_the_next() -> None:
    async with (
        place() as one,
        place() as two,
        filming(one, "live/far"),
        place(edges=edge(one.origin, two.origin, push=True)) as here,
        filming(here),
        watching(here, "live/far") as viewer,
    ):
        await until(lambda: viewer.units)
        await until(lambda: one.hub.streams.get(CAM) and one.stream.is_live)
        (row,) = here.service(ForwardService).report()
        assert (row["stream"], row["state"]) == (CAM, "live")
        assert not two.hub.streams
        await one.vanish()
        await until(lambda: two.hub.streams.get(CAM) and two.stream.is_live)
        (row,) = here.service(ForwardService).report()
        assert row["url"].startswith(two.origin)
        assert "live/far" not in two.hub.streams


async def test_edge_reloaded_fetches_and_hands_on_elsewhere_and_viewers_stay() -> None:
    async with (
        place() as one,
        filming(one, "live/far"),
        place() as two,
        filming(two, "live/other"),
        place(edges=edge(one.origin, push=True)) as here,
        watching(here, "live/far") as viewer,
    ):
        await until(lambda: viewer.units)
        fresh = edge(two.origin, push=True)
        for service in here.services:
            if isinstance(service, EdgeService | ForwardService):
                settings = fresh if isinstance(service, EdgeService) else ()
                assert service.reload(settings, ()) == []
        async with watching(here, "live/other") as other, filming(here):
            await until(lambda: other.units)
            await until(lambda: two.hub.streams.get(CAM) and two.stream.is_live)
            count = len(viewer.units)
            await until(lambda: len(viewer.units) > count)
            assert CAM not in one.hub.streams
            assert here.service(EdgeService).reload(edge(), ()) == []
            await until(lambda: viewer.is_over and other.is_over)
            assert here.hub.on_wanted is None
            unreadable = edge(two.origin, ca="/nowhere.pem")
            assert here.service(EdgeService).reload(unreadable, ()) == ["edge"]
            assert here.hub.on_wanted is None


async def test_edge_leaves_a_name_to_who_publishes_it_there() -> None:
    async with (
        rtmp_origin(refuse="NetStream.Play.StreamNotFound") as origin,
        place(edges=edge(origin.url(""))) as here,
        filming(here),
    ):
        assert await here.get(f"/{CAM}.m3u8") == 200
        assert not origin.connections


@pytest.mark.parametrize(
    "origin", ["", "rtmp://", "rtmp:///", "rtmp://h", "gopher://h/", "rtmp://u:p@h/", "http:///"]
)
def test_edge_origin_that_is_no_address_is_told(origin: str) -> None:
    with pytest.raises(ConfigError, match='write "rtmp://origin/"'):
        check_origin(origin)


@pytest.mark.parametrize(
    "origin",
    ["rtmp://h/", "rtmps://h:4433/prefix/?key=k", "http://u:p@h:8080/", "https://h/path/?key=k"],
)
def test_edge_origin_that_is_an_address_is_taken(origin: str) -> None:
    check_origin(origin)
