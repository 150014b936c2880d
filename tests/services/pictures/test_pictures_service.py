"""The service over loopback: addresses, refusals, and what viewers share."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from pictures_site import NAME, VIDEO, HandCamera, jpeg, label_of, pictures_site, until

from appliance.errors import CodecUnsupported, LimitExceeded, StreamNotFound
from appliance.hub.access import AuthSettings, Policy
from appliance.hub.cameras import PictureAsk
from appliance.services.contract import StreamSettings
from appliance.services.pictures import Settings, service

STILLS = (
    "/live/camera.jpg",
    "/live/camera.jpeg",
    "/camera.jpg",
    "/snapshot.jpg",
    "/snapshot",
    "/?action=snapshot",
    "/webcam/?action=snapshot&n=12345",
    "/api/frame.jpeg?src=camera",
    "/api/frame.jpeg?src=live/camera&h=90&cache=1s",
)
MOVING = (
    "/live/camera.mjpeg",
    "/stream",
    "/?action=stream",
    "/webcam/?action=stream",
    "/api/stream.mjpeg?src=camera",
    "/api/stream.mjpeg",
)


@pytest.mark.parametrize("target", STILLS)
async def test_pictures_still_is_found_at_every_address_users_know(target: str) -> None:
    async with pictures_site() as site:
        site.publish()
        reply = await site.get(target)
        assert reply.status == 200
        assert reply.headers["content-type"] == "image/jpeg"
        assert reply.headers["cache-control"] == "no-store"
        assert abs(float(reply.headers["x-timestamp"]) - time.time()) < 20
        assert 0 <= int(reply.headers["x-picture-age-ms"]) < 20_000
        assert label_of(reply.body) == "1"
        assert site.camera.asks == [PictureAsk(0, 80)]


@pytest.mark.parametrize("target", MOVING)
async def test_pictures_moving_are_found_at_every_address_users_know(target: str) -> None:
    async with pictures_site() as site:
        site.publish()
        watcher = await site.watch(target)
        assert watcher.status == 200
        assert watcher.headers["cache-control"] == "no-store"
        fields, body = await watcher.part()
        assert fields["content-type"] == "image/jpeg"
        assert abs(float(fields["x-timestamp"]) - time.time()) < 20
        assert body[-2:] == b"\xff\xd9"
        assert label_of(body) == "1"
        assert await watcher.label() == 2


@pytest.mark.parametrize(
    "target", ["/live/camera.jpg?width=160&quality=40", "/snapshot?w=160&quality=40"]
)
async def test_pictures_still_has_the_size_and_quality_asked_for(target: str) -> None:
    async with pictures_site() as site:
        site.publish()
        reply = await site.get(target)
        assert site.camera.asks == [PictureAsk(160, 40)]
        assert reply.body == jpeg(1, 160)


async def test_pictures_wider_than_the_stream_are_one_shape() -> None:
    async with pictures_site() as site:
        site.publish()
        for width in (4096, 4095, 2000):
            await site.get(f"/live/camera.jpg?width={width}")
        assert set(site.camera.asks) == {PictureAsk(0, 80)}


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("width=-1", "width is a whole number from 16 to 4096"),
        ("w=1000000000", "w is a whole number from 16 to 4096"),
        ("width=1e3", "width is a whole number"),
        ("width=%D9%A1%D9%A2%D9%A8", "width is a whole number"),
        ("width=", "width is a whole number"),
        ("quality=0", "quality is a whole number from 1 to 100"),
        ("quality=101", "quality is a whole number from 1 to 100"),
        ("rotate=90", "rotation in the stream's configuration"),
        ("width=%00", "width is a whole number"),
    ],
)
@pytest.mark.parametrize("path", ["/live/camera.jpg", "/live/camera.mjpeg"])
async def test_pictures_query_out_of_range_is_refused_with_the_range(
    path: str, query: str, words: str
) -> None:
    async with pictures_site() as site:
        site.publish()
        reply = await site.get(f"{path}?{query}")
        assert reply.status == 400
        assert words in reply.text
        assert site.camera.asks == []


@pytest.mark.parametrize("fps", ["0", "31", "-5", "x"])
async def test_pictures_fps_out_of_range_is_refused_with_the_range(fps: str) -> None:
    async with pictures_site() as site:
        site.publish()
        reply = await site.get(f"/live/camera.mjpeg?fps={fps}")
        assert reply.status == 400
        assert "fps is a whole number from 1 to 30" in reply.text


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/api/frame.jpeg?src=../../etc/passwd", 400),
        ("/api/frame.jpeg?src=%2e%2e%2f", 400),
        ("/api/frame.jpeg?src=nothing", 404),
        ("/live/nothing.jpg", 404),
        ("/live/nothing.mjpeg", 404),
        ("/.jpg", 400),
        ("/webcam/?action=snapshot&src=nothing", 404),
    ],
)
async def test_pictures_of_no_stream_are_refused(target: str, status: int) -> None:
    async with pictures_site() as site:
        site.publish()
        assert (await site.get(target)).status == status


@pytest.mark.parametrize("suffix", ["jpg", "mjpeg"])
async def test_pictures_of_a_stream_without_camera_are_refused_with_the_reason(suffix: str) -> None:
    async with pictures_site() as site:
        site.publish("live/obs")
        reply = await site.get(f"/live/obs.{suffix}")
        assert reply.status == 415
        assert "does not come from a camera of this device" in reply.text


async def test_pictures_without_name_are_of_the_first_camera_if_none_has_the_usual_name() -> None:
    async with pictures_site() as site:
        site.context.cameras.remove(site.camera)
        assert (await site.get("/snapshot")).status == 404
        for name in ("live/front", "live/back"):
            site.context.cameras.add(HandCamera(name))
            site.publish(name)
        assert (await site.get("/snapshot")).status == 200
        front = site.context.cameras.find("live/front")
        assert isinstance(front, HandCamera)
        assert len(front.asks) == 1


async def test_pictures_of_the_second_stream_are_asked_of_its_camera() -> None:
    streams = (StreamSettings(NAME, "pattern:"), StreamSettings("live/small", "camera:camera/sub"))
    async with pictures_site(streams=streams) as site:
        site.publish("live/small")
        assert (await site.get("/live/small.jpg")).status == 200
        assert site.camera.asks == [PictureAsk(0, 80, sub=True)]


async def test_pictures_head_tells_what_get_would() -> None:
    async with pictures_site() as site:
        site.publish()
        reply = await site.get("/live/camera.jpg", method="HEAD")
        assert reply.status == 200
        assert int(reply.headers["content-length"]) == len(jpeg(1))
        asks = len(site.camera.asks)
        reply = await site.get("/live/camera.mjpeg", method="HEAD")
        assert reply.status == 200
        assert reply.headers["content-type"].startswith("multipart/x-mixed-replace; boundary=")
        assert len(site.camera.asks) == asks
        assert not site.pictures.feeds


# -- sharing ---------------------------------------------------------------------------------------


async def test_pictures_stills_asked_for_together_are_one_picture() -> None:
    async with pictures_site() as site:
        site.publish()
        site.camera.gate.clear()
        asking = [asyncio.create_task(site.get("/live/camera.jpg")) for _ in range(20)]
        await until(lambda: site.pictures.darkrooms and site.camera.asks)
        await until(lambda: site.pictures.darkrooms[NAME].waiting == 20)
        site.camera.gate.set()
        replies = await asyncio.gather(*asking)
        assert {label_of(reply.body) for reply in replies} == {"1"}


async def test_pictures_viewers_of_one_shape_share_one_encoding() -> None:
    async with pictures_site() as site:
        site.publish()
        watchers = [await site.watch("/live/camera.mjpeg?fps=10") for _ in range(50)]
        assert len(site.pictures.feeds) == 1
        assert (
            len([s for s in site.context.sessions.active.values() if s.kind == "mjpeg-play"]) == 50
        )
        assert site.hub.find(NAME).demand.viewers == 50
        first = [await watcher.label() for watcher in watchers]
        while max(first) < 5:
            first = [await watcher.label() for watcher in watchers]
        (feed,) = site.pictures.feeds.values()
        assert len(site.camera.asks) <= feed.pictures + 1
        counted = site.context.counters.values["pictures_total", (("stream", NAME),)]
        assert feed.pictures <= counted <= feed.pictures + 1
        for watcher in watchers:
            watcher.close()
        await until(lambda: not site.pictures.feeds)
        await until(lambda: not site.context.sessions.active)
        assert site.hub.find(NAME).demand.viewers == 0
        asks = len(site.camera.asks)
        await asyncio.sleep(0.3)
        assert len(site.camera.asks) == asks


async def test_pictures_viewer_sees_each_picture_once_and_in_order() -> None:
    async with pictures_site() as site:
        site.publish()
        watcher = await site.watch("/live/camera.mjpeg?fps=30")
        labels = [await watcher.label() for _ in range(20)]
        assert labels == sorted(set(labels))


async def test_pictures_camera_is_asked_for_one_at_a_time_whatever_is_asked() -> None:
    async with pictures_site(Settings(max_fps=60)) as site:
        site.publish()
        targets = [f"/live/camera.jpg?width={width}" for width in (100, 120, 140)]
        replies = await asyncio.gather(*(site.get(target) for target in targets))
        assert [reply.status for reply in replies] == [200] * 3
        assert site.camera.most_at_once == 1


async def test_pictures_askers_of_ever_new_sizes_are_refused_and_bounded() -> None:
    async with pictures_site(Settings(shapes=4)) as site:
        site.publish()
        site.camera.gate.clear()
        asking = [
            asyncio.create_task(site.get(f"/live/camera.jpg?width={width}"))
            for width in range(20, 60)
        ]
        await until(lambda: sum(task.done() for task in asking) == 36)
        refused = [task.result() for task in asking if task.done()]
        assert {reply.status for reply in refused} == {503}
        assert refused[0].headers["retry-after"]
        site.camera.gate.set()
        replies = await asyncio.gather(*asking)
        assert sum(reply.status == 200 for reply in replies) == 4


async def test_pictures_camera_makes_no_more_than_its_share_a_second() -> None:
    async with pictures_site(Settings(max_fps=5, shapes=64)) as site:
        site.publish()
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        targets = [f"/live/camera.jpg?quality={quality}" for quality in range(1, 8)]
        await asyncio.gather(*(site.get(target) for target in targets))
        assert len(site.camera.asks) == 7
        assert loop.time() - began_s >= 6 / 5 - 0.01


async def test_pictures_asker_who_leaves_takes_no_picture_from_the_others() -> None:
    async with pictures_site() as site:
        site.publish()
        site.camera.gate.clear()
        first = asyncio.create_task(site.get("/live/camera.jpg"))
        await until(lambda: site.camera.asks)
        second = asyncio.create_task(site.get("/live/camera.jpg"))
        await until(lambda: site.pictures.darkrooms[NAME].waiting == 2)
        first.cancel()
        await until(lambda: len(site.camera.asks) == 2)
        site.camera.gate.set()
        assert label_of((await second).body) == "2"


# -- limits ----------------------------------------------------------------------------------------


async def test_pictures_viewers_beyond_the_limit_are_refused() -> None:
    async with pictures_site(Settings(viewers=2)) as site:
        site.publish()
        await site.watch()
        second = await site.watch()
        reply = await site.get("/live/camera.mjpeg")
        assert reply.status == 503
        assert "viewers of moving pictures" in reply.text
        second.close()
        await until(lambda: len(site.context.sessions.active) == 1)
        assert (await site.watch()).status == 200


async def test_pictures_shapes_beyond_the_limit_are_refused() -> None:
    async with pictures_site(Settings(shapes=2)) as site:
        site.publish()
        await site.watch("/live/camera.mjpeg?quality=10")
        await site.watch("/live/camera.mjpeg?quality=20")
        assert (await site.get("/live/camera.mjpeg?quality=30")).status == 503
        assert (await site.watch("/live/camera.mjpeg?quality=20")).status == 200


async def test_pictures_stalled_viewer_is_ended_and_others_go_on() -> None:
    async with pictures_site(Settings(stall_us=1_000_000)) as site:
        site.publish()
        site.camera.padding_bytes = 2_000_000
        stalled = await site.watch("/live/camera.mjpeg?fps=10")
        stalled.reader._transport.pause_reading()  # type: ignore[attr-defined]
        moving = await site.watch("/live/camera.mjpeg?fps=10")
        sessions = site.context.sessions.active
        assert len(sessions) == 2
        while len(sessions) > 1:
            await moving.part()
        (left,) = sessions.values()
        assert left.sent.total_bytes > 0
        await moving.part()


async def test_pictures_crowd_of_stalled_viewers_holds_little_memory() -> None:
    async with pictures_site(Settings(stall_us=60_000_000)) as site:
        site.publish()
        site.camera.padding_bytes = 3_000_000
        for _ in range(12):
            watcher = await site.watch("/live/camera.mjpeg?fps=10")
            watcher.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await until(lambda: len(site.context.sessions.active) <= 3)
        (feed,) = site.pictures.feeds.values()
        assert feed.pictures


# -- when there is no picture ----------------------------------------------------------------------


async def test_pictures_while_a_slate_is_shown_are_refused_with_its_words() -> None:
    async with pictures_site() as site:
        async with site.hub.publish(NAME, "slate#1", placeholder="camera lost, retrying") as slate:
            slate.describe((VIDEO,))
            for suffix in ("jpg", "mjpeg"):
                reply = await site.get(f"/live/camera.{suffix}")
                assert reply.status == 503
                assert "camera lost, retrying" in reply.text
                assert reply.headers["retry-after"]
        assert site.camera.asks == []


async def test_pictures_viewers_stay_through_a_slate_and_go_on_after_it() -> None:
    async with pictures_site() as site:
        publisher = site.publish()
        watcher = await site.watch("/live/camera.mjpeg?fps=30")
        await watcher.part()
        publisher.close()
        slate = site.hub.publish(NAME, "slate#1", placeholder="camera lost")
        (feed,) = site.pictures.feeds.values()
        asks = await quiet(site.camera)
        assert len(site.context.sessions.active) == 1
        slate.close()
        site.publish()
        while await watcher.label() <= asks:
            pass
        assert list(site.pictures.feeds.values()) == [feed]


async def quiet(camera: HandCamera) -> int:
    """How many pictures were asked for when no more are."""
    while True:
        asks = len(camera.asks)
        await asyncio.sleep(0.15)
        if len(camera.asks) == asks:
            return asks


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (StreamNotFound("the sensor sleeps"), 503, "the sensor sleeps"),
        (TimeoutError(), 503, "does not answer"),
        (LimitExceeded("busy with others"), 503, "busy with others"),
        (CodecUnsupported("this source makes no pictures"), 415, "makes no pictures"),
    ],
)
@pytest.mark.parametrize("suffix", ["jpg", "mjpeg"])
async def test_pictures_that_cannot_be_made_are_refused_with_the_reason(
    suffix: str, error: Exception, status: int, words: str
) -> None:
    async with pictures_site() as site:
        site.publish()
        site.camera.error = error
        reply = await site.get(f"/live/camera.{suffix}")
        assert reply.status == status
        assert words in reply.text
        await until(lambda: not site.pictures.feeds)


@pytest.mark.parametrize("error", [StreamNotFound("gone"), CodecUnsupported("not now")])
async def test_pictures_viewers_stay_while_a_camera_that_could_cannot(error: Exception) -> None:
    async with pictures_site() as site:
        site.publish()
        watcher = await site.watch("/live/camera.mjpeg?fps=30")
        await watcher.part()
        site.camera.error = error
        await until(lambda: any(feed.error for feed in site.pictures.feeds.values()))
        assert (await site.get("/live/camera.jpg?width=100")).status == 503
        asks, site.camera.error = len(site.camera.asks), None
        while await watcher.label() <= asks:
            pass


async def test_pictures_old_one_is_not_passed_off_as_the_present() -> None:
    async with pictures_site() as site:
        site.publish()
        site.camera.age_us = 6_000_000
        reply = await site.get("/live/camera.jpg")
        assert reply.status == 503
        assert "too old" in reply.text


async def test_pictures_of_an_on_demand_camera_start_it_and_wait() -> None:
    streams = (StreamSettings(NAME, "pattern:", on_demand=True),)
    async with pictures_site(streams=streams) as site:
        stream = site.hub.declare(NAME)
        still = asyncio.create_task(site.get("/live/camera.jpg"))
        moving = asyncio.create_task(site.watch())
        await until(lambda: stream.demand.viewers == 2)
        site.publish()
        assert (await still).status == 200
        assert (await moving).status == 200


async def test_pictures_of_a_device_that_starts_are_waited_for() -> None:
    async with pictures_site() as site:
        stream = site.hub.declare(NAME)
        still = asyncio.create_task(site.get("/live/camera.jpg"))
        await until(lambda: stream.demand.viewers)
        site.publish()
        assert (await still).status == 200


async def test_pictures_of_a_camera_that_is_away_are_refused_at_once() -> None:
    async with pictures_site() as site:
        site.hub.declare(NAME)
        site.publish().close()
        reply = await site.get("/live/camera.jpg")
        assert reply.status == 503
        assert "does not deliver" in reply.text


async def test_pictures_viewers_end_with_their_stream() -> None:
    async with pictures_site() as site:
        site.publish()
        watcher = await site.watch()
        await watcher.part()
        site.hub.remove(NAME)
        await watcher.ended()
        await until(lambda: not site.pictures.feeds)


async def test_pictures_viewer_is_ended_by_the_operator() -> None:
    async with pictures_site() as site:
        site.publish()
        watcher = await site.watch()
        await watcher.part()
        (session,) = site.context.sessions.active.values()
        assert session.stream == NAME
        assert session.kick is not None
        session.kick()
        await watcher.ended()
        await until(lambda: not site.context.sessions.active)


# -- who may ---------------------------------------------------------------------------------------


async def test_pictures_need_the_right_to_play(tmp_path: Path) -> None:
    async with pictures_site(auth=AuthSettings(play=Policy.KEY), state_dir=tmp_path) as site:
        key = site.context.access.make_owner()
        site.publish()
        for target in ("/live/camera.jpg", "/live/camera.mjpeg", "/snapshot", "/live/nothing.jpg"):
            reply = await site.get(target)
            assert reply.status == 401
            assert reply.headers["www-authenticate"].startswith("Basic")
        assert site.camera.asks == []
        assert (await site.get(f"/live/camera.jpg?key={key}")).status == 200
        assert (await site.get("/snapshot", f"Authorization: Bearer {key}")).status == 200
        assert (await site.watch(f"/?action=stream&key={key}")).status == 200


async def test_pictures_viewer_ends_with_the_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "CHECK_S", 0.05)
    async with pictures_site(auth=AuthSettings(play=Policy.KEY), state_dir=tmp_path) as site:
        access = site.context.access
        key = access.make_owner()
        site.publish()
        watcher = await site.watch(f"/live/camera.mjpeg?key={key}&fps=10")
        for _ in range(3):
            await watcher.part()
        assert access.accounts is not None
        access.accounts.remove("owner")
        access.reload()
        await watcher.ended()
        await until(lambda: not site.context.sessions.active)


async def test_pictures_feed_of_a_stream_that_came_anew_is_another() -> None:
    async with pictures_site() as site:
        site.publish()
        old = await site.watch()
        site.hub.remove(NAME)
        site.publish()
        new = await site.watch()
        await old.ended()
        await new.part()
        await new.part()


@pytest.mark.parametrize("public", [False, True])
async def test_pictures_are_read_by_other_sites_only_if_public(public: bool) -> None:
    async with pictures_site(Settings(public=public)) as site:
        site.publish()
        expected = "*" if public else None
        reply = await site.get("/live/camera.jpg", "Origin: http://mainsail.local")
        assert reply.headers.get("access-control-allow-origin") == expected
        watcher = await site.watch()
        assert watcher.headers.get("access-control-allow-origin") == expected
