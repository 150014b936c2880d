"""Streams of other servers: what comes through, when it is fetched, and what is told of it."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from typing import Any

import pytest
from framehash import assert_same_times, unit_times
from relay_site import CAM, Place, filming, place, pulled, until, watching
from scripted_origin import (
    answer,
    flv_answer,
    http_origin,
    listening,
    rtmp_origin,
)

from appliance.net import horizon
from appliance.net.horizon import Distance
from appliance.net.http_settings import TlsSettings
from appliance.services.pull import Settings
from appliance.services.pull.service import PullService

QUICK = Settings(open_us=400_000, silence_us=400_000)
SECRET = "s3cret-K3y"


def told(at: Place) -> str:
    """Everything that the API could show."""
    rows = at.service(PullService).report()
    seen = [(one.url, one.peer_ip, one.user_agent) for one in at.context.sessions.active.values()]
    return json.dumps([rows, seen])


def last_error(at: Place) -> str:
    return at.service(PullService).report()[0]["last_error"]


async def until_error(at: Place, words: str) -> None:
    await until(lambda: words in last_error(at))


@pytest.mark.parametrize("form", ["rtmp", "http"])
@pytest.mark.parametrize("kind", ["h264-b+aac", "h265+opus"])
async def test_pull_from_our_own_server_brings_the_very_units(form: str, kind: str) -> None:
    async with place() as origin, place(pulled(origin.url(form=form)), serves=False) as edge:
        await until(lambda: origin.players)
        async with filming(origin, kind=kind, rounds=1, speed=2) as film:
            pass
        begin = next(at for at, unit in enumerate(film.units) if unit.track.id == 1 and unit.key)
        played = film.units[begin:]  # a player begins with a picture
        await until(lambda: len(edge.stream.units.items) == len(played))
        units, tracks = list(edge.stream.units.items), edge.stream.tracks
    for number in (1, 2):
        found = [unit for unit in units if unit.track.id == number]
        sent = [unit for unit in played if unit.track.id == number]
        assert [list(map(bytes, unit.parts)) for unit in found] == [
            list(map(bytes, unit.parts)) for unit in sent
        ]
    assert_same_times(unit_times(played), unit_times(units), resolution_us=2000)
    assert [t.config for t in tracks] == [t.config for t in film.tracks]


@pytest.mark.parametrize(("form", "kind"), [("rtmp", "rtmp-pull"), ("http", "flv-pull")])
async def test_pull_on_demand_runs_from_the_first_viewer_until_after_the_last(
    form: str, kind: str
) -> None:
    async with place() as origin:
        stream = pulled(origin.url(form=form), on_demand=True, on_demand_close_us=100_000)
        async with filming(origin), place(stream, serves=False) as edge:
            assert not edge.pulls
            async with watching(edge) as viewer:
                await until(lambda: viewer.units)
                (session,) = edge.pulls
                assert (session.kind, session.is_publisher) == (kind, True)
                assert edge.stream.publisher is not None
                assert edge.stream.publisher.origin == session.id
                async with watching(edge) as second:
                    await until(lambda: second.units)
                    assert len(origin.players) == 1
            await until(lambda: not edge.pulls and not origin.players)
            async with watching(edge) as third:
                await until(lambda: any(unit.discontinuity for unit in third.units))
            assert not last_error(edge)


async def test_pull_of_a_server_that_is_silent_is_tried_again() -> None:
    async def say_nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        nonlocal greetings
        while await reader.read(1 << 16):
            greetings += 1

    greetings = 0
    async with (
        listening(say_nothing) as port,
        place(pulled(f"rtmp://127.0.0.1:{port}/a/b"), serves=False, pulls=QUICK) as edge,
    ):
        await until(lambda: greetings >= 2)
        assert last_error(edge) == "silent: no media for 0.4 s"
        assert edge.context.faults.counts["pull", "silent"] >= 1
        assert CAM in edge.hub.streams


@pytest.mark.parametrize("form", ["rtmp", "http"])
async def test_pull_whose_media_ceases_goes_on_with_a_new_connection(form: str) -> None:
    async with rtmp_origin(media=1) as rtmp, http_origin(flv_answer(), ends=False) as http:
        url = rtmp.url() if form == "rtmp" else http.url()
        stream = pulled(url)
        async with (
            place(stream, serves=False, pulls=QUICK) as edge,
            watching(edge) as viewer,
        ):
            await until(lambda: viewer.cuts >= 1)
            assert last_error(edge) == "silent: no media for 0.4 s"
            assert not viewer.is_over
            stamps = [unit.dts_us for unit in viewer.units if unit.track.id == 1]
            assert stamps == sorted(set(stamps))


async def test_pull_that_is_refused_tells_why_once_and_never_the_key(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    words = f"live/cam?key={SECRET} is not here, nor is {SECRET}"
    async with rtmp_origin(refuse="NetStream.Play.StreamNotFound", words=words) as origin:
        stream = pulled(origin.url(f"live/cam?key={SECRET}"))
        async with place(stream, serves=False, pulls=QUICK) as edge:
            await until(lambda: len(origin.plays) >= 3)
            assert origin.plays[0].name == f"cam?key={SECRET}"
            assert "refused: NetStream.Play.StreamNotFound" in last_error(edge)
            assert SECRET not in told(edge) + caplog.text
    warnings = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert len(warnings) == 1


async def test_pull_follows_a_redirect_without_the_key_to_another_host() -> None:
    async with place() as origin, filming(origin):
        elsewhere = f"rtmp://localhost:{origin.rtmp_port}/live"
        async with rtmp_origin(redirect=elsewhere) as first:
            stream = pulled(first.url(f"live/cam?key={SECRET}"))
            async with place(stream, serves=False) as edge:
                await until(lambda: edge.stream.is_live)
                (player,) = origin.players
                assert player.stream == CAM
                assert SECRET not in player.url


async def test_pull_sent_round_in_circles_stops_after_three_redirects() -> None:
    async with rtmp_origin() as origin:
        origin.redirect = origin.url()
        async with place(pulled(origin.url()), serves=False, pulls=QUICK) as edge:
            await until_error(edge, "redirected more than 3 times")
            assert origin.connections == 4


@pytest.mark.parametrize("target", ["http://127.0.0.1/x.flv", "rtmp://", "file:///etc/passwd", "x"])
async def test_pull_redirected_to_what_is_not_rtmp_is_refused(target: str) -> None:
    async with (
        rtmp_origin(redirect=target) as origin,
        place(pulled(origin.url()), serves=False, pulls=QUICK) as edge,
    ):
        await until_error(edge, "redirected to what is no RTMP address")


@pytest.mark.parametrize("form", ["rtmp", "http"])
async def test_pull_sent_by_the_world_to_this_device_does_not_go_there(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger's server must not have us show our own cameras, or ask the network beside us."""
    asked: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            asked.append(data[:4])

    distances = {"127.0.0.1": Distance.WORLD, "127.0.0.2": Distance.DEVICE}
    monkeypatch.setattr(horizon, "distance", distances.__getitem__)
    async with listening(listen, "127.0.0.2") as port, rtmp_origin() as one, http_origin() as two:
        origin = one if form == "rtmp" else two
        one.redirect = f"rtmp://127.0.0.2:{port}/live"
        two.answer = answer("302 Found", f"Location: http://127.0.0.2:{port}/live/cam.flv")
        async with place(pulled(origin.url()), serves=False, pulls=QUICK) as edge:
            await until_error(edge, "redirected to an address nearer to us")
    assert b"GET " not in asked


async def test_pull_by_http_gives_its_password_to_its_own_server_only() -> None:
    async with http_origin(flv_answer(), ends=False) as last, http_origin() as first:
        first.answer = answer("302 Found", f"Location: {last.url()}")
        stream = pulled(first.url(login=f"user:{SECRET}@"))
        async with place(stream, serves=False) as edge:
            await until(lambda: edge.stream.is_live)
            assert SECRET not in told(edge)
    assert "Authorization: Basic" in first.requests[0]
    assert "Authorization" not in last.requests[0]


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("", "redirected more than 3 times"),
        ("ftp://127.0.0.1/x.flv", "neither http nor https"),
        ("file:///etc/passwd", "neither http nor https"),
        ("http://[::1", "redirected to what is no address"),
        ("http://h:0/", "neither http nor https"),
    ],
)
async def test_pull_by_http_redirected_wrongly_is_refused(location: str, words: str) -> None:
    async with http_origin() as origin:
        origin.answer = answer("301 Moved Permanently", f"Location: {location or origin.url()}")
        async with place(pulled(origin.url()), serves=False, pulls=QUICK) as edge:
            await until_error(edge, words)
            assert len(origin.requests) == (1 if location else 4)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (answer("404 Not Found"), "refused: the server answers 404"),
        (answer("401 Unauthorized", "WWW-Authenticate: Basic"), "the server answers 401"),
        (answer("200 OK", body=b"<!doctype html>" * 9), "garbage: not an FLV"),
        (answer("200 OK", body=b"FLV\x01\x05\xff\xff\xff\xff"), "garbage: an FLV header of"),
        (flv_answer()[:400] + b"\xff" * 5000, "garbage: "),
        (answer("200 OK", "Content-Encoding: gzip", body=b"\x1f\x8b\x08\0" * 9), "not an FLV"),
        (answer("200 OK", "Content-Length: 9999", body=b"FLV\x01"), "ended: the server closed"),
        (answer("200 OK"), "ended: the stream is over"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "unreachable: "),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", "unreachable: "),
        (flv_answer(20), "flood: it comes faster than it is to be shown"),
    ],
    ids=range(11),
)
async def test_pull_of_what_is_no_live_flv_is_told(reply: bytes, words: str) -> None:
    async with (
        http_origin(reply) as origin,
        place(pulled(origin.url()), serves=False, pulls=QUICK) as edge,
    ):
        await until_error(edge, words)


SCRIPT = b"\x12\0\xff\xff\0\0\0\0\0\0\0" + bytes(0xFFFF) + bytes(4)
UNKNOWN = b"\x1f\0\xff\xff\0\0\0\0\0\0\0" + bytes(0xFFFF) + bytes(4)
EMPTY = b"\x09\0\0\0\0\0\0\0\0\0\0" + bytes(4)


@pytest.mark.parametrize(
    ("first", "more", "words"),
    [
        (b"", SCRIPT, "silent: no media"),
        (b"", UNKNOWN, "silent: no media"),
        (b"", EMPTY * 1000, "silent: no media"),
        (b"\x09\xff\xff\xff\0\0\0\0\0\0\0", bytes(1 << 16), "an FLV tag of 16777215 bytes"),
        (b"\x12\xff\xff\xff\0\0\0\0\0\0\0", bytes(1 << 16), "an FLV tag of 16777215 bytes"),
        (b"\x09\x30\0\0\0\0\0\0\0\0\0", b"\x17" * (1 << 16), "garbage: "),
        (bytes(100), bytes(1 << 16), "garbage: FLV tag|silent: no media"),
    ],
    ids=["scripts", "unknown tags", "empty tags", "huge tag", "huge script", "large tags", "zeros"],
)
async def test_pull_of_what_never_ends_and_shows_nothing_is_left(
    first: bytes, more: bytes, words: str
) -> None:
    """As fast as it is taken: it ends by the clock or by what may be held, whichever is sooner."""
    sent = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer("200 OK", body=b"FLV\x01\x05\0\0\0\x09\0\0\0\0" + first))
        while True:
            writer.write(more)
            await writer.drain()
            sent += len(more)

    async with (
        listening(pour) as port,
        place(pulled(f"http://127.0.0.1:{port}/a.flv"), serves=False, pulls=QUICK) as edge,
    ):
        await until(lambda: re.search(words, last_error(edge)))
        assert not edge.stream.is_live
        assert sent > 0


async def test_pull_by_rtmp_from_a_web_server_is_told() -> None:
    async with (
        http_origin(answer("400 Bad Request")) as origin,
        place(pulled(f"rtmp://127.0.0.1:{origin.port}/a/b"), serves=False, pulls=QUICK) as edge,
    ):
        await until(lambda: last_error(edge))
        assert last_error(edge).startswith(("garbage: the server's first byte", "silent"))


async def test_pull_gives_way_to_who_publishes_here_and_comes_back() -> None:
    async with place() as origin, filming(origin):
        stream = pulled(origin.url(), on_demand=True, on_demand_close_us=50_000)
        async with place(stream, serves=False) as edge:
            async with filming(edge), watching(edge) as viewer:
                await until(lambda: viewer.units)
                assert not edge.pulls
            async with watching(edge):
                await until(lambda: edge.pulls and edge.stream.is_live)


async def test_pull_taken_over_by_a_publisher_ends_and_waits() -> None:
    async with place() as origin, filming(origin), place(pulled(origin.url())) as edge:
        await until(lambda: edge.stream.is_live)
        async with edge.hub.publish(CAM, "test#1", takeover=True):
            await until(lambda: not edge.pulls)
            assert last_error(edge).startswith("taken-over: ")
        await until(lambda: edge.stream.is_live)


async def test_pull_kicked_by_the_operator_starts_anew() -> None:
    async with place() as origin, filming(origin), place(pulled(origin.url())) as edge:
        await until(lambda: edge.stream.is_live)
        first = edge.pulls[0]
        assert first.kick is not None
        first.kick()
        await until(lambda: edge.pulls and edge.pulls[0] is not first and edge.stream.is_live)
        assert last_error(edge) == "kicked: ended by the operator"


async def test_pull_reloaded_fetches_what_changed_and_leaves_the_rest() -> None:
    async with place() as origin, filming(origin), filming(origin, "live/other"):
        stay, move = pulled(origin.url()), pulled(origin.url(), "live/b")
        async with place(stay, move, serves=False) as edge:
            await until(lambda: edge.stream.is_live and edge.hub.find("live/b").is_live)
            before = {session.id for session in edge.pulls if session.stream == CAM}
            service = edge.service(PullService)
            moved = pulled(origin.url("live/other"), "live/b")
            assert service.reload(Settings(), (stay, moved)) == []
            await until(lambda: any(one.stream == "live/other" for one in origin.players))
            await until(lambda: edge.hub.find("live/b").is_live)
            assert service.reload(QUICK, (stay,)) == []
            assert "live/b" not in edge.hub.streams
            assert {session.id for session in edge.pulls if session.stream == CAM} == before
            unreadable = Settings(ca="/nowhere.pem")
            assert service.reload(unreadable, (stay,)) == ["pull"]


async def test_pull_reloaded_is_as_patient_as_it_says_from_the_next_connection_on() -> None:
    async with rtmp_origin(media=1) as origin:
        stream = pulled(origin.url())
        patient = Settings(silence_us=60_000_000)
        async with place(stream, serves=False, pulls=patient) as edge:
            await until(lambda: edge.pulls and edge.stream.is_live)
            assert edge.service(PullService).reload(QUICK, (stream,)) == []
            assert edge.pulls[0].kick is not None
            edge.pulls[0].kick()
            await until_error(edge, "no media for 0.4 s")


async def test_pull_by_tls_checks_the_certificate_unless_told_otherwise(
    certificate: tuple[str, str],
) -> None:
    served = TlsSettings(("127.0.0.1:0",), *certificate)
    async with place(tls=served) as origin, filming(origin):
        stream = pulled(origin.url(form="rtmps").replace("127.0.0.1", "localhost"))
        async with place(stream, serves=False) as edge:
            await until_error(edge, "certificate verify failed")
        for settings in (Settings(ca=certificate[0]), Settings(insecure=True)):
            async with place(stream, serves=False, pulls=settings) as edge:
                await until(lambda: edge.stream.is_live)


@pytest.mark.parametrize("form", ["rtmp", "http"])
async def test_pull_looks_its_servers_name_up_anew_each_time(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first time it is nobody's address, then the server's."""

    async def lookup(host: str, port: int, **more: Any) -> list[tuple[Any, ...]]:
        if host != "origin.local":
            return await getaddrinfo(host, port, **more)
        asked.append(host)
        address = "127.0.0.9" if len(asked) == 1 else "127.0.0.1"
        return await getaddrinfo(address, port, **more)

    asked: list[str] = []
    loop = asyncio.get_running_loop()
    getaddrinfo = loop.getaddrinfo
    monkeypatch.setattr(loop, "getaddrinfo", lookup)
    async with place() as origin, filming(origin):
        url = origin.url(form=form).replace("127.0.0.1", "origin.local")
        async with place(pulled(url), serves=False) as edge:
            await until(lambda: edge.stream.is_live)
            assert last_error(edge).startswith("unreachable: ")
