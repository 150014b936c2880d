"""The HLS addresses over real HTTP: what viewers get, when, and what hostile ones do not."""

from __future__ import annotations

import asyncio
import logging
import re
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from container_samples import avc_track
from hls_site import (
    AUDIO,
    LONG,
    VIDEO,
    Client,
    HeldClock,
    HlsSite,
    Reply,
    copied,
    hls_site,
    published,
    turns,
    units,
    write_all,
    write_in_turns,
)
from playlist_linter import lint_media, lint_multivariant, lint_segments, read_media

from appliance.hub.access import AuthSettings, Policy
from appliance.hub.accounts import Account, Accounts, Action, digest_key, make_key
from appliance.hub.stream import Limits
from appliance.media.g711 import G711Config
from appliance.media.track import Codec, Track
from appliance.media.unit import AccessUnit
from appliance.services.hls import HlsFormat, Settings
from appliance.services.hls.service import IDLE_US, OVER_US

MASTER = "/live/camera.m3u8"
FMP4 = "/live/camera.hls/fmp4.m3u8"
TS = "/live/camera.hls/ts.m3u8"
KEYED = AuthSettings(play=Policy.KEY)


@asynccontextmanager
async def keyed_site(folder: Path) -> AsyncIterator[tuple[HlsSite, str]]:
    """A device that plays only to those with a key; the key of a user."""
    key = make_key()
    account = Account("viewer", frozenset({Action.PLAY}), key_digest=digest_key(key))
    Accounts(folder).add(account)
    async with hls_site(auth=KEYED, state_dir=folder) as site, published(site):
        yield site, key


# -- the addresses -----------------------------------------------------------------------------


@pytest.mark.parametrize("tracks", [(VIDEO, AUDIO), (VIDEO,), (AUDIO,)])
@pytest.mark.parametrize("format", ["fmp4", "ts"])
async def test_playlists_and_segments_are_faultless(tracks: tuple[Track, ...], format: str) -> None:
    async with hls_site() as site, published(site, tracks=tracks):
        master = await site.get(f"{MASTER}?format={format}")
        child = f"/live/camera.hls/{format}.m3u8"
        assert master.text.rstrip().endswith(f"camera.hls/{format}.m3u8")
        media = await site.get(child)
        assert lint_media(media.text) == []
        files = await site.files(media.text)
        assert lint_segments(media.text, files) == []
        durations = {s.uri: s.extinf_s for s in read_media(media.text).segments}
        bps = [len(files[uri]) * 8 / duration_s for uri, duration_s in durations.items()]
        assert lint_multivariant(master.text, segment_bps=bps) == []


async def test_multivariant_describes_the_stream() -> None:
    async with hls_site() as site, published(site):
        text = (await site.get(MASTER)).text
        config = VIDEO.config
        assert f'CODECS="{config.rfc6381},mp4a.40.2"' in text
        assert f"RESOLUTION={config.width_px}x{config.height_px}" in text
        assert "FRAME-RATE=25.000" in text


@pytest.mark.parametrize(("format", "is_turned"), [("fmp4", True), ("ts", False)])
async def test_multivariant_resolution_is_that_of_the_shown_picture(
    format: str, is_turned: bool
) -> None:
    """Players turn the picture as fMP4 tells them; MPEG-TS cannot tell."""
    tracks = (replace(VIDEO, rotation_deg=90), AUDIO)
    sides = [VIDEO.config.width_px, VIDEO.config.height_px]
    assert sides[0] != sides[1]
    async with hls_site() as site, published(site, tracks=tracks):
        text = (await site.get(f"{MASTER}?format={format}")).text
    shown = reversed(sides) if is_turned else sides
    assert f"RESOLUTION={'x'.join(map(str, shown))}" in text


@pytest.mark.parametrize("public", [False, True])
async def test_replies_have_the_right_types_and_cache_rules(public: bool) -> None:
    async with hls_site(Settings(public=public)) as site, published(site):
        playlist = await site.get(FMP4)
        media = read_media(playlist.text)
        replies = {
            "application/vnd.apple.mpegurl": [await site.get(MASTER), playlist, await site.get(TS)],
            "video/mp4": [
                await site.get(f"/live/camera.hls/{media.segments[0].uri}"),
                await site.get(f"/live/camera.hls/{media.segments[0].map_uri}"),
            ],
            "video/mp2t": [
                await site.get(
                    f"/live/camera.hls/{read_media((await site.get(TS)).text).segments[0].uri}"
                )
            ],
        }
        for content_type, several in replies.items():
            for reply in several:
                assert reply.status == 200
                assert reply.headers["content-type"] == content_type
                origin = reply.headers.get("access-control-allow-origin")
                assert origin == ("*" if public else None)
                assert "access-control-allow-credentials" not in reply.headers
                assert reply.headers["x-content-type-options"] == "nosniff"
                assert "set-cookie" not in reply.headers
                is_playlist = "mpegurl" in content_type
                kept = "public, max-age=60" if public else "private, max-age=60"
                cache = "no-cache" if is_playlist else kept
                assert reply.headers["cache-control"] == cache


async def test_format_follows_the_setting_unless_it_is_asked_for() -> None:
    async with hls_site(Settings(format=HlsFormat.TS)) as site, published(site):
        assert "camera.hls/ts.m3u8" in (await site.get(MASTER)).text
        assert "camera.hls/fmp4.m3u8" in (await site.get(f"{MASTER}?format=fmp4")).text
        assert (await site.get(f"{MASTER}?format=mkv")).status == 400


async def test_name_with_a_colon_makes_a_reference_that_is_no_scheme() -> None:
    async with hls_site() as site, published(site, "239.1.1.1:1234"):
        text = (await site.get("/239.1.1.1:1234.m3u8")).text
        assert text.rstrip().endswith("\n./239.1.1.1:1234.hls/fmp4.m3u8")
        assert lint_multivariant(text) == []


async def test_head_tells_what_get_would_send() -> None:
    async with hls_site() as site, published(site):
        uri = read_media((await site.get(FMP4)).text).segments[0].uri
        client = site.client()
        for target in (MASTER, FMP4, f"/live/camera.hls/{uri}"):
            got = await client.get(target)
            head = await client.get(target, method="HEAD")
            assert (head.status, head.body) == (200, b"")
            assert head.headers["content-length"] == str(len(got.body))


@pytest.mark.parametrize("what", ["playlist", "segment"])
async def test_ranges_are_served_as_rfc_9110_asks(what: str) -> None:
    async with hls_site() as site, published(site, size_bytes=9000):
        uri = read_media((await site.get(FMP4)).text).segments[0].uri
        target = FMP4 if what == "playlist" else f"/live/camera.hls/{uri}"
        client = site.client()
        body = (await client.get(target)).body
        size = len(body)
        for value, status, part in (
            ("bytes=0-", 206, body),
            ("bytes=0-0", 206, body[:1]),
            ("bytes=10-19", 206, body[10:20]),
            (f"bytes=5-{size * 2}", 206, body[5:]),
            ("bytes=-1", 206, body[-1:]),
            (f"bytes=-{size * 2}", 206, body),
            (f"bytes={size}-", 416, b""),
            ("bytes=-0", 416, b""),
            ("bytes=9-1", 200, body),
            ("bytes=0-0,2-3", 200, body),
            ("bytes=" + ",".join(["0-0"] * 1000), 200, body),
            ("bytes=٣-", 200, body),
            ("bytes=-", 200, body),
            ("bytes=" + "9" * 400 + "-", 200, body),
            ("lines=0-1", 200, body),
            ("bytes=0x1-2", 200, body),
        ):
            for _ in range(2):  # the second takes the short way, if there is one
                field = f"Range: {value}".encode()
                head = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode()
                reply = await client.send(head + field + b"\r\n\r\n")
                assert (reply.status, reply.body) == (status, part), value[:40]
            if status == 206:
                start = body.find(part) if len(part) > 1 else int(value == "bytes=-1") * (size - 1)
                expected = f"bytes {start}-{start + len(part) - 1}/{size}"
                assert reply.headers["content-range"] == expected
            elif status == 416:
                assert reply.headers["content-range"] == f"bytes */{size}"


async def test_range_with_a_validator_we_never_gave_gets_everything() -> None:
    async with hls_site() as site, published(site):
        client = site.client()
        for _ in range(2):
            reply = await client.get(FMP4, "Range: bytes=0-9", 'If-Range: "x"')
            assert reply.status == 200 and len(reply.body) > 100


# -- waiting -----------------------------------------------------------------------------------


async def test_request_before_the_first_segment_waits_for_it() -> None:
    async with hls_site() as site, site.hub.publish("live/camera", "test#1") as publisher:
        what = units((VIDEO, AUDIO), 4_000_000)
        publisher.describe((VIDEO, AUDIO))
        for unit in what[:30]:
            publisher.write(copied(unit))
        waiting = asyncio.create_task(site.get(FMP4))
        await asyncio.wait({waiting}, timeout=0.3)
        assert not waiting.done()
        for unit in what[30:]:
            publisher.write(copied(unit))
        reply = await waiting
        assert reply.status == 200 and "fmp4-" in reply.text


async def test_request_for_a_stream_without_media_waits_no_longer_than_it_should() -> None:
    settings = Settings(segment_us=100_000)
    async with hls_site(settings) as site, site.hub.publish("live/camera", "test#1") as publisher:
        publisher.describe((VIDEO,))
        reply = await site.get(MASTER)
        assert reply.status == 503
        assert reply.headers["retry-after"] == "2"


async def test_on_demand_source_is_started_by_the_request_and_ended_after_it() -> None:
    clock = HeldClock()
    async with hls_site(clock=clock) as site:
        stream = site.hub.declare("live/camera")
        waiting = asyncio.create_task(site.get(MASTER))
        async with asyncio.timeout(5):
            await stream.demand.wait_wanted()
        async with published(site):
            assert (await waiting).status == 200
            clock.advance(IDLE_US)
            site.hls.sweep()
            await turns()
            assert stream.demand.viewers == 0
            assert not site.hls.feeds


async def test_feed_is_kept_while_somebody_asks() -> None:
    clock = HeldClock()
    async with hls_site(clock=clock) as site, published(site):
        client = site.client()
        for _ in range(5):
            assert (await client.get(FMP4)).status == 200
            clock.advance(IDLE_US - 1)
            site.hls.sweep()
        rendition = site.hub.streams["live/camera"].renditions["fmp4"]
        assert rendition.demand.viewers == 1


async def test_numbers_go_on_after_nobody_watched_for_a_while() -> None:
    clock = HeldClock()
    async with hls_site(clock=clock) as site, published(site):
        before = read_media((await site.get(FMP4)).text)
        clock.advance(IDLE_US)
        site.hls.sweep()
        await turns()
        after = read_media((await site.get(FMP4)).text)
        assert after.msn > before.msn + len(before.segments) - 1


async def test_ended_stream_says_so_and_is_gone_later() -> None:
    clock = HeldClock()
    async with hls_site(clock=clock, limits=Limits(linger_us=10_000_000)) as site:
        async with published(site):
            assert not read_media((await site.get(FMP4)).text).ended
        clock.advance(9_000_000)
        site.hub.sweep()
        assert not read_media((await site.get(FMP4)).text).ended
        clock.advance(2_000_000)
        site.hub.sweep()
        await turns()
        last = await site.get(FMP4)
        media = read_media(last.text)
        assert media.ended
        assert sum(s.extinf_s for s in media.segments) == pytest.approx(8, abs=0.1)
        assert set(await site.files(last.text))
        clock.advance(OVER_US)
        site.hls.sweep()
        assert (await site.get(FMP4)).status == 404


async def test_stream_that_comes_back_under_its_name_is_served_afresh() -> None:
    clock = HeldClock()
    async with hls_site(clock=clock) as site:
        async with published(site):
            before = read_media((await site.get(FMP4)).text)
        clock.advance(20_000_000)
        site.hub.sweep()
        async with published(site):
            after = read_media((await site.get(FMP4)).text)
        assert not after.ended
        assert after.msn >= before.msn + len(before.segments)


async def test_tracks_that_hls_cannot_carry_are_refused_with_a_reason() -> None:
    track = Track(1, G711Config(Codec.PCMA))
    async with hls_site() as site, site.hub.publish("live/camera", "test#1") as publisher:
        publisher.describe((track,))
        publisher.write(AccessUnit(track, 0, 0, True, (b"x" * 160,)))
        for _ in range(2):
            reply = await site.get(MASTER)
            assert reply.status == 415
            assert "pcma" in reply.text


async def test_new_parameter_sets_make_a_new_map_and_a_discontinuity() -> None:
    other = avc_track("high_1080p50")
    async with hls_site() as site, published(site, tracks=(VIDEO,)) as publisher:
        await site.get(FMP4)
        publisher.describe((other,))
        await write_in_turns(publisher, units((other,), 6_000_000), 8_000_000)
        reply = await site.get(FMP4)
        media = read_media(reply.text)
        assert [s.discontinuity for s in media.segments].count(True) == 1
        assert len({segment.map_uri for segment in media.segments}) == 2
        assert lint_media(reply.text) == []
        assert lint_segments(reply.text, await site.files(reply.text)) == []


# -- who may -----------------------------------------------------------------------------------


async def test_viewer_with_a_key_gets_a_token_into_every_address(tmp_path: Path) -> None:
    async with keyed_site(tmp_path) as (site, key):
        assert (await site.get(MASTER)).status == 401
        assert (await site.get(FMP4)).status == 401
        master = await site.get(f"{MASTER}?key={key}")
        child = re.findall(r"^camera\.hls/(fmp4\.m3u8\?t=\S+)$", master.text, re.MULTILINE)[0]
        assert master.headers["cache-control"] == "no-store"
        media = await site.get(f"/live/camera.hls/{child}")
        assert media.status == 200
        assert lint_media(media.text) == []
        token = child.partition("?")[2]
        assert all(s.uri.endswith(f"?{token}") for s in read_media(media.text).segments)
        assert await site.files(media.text)
        assert key not in master.text + media.text


@pytest.mark.parametrize("how", ["basic", "bearer", "query"])
async def test_key_is_taken_however_it_comes(tmp_path: Path, how: str) -> None:
    async with keyed_site(tmp_path) as (site, key):
        fields = {
            "basic": f"Authorization: Basic {b64encode(f'any:{key}'.encode()).decode()}",
            "bearer": f"Authorization: Bearer {key}",
            "query": "X-Nothing: 1",
        }
        target = f"{FMP4}?key={key}" if how == "query" else FMP4
        assert (await site.get(target, fields[how])).status == 200


async def test_cookie_serves_players_that_drop_the_query(tmp_path: Path) -> None:
    async with keyed_site(tmp_path) as (site, key):
        master = await site.get(f"{MASTER}?key={key}")
        cookie = master.headers["set-cookie"]
        pair, *attributes = cookie.split("; ")
        assert "HttpOnly" in attributes and "SameSite=Strict" in attributes
        assert "Path=/live/camera.hls/" in attributes
        assert "Secure" not in attributes
        client = site.client()
        for _ in range(3):
            media = await client.get(FMP4, f"Cookie: other=1; {pair}")
            assert media.status == 200
            assert "?t=" not in media.text
        assert (await site.get(FMP4, "Cookie: porthole_hls=x")).status == 401


async def test_token_is_good_for_its_stream_alone_and_not_for_the_master(tmp_path: Path) -> None:
    async with keyed_site(tmp_path) as (site, key), published(site, "live/other"):
        child = (await site.get(f"{MASTER}?key={key}")).text.rstrip().rpartition("?")[2]
        assert (await site.get(f"{FMP4}?{child}")).status == 200
        assert (await site.get(f"/live/other.hls/fmp4.m3u8?{child}")).status == 401
        assert (await site.get(f"{FMP4}?{child}x")).status == 401


async def test_token_ends_with_its_account(tmp_path: Path) -> None:
    async with keyed_site(tmp_path) as (site, key):
        child = (await site.get(f"{MASTER}?key={key}")).text.rstrip().rpartition("?")[2]
        assert (await site.get(f"{FMP4}?{child}")).status == 200
        accounts = Accounts(tmp_path)
        accounts.remove("viewer")
        site.hls._access.reload()
        assert (await site.get(f"{FMP4}?{child}")).status == 401
        again = Account("viewer", frozenset({Action.PLAY}), key_digest=digest_key(make_key()))
        accounts.add(again)
        site.hls._access.reload()
        assert (await site.get(f"{FMP4}?{child}")).status == 401


async def test_token_and_key_are_never_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with keyed_site(tmp_path) as (site, key):
        token = (await site.get(f"{MASTER}?key={key}")).text.rstrip().rpartition("?t=")[2]
        media = await site.get(f"{FMP4}?t={token}")
        await site.files(media.text)
        await site.get(f"/live/none.m3u8?t={token}&key={key}")
        await site.get(f"{MASTER}?t={token}&format=x&key={key}")
        sessions = site.sessions.active.values()
        logged = [str(getattr(one, name)) for one in sessions for name in one.__slots__]
    assert token not in caplog.text + "".join(logged)
    assert key not in caplog.text + "".join(logged)


async def test_operator_ends_a_viewer() -> None:
    async with hls_site() as site, published(site):
        client = site.client()
        assert (await client.get(FMP4, "User-Agent: bad")).status == 200
        (session,) = site.sessions.active.values()
        assert session.kick is not None
        session.kick()
        assert (await client.get(FMP4, "User-Agent: bad")).status == 403
        assert (await site.get(FMP4, "User-Agent: good")).status == 200


async def test_short_way_ends_with_new_settings() -> None:
    async with hls_site() as site, published(site):
        client = site.client()
        assert (await client.get(FMP4)).status == 200
        assert site.hls.reload(Settings(), ()) == []
        assert (await client.get(FMP4)).status == 200


# -- hostile viewers (hostile-inputs 3.4) ------------------------------------------------------


async def test_flood_of_one_shot_requests_leaves_bounded_tables() -> None:
    """S1, with a tenth of the requests: the table itself is tested with 20 000."""
    async with hls_site() as site, published(site):
        clients = [site.client() for _ in range(20)]

        async def flood(client: Client, first: int) -> None:
            for number in range(first, first + 100):
                reply = await client.get(MASTER, f"User-Agent: agent {number}")
                assert reply.status == 200

        await asyncio.gather(*(flood(c, n * 1000) for n, c in enumerate(clients)))
        assert len(site.sessions.active) <= 256
        assert len(site.hls.feeds) == 1
        assert len(site.hub.streams) == 1


async def test_queries_make_no_new_objects() -> None:
    """S2"""
    async with hls_site() as site, published(site):
        client = site.client()
        first = await client.get(FMP4)
        for number in range(300):
            assert (await client.get(f"{FMP4}?a={number}")).body == first.body
        assert len(site.hls.feeds) == 1
        assert len(site.hub.streams["live/camera"].renditions) == 1


async def test_names_that_nobody_publishes_are_404_at_once_and_make_nothing() -> None:
    """S6"""
    async with hls_site() as site:
        client = site.client()
        for number in range(300):
            assert (await client.get(f"/live/none{number}.m3u8")).status == 404
            assert (await client.get(f"/live/none{number}.hls/fmp4.m3u8")).status == 404
            assert (await client.get(f"/live/none{number}.hls/fmp4-1.m4s")).status == 404
        assert not site.hls.feeds and not site.hub.streams and not site.sessions.active
        assert not site.hls._numberings


@pytest.mark.parametrize(
    "leaf",
    [
        "fmp4-1.m4s", "fmp4-.m4s", "fmp4--1.m4s", "fmp4-99999999999999999999.m4s", "ts-1.ts",
        "fmp4-%EF%BC%91.m4s", "x", "fmp4", "fmp4.m3u8x", "fmp4-init-0.mp4", "ts.m3u8.", "fmp4-1.ts",
    ],
)  # fmt: skip
async def test_segment_that_is_not_there_is_404(leaf: str) -> None:
    """S5"""
    async with hls_site() as site, published(site):
        client = site.client()
        assert (await client.get(FMP4)).status == 200
        assert (await client.get(f"/live/camera.hls/{leaf}")).status == 404


@pytest.mark.parametrize(
    "target",
    [
        "/live/camera.hls/../secret", "/live/camera.hls/..%2f..%2fetc/passwd", "/.m3u8",
        "/live/.m3u8", "/live/%00.m3u8", "/a/b/c/d/e.m3u8", f"/{'x' * 300}.m3u8",
        "/live//camera.m3u8", "/live/$(id).m3u8", "/live/cam%0d%0aera.m3u8", "/live/<b>.m3u8",
        "/live/camera.m3u8.m3u8", "/.hls/fmp4.m3u8", "/live/-rf.m3u8", "/live/%ff%fe.m3u8",
    ],
)  # fmt: skip
async def test_hostile_names_are_refused(target: str) -> None:
    async with hls_site() as site, published(site):
        reply = await site.get(target)
        assert reply.status in {400, 404}
        assert not site.hls.feeds


async def test_segment_that_just_expired_is_404_later_and_never_500() -> None:
    """S5"""
    async with hls_site(Settings(window_us=6_000_000)) as site, published(site) as publisher:
        client = site.client()
        first = read_media((await client.get(FMP4)).text).segments[0].uri
        statuses: list[int] = []
        for round_number in range(1, 8):
            by_us = 6_000_000 + round_number * 2_000_000
            await write_in_turns(publisher, units((VIDEO, AUDIO), 2_000_000), by_us)
            statuses.append((await client.get(f"/live/camera.hls/{first}")).status)
        assert statuses == sorted(statuses)
        assert set(statuses) == {200, 404}


@pytest.mark.parametrize(
    ("tracks", "gop_us", "longest_s"),
    [
        ((VIDEO, AUDIO), 10_000_000, 10),
        ((VIDEO, AUDIO), 40_000, 2),
        ((AUDIO,), 2_000_000, 2.2),
    ],
    ids=["10 s GOP", "keyframe each frame", "audio only"],
)
async def test_odd_keyframe_intervals_make_bounded_segments(
    tracks: tuple[Track, ...], gop_us: int, longest_s: float
) -> None:
    """S7"""
    async with (
        hls_site(limits=LONG) as site,
        published(site, tracks=tracks, duration_us=35_000_000, gop_us=gop_us),
    ):
        reply = await site.get(FMP4)
        assert lint_media(reply.text) == []
        media = read_media(reply.text)
        assert max(segment.extinf_s for segment in media.segments) <= longest_s
        assert media.duration_s >= 19


async def test_source_whose_keyframes_stop_is_cut_at_the_cap() -> None:
    """S7"""
    async with hls_site(limits=LONG) as site, site.hub.publish("live/camera", "t#1") as publisher:
        what = units((VIDEO,), 45_000_000, gop_us=0)
        what[0].key = True
        write_all(publisher, (VIDEO,), what)
        media = read_media((await site.get(FMP4)).text)
        assert {segment.extinf_s for segment in media.segments} == {10.0}
        assert media.target_s == 10
        assert not media.independent


async def test_source_without_any_keyframe_is_not_waited_for_without_end() -> None:
    """S7"""
    settings = Settings(segment_us=100_000)
    async with hls_site(settings) as site, site.hub.publish("live/camera", "t#1") as publisher:
        what = units((VIDEO,), 15_000_000, gop_us=0)
        write_all(publisher, (VIDEO,), what)
        assert (await site.get(MASTER)).status == 503


async def test_crowd_that_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.services.hls.service.MAX_WAITERS", 3)
    settings = Settings(segment_us=200_000)
    async with hls_site(settings) as site, site.hub.publish("live/camera", "t#1") as publisher:
        publisher.describe((VIDEO,))
        replies: list[Reply] = await asyncio.gather(*(site.get(MASTER) for _ in range(8)))
        refused = [reply for reply in replies if "too many viewers" in reply.text]
        assert len(refused) == 5
        assert all(reply.status == 503 for reply in replies)


async def test_players_that_ask_for_ts_in_the_name_get_it() -> None:
    async with hls_site() as site, published(site):
        reply = await site.get("/live/camera.ts.m3u8")
        assert "\ncamera.hls/ts.m3u8\n" in reply.text
        assert lint_media((await site.get(TS)).text) == []
        assert (await site.get("/live/camera.ts.ts.m3u8")).status == 400
