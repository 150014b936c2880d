"""FLV, MPEG-TS and AAC over HTTP: who gets what, from where on, and how it ends."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from pathlib import Path

import pytest
from container_samples import hevc_track, opus_track
from live_site import AUDIO, NAME, VIDEO, LiveSite, Show, live_site, until

from appliance.containers.flv_demuxer import FlvDemuxer
from appliance.containers.mpegts_demuxer import MpegTsDemuxer
from appliance.hub.access import AuthSettings, Policy
from appliance.media.mp3 import Mp3Config
from appliance.media.track import Track
from appliance.media.unit import AccessUnit
from appliance.net.fanout_pool import Latency
from appliance.services.contract import StreamSettings
from appliance.services.httpflv import Settings, service

MARK = re.compile(rb"<(\d{6})>")


def seen(body: bytes) -> list[int]:
    """The numbers of the units in it, each as often as it is there."""
    return [int(number) for number in MARK.findall(body)]


async def read_all(site: LiveSite, target: str, show: Show, count: int = 5) -> bytes:
    """What a viewer gets that joins now, sees `count` more and then the end of the stream."""
    viewer = await site.get(target)
    assert viewer.status == 200
    await until(lambda: site.live._watching)
    show.write(count)
    site.hub.remove(NAME)
    return await viewer.rest()


@pytest.mark.parametrize(
    ("tracks", "query", "flags"),
    [
        ((VIDEO, AUDIO), "", 5),
        ((VIDEO,), "", 1),
        ((AUDIO,), "", 4),
        ((VIDEO, AUDIO), "?audio=0", 1),
        ((VIDEO, AUDIO), "?video=off", 4),
    ],
)
async def test_flv_says_in_its_flags_what_it_holds(
    tracks: tuple[Track, ...], query: str, flags: int
) -> None:
    async with live_site() as site:
        show = site.publish(*tracks)
        show.write(12)
        body = await read_all(site, f"/{NAME}.flv{query}", show)
        assert body[:5] == b"FLV\x01" + bytes((flags,))
        events = FlvDemuxer().receive(body)
        kinds = {str(e.track.kind) for e in events if isinstance(e, AccessUnit)}
        assert kinds == {"video": {"video"}, "audio": {"audio"}}.get(
            {1: "video", 4: "audio"}.get(flags, ""), {"video", "audio"}
        )
        await site.gone()


async def test_flv_begins_with_the_newest_keyframe_at_once() -> None:
    async with live_site() as site:
        show = site.publish(VIDEO)
        show.write(25)
        viewer = await site.get(f"/{NAME}.flv")
        assert viewer.headers["content-type"] == "video/x-flv"
        assert viewer.headers["connection"] == "close"
        assert seen(await viewer.read_to(b"<000024>")) == [20, 21, 22, 23, 24]


async def test_flv_of_start_live_begins_with_the_next_keyframe() -> None:
    async with live_site() as site:
        show = site.publish(VIDEO)
        show.write(25)
        assert seen(await read_all(site, f"/{NAME}.flv?start=live", show, 8)) == [30, 31, 32]


async def test_sound_alone_of_start_live_begins_with_the_next_sound() -> None:
    async with live_site() as site:
        show = site.publish(AUDIO)
        show.write(25)
        body = await read_all(site, f"/{NAME}.aac?start=live", show, 3)
        assert seen(body) == [25, 26, 27]
        assert body[:2] == b"\xff\xf1"


async def test_mp3_is_given_as_it_is() -> None:
    async with live_site() as site:
        track = Track(2, Mp3Config.from_frame(b"\xff\xfb\x90\x64"))
        show = site.publish(VIDEO, track)
        show.write(25)
        body = await read_all(site, f"/{NAME}.mp3?start=live", show, 3)
        assert body == b"\x21<000025>\x21<000026>\x21<000027>"


async def test_viewer_before_the_publisher_has_its_head_and_misses_nothing() -> None:
    async with live_site() as site:
        viewer = await site.get(f"/{NAME}.flv")
        assert viewer.status == 200
        (session,) = site.sessions()
        assert session.stream == NAME
        site.publish(VIDEO).write(23)
        assert seen(await viewer.read_to(b"<000022>")) == list(range(23))


async def test_viewer_of_a_stream_whose_publisher_left_gets_the_next_one_from_its_start() -> None:
    async with live_site() as site:
        first = site.publish(VIDEO)
        first.write(5)
        first.publisher.close()
        viewer = await site.get(f"/{NAME}.flv")
        second = site.publish(VIDEO)
        second.write(3)
        body = await viewer.read_to(b"<000002>")
        assert seen(body) == [0, 1, 2]


async def test_viewer_whom_nobody_publishes_for_is_ended_after_the_wait() -> None:
    async with live_site(Settings(wait_us=50_000)) as site:
        viewer = await site.get("/live/nobody.flv")
        assert viewer.status == 200
        assert await viewer.rest() == b""
        assert site.context.faults.counts["live", "nothing to show"] == 1
        await site.gone()


@pytest.mark.parametrize(
    ("target", "status", "words"),
    [
        (f"/{NAME}.flv?video=0&audio=0", 400, "neither sound nor picture"),
        (f"/{NAME}.aac?audio=0", 400, "neither"),
        (f"/{NAME}.flv?start=yesterday", 400, "gop or live"),
        (f"/{NAME}.flv?latency=none", 400, "low, normal or dense"),
        (f"/{NAME}.flv?start=%ff", 400, ""),
        ("/.flv", 400, ""),
        ("/live/%00.flv", 400, ""),
    ],
)
async def test_request_that_makes_no_sense_is_refused_with_a_sentence(
    target: str, status: int, words: str
) -> None:
    async with live_site() as site:
        viewer = await site.get(target)
        assert viewer.status == status
        assert words in (await viewer.read(int(viewer.headers["content-length"]))).decode()
        assert not site.sessions()


async def test_form_that_cannot_carry_the_stream_is_refused_by_its_status() -> None:
    async with live_site() as site:
        site.publish(VIDEO, opus_track()).write()
        assert (await site.get(f"/{NAME}.aac")).status == 415
        assert (await site.get(f"/{NAME}.mp3")).status == 415
        assert (await site.get(f"/{NAME}.flv")).status == 200


async def test_head_is_answered_without_a_session() -> None:
    async with live_site() as site:
        viewer = await site.get(f"/{NAME}.ts", method="HEAD")
        assert viewer.status == 200
        assert viewer.headers["content-type"] == "video/mp2t"
        assert not site.sessions()


@pytest.mark.parametrize("public", [False, True])
async def test_other_sites_may_read_only_what_is_public(public: bool) -> None:
    async with live_site(Settings(public=public)) as site:
        site.publish().write()
        for method in ("GET", "HEAD"):
            viewer = await site.get(f"/{NAME}.flv", "Origin: http://evil.example", method=method)
            assert viewer.status == 200
            assert viewer.headers.get("access-control-allow-origin") == ("*" if public else None)
        options = await site.get(f"/{NAME}.flv", method="OPTIONS")
        assert options.status == 204
        assert options.headers["allow"] == "GET, HEAD, OPTIONS"
        assert "access-control-allow-methods" not in options.headers


async def test_session_shows_who_watches_and_counts() -> None:
    async with live_site() as site:
        show = site.publish(size_bytes=5000)
        show.write(3)
        viewer = await site.get(
            f"/{NAME}.flv?key=secret", "User-Agent: test/1", "Referer: http://a/"
        )
        await viewer.read(9000)
        (session,) = site.sessions()
        assert (session.proto, session.kind, session.stream) == ("flv", "flv-play", NAME)
        assert (session.url, session.user_agent) == (f"/{NAME}.flv", "test/1")
        assert session.page_url == "http://a/"
        await until(lambda: session.sent.total_bytes > 9000)
        assert site.hub.streams[NAME].demand.viewers == 1
        viewer.close()
        await site.gone()
        assert site.hub.streams[NAME].demand.viewers == 0
        assert site.context.sessions.sent_bytes(NAME) > 9000


async def test_session_that_is_kicked_ends() -> None:
    async with live_site() as site:
        site.publish().write(3)
        viewer = await site.get(f"/{NAME}.flv")
        (session,) = site.sessions()
        assert session.kick is not None
        session.kick()
        with pytest.raises(ConnectionResetError):
            await viewer.rest()
        await site.gone()


async def test_viewers_beyond_the_limit_are_told_to_come_back() -> None:
    async with live_site(Settings(viewers=2)) as site:
        site.publish().write()
        viewers = [await site.get(f"/{NAME}.flv") for _ in range(3)]
        assert [viewer.status for viewer in viewers] == [200, 200, 503]
        viewers[0].close()
        await until(lambda: len(site.sessions()) == 1)
        assert (await site.get(f"/{NAME}.ts")).status == 200


async def test_viewer_whose_account_is_removed_is_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(service, "CHECK_S", 0.02)
    async with live_site(auth=AuthSettings(play=Policy.KEY), state_dir=tmp_path) as site:
        access = site.context.access
        key = access.make_owner()
        site.publish().write()
        assert (await site.get(f"/{NAME}.flv")).status == 401
        viewer = await site.get(f"/{NAME}.flv?key={key}")
        await viewer.read(100)
        assert access.accounts is not None
        access.accounts.remove("owner")
        await viewer.rest()
        await site.gone()


@pytest.mark.parametrize(("form", "demuxer"), [("flv", FlvDemuxer), ("ts", MpegTsDemuxer)])
async def test_tracks_that_change_are_described_anew(
    form: str, demuxer: type[FlvDemuxer] | type[MpegTsDemuxer]
) -> None:
    """A placeholder takes over and gives way again; nobody is cut off."""
    other = Track(1, hevc_track().config)
    async with live_site() as site:
        show = site.publish(VIDEO, AUDIO)
        show.write(12)
        viewer = await site.get(f"/{NAME}.{form}")
        reading = asyncio.create_task(viewer.rest())
        await until(lambda: site.live._watching)
        (watching,) = site.live._watching
        ring = site.hub.streams[NAME].renditions[f"live-{form}"].ring
        show.publisher.close()
        for tracks, placeholder, count in (((other, AUDIO), "away", 3), ((VIDEO, AUDIO), "", 11)):
            await until(lambda: watching.position >= ring.next)
            show = site.publish(*tracks, placeholder=placeholder)
            show.write(count)
            show.publisher.close()
        site.hub.remove(NAME)
        body = await reading
        events = demuxer().receive(body)
        codecs = [str(event[0].codec) for event in events if isinstance(event, tuple)]
        assert list(dict.fromkeys(codecs)) == ["h264", "h265"]
        assert codecs[-1] == "h264"
        assert body.count(b"FLV\x01") == (form == "flv")
        keys = [e.dts_us for e in events if isinstance(e, AccessUnit) and e.key]
        assert len(keys) > 4
        assert not watching.lost_units


async def test_viewer_who_stalls_is_reset_and_forgotten() -> None:
    """The others see everything; what the kernel held for the stalled one is thrown away."""
    async with live_site(Settings(stall_us=1_000_000, max_lag_us=60_000_000)) as site:
        show = site.publish(VIDEO, size_bytes=100_000)
        show.write()
        sock = socket.create_connection(("127.0.0.1", site.port))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(f"GET /{NAME}.flv HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        await until(lambda: len(site.live._watching) == 1)
        healthy = await site.get(f"/{NAME}.flv")
        for number in range(60):
            await healthy.read_to(b"<%06d>" % number)
            show.write()
        await until(lambda: len(site.sessions()) == 1)
        assert len(site.live._watching) == 1
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        with pytest.raises(ConnectionResetError):
            while await loop.sock_recv(sock, 1 << 20):
                pass
        sock.close()


async def test_viewer_who_is_slow_jumps_to_a_keyframe_and_is_told_of() -> None:
    async with live_site(Settings(max_lag_us=200_000)) as site:
        show = site.publish(VIDEO, size_bytes=60_000)
        show.write()
        viewer = await site.get(f"/{NAME}.flv")
        await viewer.read_to(b"<000000>")
        reading = viewer.writer.transport
        assert isinstance(reading, asyncio.ReadTransport)
        reading.pause_reading()
        (watching,) = site.live._watching
        while not watching.is_stuck:
            show.write()
            await asyncio.sleep(0)
        show.write(20)
        reading.resume_reading()
        while not seen(await viewer.read_to(b">")):
            pass
        await until(lambda: watching.lost_units)
        show.write(20)
        site.hub.remove(NAME)
        numbers = seen(await viewer.rest())
        gaps = [b for a, b in zip(numbers, numbers[1:], strict=False) if b != a + 1]
        assert gaps
        assert all(number % 10 == 0 for number in gaps)


async def test_viewers_who_reset_at_once_leave_nothing() -> None:
    async with live_site() as site:
        site.publish(size_bytes=50_000).write(10)
        for number in range(200):
            sock = socket.create_connection(("127.0.0.1", site.port))
            sock.sendall(f"GET /{NAME}.flv HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            if number % 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if number % 3:
                await asyncio.sleep(0)
            sock.close()
        await site.gone()
        await until(lambda: not site.server.connections)


async def test_reload_gives_newcomers_the_new_settings() -> None:
    async with live_site() as site:
        show = site.publish()
        show.write()
        viewer = await site.get(f"/{NAME}.flv")
        assert site.live.reload(Settings(), ()) == []
        assert site.live.reload(Settings(public=True), ()) == []
        other = await site.get(f"/{NAME}.flv")
        assert other.headers["access-control-allow-origin"] == "*"
        show.write()
        for each in (viewer, other):
            await each.read_to(b"<000001>")


async def test_latency_is_the_viewer_s_then_the_stream_s_then_the_service_s() -> None:
    async with live_site() as site:
        site.publish().write()
        await site.get(f"/{NAME}.flv?latency=low")
        await site.get(f"/{NAME}.flv")
        site.context.streams = (StreamSettings(NAME, latency="dense"),)
        await site.get(f"/{NAME}.flv")
        fanouts = site.live.pools["flv"].fanouts
        await until(lambda: [latency for _, latency in fanouts] == ["low", "normal", "dense"])


async def test_reload_reaches_who_watches_but_for_their_latency() -> None:
    async with live_site() as site:
        site.publish().write()
        await site.get(f"/{NAME}.flv")
        fanouts = site.live.pools["flv"].fanouts
        await until(lambda: fanouts)
        fresh = Settings(latency=Latency.LOW, stall_us=2_000_000)
        assert site.live.reload(fresh, ()) == ["live.latency (of viewers there are)"]
        (fanout,) = fanouts.values()
        assert (fanout.settings.stall_us, fanout.settings.max_interval_us) == (2_000_000, 100_000)
        await site.get(f"/{NAME}.flv")
        await until(lambda: [latency for _, latency in fanouts] == ["normal", "low"])


async def test_what_a_viewer_says_after_its_request_is_passed_over() -> None:
    async with live_site() as site:
        show = site.publish()
        show.write()
        viewer = await site.get(f"/{NAME}.flv")
        await viewer.read(100)
        for _ in range(3):
            viewer.writer.write(b"GET /\x00 nonsense\r\n\r\n" + bytes(100_000))
            await viewer.writer.drain()
        show.write(20)
        await viewer.read(1000)
        assert len(site.sessions()) == 1
        assert not site.context.faults.counts
        viewer.close()
        await site.gone()
