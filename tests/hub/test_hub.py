from __future__ import annotations

import asyncio

import pytest
from media_fixture import AUDIO, VIDEO, EchoMuxer, HeldClock, unit

from appliance.errors import (
    LimitExceeded,
    MisuseError,
    NameInvalid,
    PeerError,
    StreamBusy,
    StreamNotFound,
)
from appliance.hub.hub import Hub
from appliance.hub.stream import MAX_PATIENCE_US, Anchor, Limits, has_stepped
from appliance.hub.subscription import Start
from appliance.media.track import Track


def hub_with(clock: HeldClock | None = None, **limits: int) -> Hub:
    return Hub(Limits(**limits), clock or HeldClock())


async def test_publish_twice_refuses_the_second_and_keeps_the_first() -> None:
    hub = hub_with()
    async with hub.publish("live/cam", "rtmp#1") as first:
        with pytest.raises(StreamBusy, match="rtmp#1"):
            hub.publish("live/cam", "rtmp#2")
        first.describe([VIDEO])
        first.write(unit(0, key=True))
    async with hub.publish("live/cam", "rtmp#3"):
        pass


async def test_stream_is_as_patient_as_the_least_patient_who_watches() -> None:
    hub = hub_with()
    async with hub.publish("live/cam", "rtmp#1") as publisher:
        publisher.describe([VIDEO])
        stream = publisher.stream
        assert stream.patience_us() == MAX_PATIENCE_US
        one, other = stream.rendition("one", EchoMuxer), stream.rendition("other", EchoMuxer)
        one.patience_us = lambda: 30_000
        assert stream.patience_us() == MAX_PATIENCE_US  # nobody watches either
        with one.demand.viewer():
            assert stream.patience_us() == 30_000
            with other.demand.viewer():
                assert stream.patience_us() == 0
            with stream.demand.viewer():  # of the units themselves
                assert stream.patience_us() == 0
            with stream.reading():
                assert stream.patience_us() == 0
            assert stream.patience_us() == 30_000


async def test_publish_with_takeover_ends_the_first_at_its_next_write() -> None:
    hub = hub_with()
    first = hub.publish("live/cam", "rtmp#1")
    first.describe([VIDEO])
    revoked = asyncio.create_task(first.revoked.wait())
    await asyncio.sleep(0)
    second = hub.publish("live/cam", "rtmp#2", takeover=True)
    await revoked
    with pytest.raises(StreamBusy, match="taken over by rtmp#2"):
        first.write(unit(0))
    first.close()
    assert hub.find("live/cam").publisher is second


async def test_publish_raced_by_fifty_has_one_winner() -> None:
    hub = hub_with()

    async def attempt(number: int) -> bool:
        await asyncio.sleep(0)
        try:
            hub.publish("live/cam", f"rtmp#{number}")
        except StreamBusy:
            return False
        return True

    assert sum(await asyncio.gather(*(attempt(i) for i in range(50)))) == 1


def test_hub_at_its_limit_refuses_one_more_stream() -> None:
    hub = hub_with(max_streams=3)
    for i in range(3):
        hub.publish(f"live/{i}", "rtmp#1")
    with pytest.raises(LimitExceeded):
        hub.publish("live/3", "rtmp#1")


def test_find_of_unknown_names_makes_nothing() -> None:
    hub = hub_with()
    for i in range(10_000):
        with pytest.raises(StreamNotFound):
            hub.find(f"live/{i}")
    assert not hub.streams


def test_write_places_units_on_the_monotonic_clock_and_marks_a_new_session() -> None:
    clock = HeldClock()
    hub = hub_with(clock)
    first = hub.publish("live/cam", "rtmp#1")
    first.describe([VIDEO])
    first.write(unit(90_000, key=True))
    first.write(unit(130_000))
    stream = hub.find("live/cam")
    assert [u.dts_us - clock.now_us for u in stream.units.items] == [0, 40_000]
    assert not any(u.discontinuity for u in stream.units.items)
    first.close()
    clock.advance(3_000_000)
    second = hub.publish("live/cam", "rtmp#2")
    second.describe([VIDEO])
    second.write(unit(5, key=True))
    second.write(unit(40_005))
    resumed = list(stream.units.items)[2:]
    assert [u.dts_us - clock.now_us for u in resumed] == [0, 40_000]
    assert [u.discontinuity for u in resumed] == [True, False]
    assert stream.restarts == 1


def test_write_beyond_the_unit_limit_is_refused() -> None:
    hub = hub_with(max_unit_bytes=1000)
    publisher = hub.publish("live/cam", "rtmp#1")
    publisher.describe([VIDEO])
    publisher.write(unit(0, key=True, size=1000))
    with pytest.raises(PeerError, match="1001 bytes"):
        publisher.write(unit(40_000, size=1001))


def test_write_of_an_undescribed_track_is_our_mistake() -> None:
    publisher = hub_with().publish("live/cam", "rtmp#1")
    publisher.describe([VIDEO])
    with pytest.raises(MisuseError):
        publisher.write(unit(0, track=AUDIO))


def test_describe_with_too_many_tracks_is_refused() -> None:
    publisher = hub_with().publish("live/cam", "rtmp#1")
    with pytest.raises(PeerError):
        publisher.describe([Track(i, VIDEO.config) for i in range(9)])
    with pytest.raises(PeerError):
        publisher.describe([])


def test_rendition_made_late_has_the_past_from_the_oldest_key() -> None:
    hub = hub_with()
    publisher = hub.publish("live/cam", "rtmp#1", stamped=True)
    publisher.describe([VIDEO])
    for i in range(10):
        publisher.write(unit(i * 40_000, key=i in {3, 7}))
    stream = hub.find("live/cam")
    rendition = stream.rendition("echo", EchoMuxer)
    assert stream.rendition("echo", EchoMuxer) is rendition
    assert [c.data for c in rendition.ring.items] == [b"%d" % (i * 40_000) for i in range(3, 10)]
    assert len(rendition.subscribe(Start.LAST_KEY).take()) == 3
    publisher.write(unit(400_000))
    assert rendition.ring.items[-1].data == b"400000"


def test_rendition_told_of_new_tracks_has_a_new_header_and_old_keys_are_no_entry() -> None:
    hub = hub_with()
    publisher = hub.publish("live/cam", "rtmp#1", stamped=True)
    publisher.describe([VIDEO])
    publisher.write(unit(0, key=True))
    stream = hub.find("live/cam")
    rendition = stream.rendition("echo", EchoMuxer)
    publisher.describe([VIDEO])  # the same objects: no change
    assert rendition.header == b"header1"
    other = Track(VIDEO.id, VIDEO.config)
    publisher.describe([other])
    assert rendition.header == b"header2"
    assert stream.units.last_key() is None
    publisher.write(unit(40_000, key=True, track=other))
    assert [c.header for c in rendition.ring.items] == [b"header1", b"header2"]


@pytest.mark.parametrize("fault", [PeerError("bad"), ZeroDivisionError()])
def test_rendition_that_fails_ends_alone(fault: Exception) -> None:
    hub = hub_with()
    publisher = hub.publish("live/cam", "rtmp#1", stamped=True)
    publisher.describe([VIDEO])
    publisher.write(unit(0, key=True))
    stream = hub.find("live/cam")
    muxer = EchoMuxer()
    bad = stream.rendition("bad", lambda: muxer)
    good = stream.rendition("good", EchoMuxer)
    muxer.fail_with = fault
    publisher.write(unit(40_000))
    assert bad.ring.closed
    assert bad.error is not None
    assert "bad" not in stream.renditions
    assert good.ring.items[-1].data == b"40000"


def test_sweep_drops_a_rendition_only_when_nobody_has_watched_for_the_grace() -> None:
    clock = HeldClock()
    hub = hub_with(clock, rendition_grace_us=5_000_000)
    publisher = hub.publish("live/cam", "rtmp#1")
    publisher.describe([VIDEO])
    stream = hub.find("live/cam")
    rendition = stream.rendition("echo", EchoMuxer)
    with rendition.demand.viewer():
        clock.advance(60_000_000)
        hub.sweep()
        assert stream.demand.viewers == 1
        assert "echo" in stream.renditions
    hub.sweep()
    assert "echo" in stream.renditions
    clock.advance(5_000_000)
    hub.sweep()
    assert not stream.renditions
    assert rendition.ring.closed


def test_sweep_ends_a_stream_whose_publisher_left_unless_it_is_configured() -> None:
    clock = HeldClock()
    hub = hub_with(clock, linger_us=10_000_000)
    hub.declare("live/own")
    own, guest = hub.publish("live/own", "camera#1"), hub.publish("live/guest", "rtmp#1")
    cursor = hub.find("live/guest").subscribe()
    own.close()
    guest.close()
    clock.advance(9_000_000)
    hub.sweep()
    assert set(hub.streams) == {"live/own", "live/guest"}
    clock.advance(2_000_000)
    hub.sweep()
    assert set(hub.streams) == {"live/own"}
    assert cursor.ring.closed


def test_anchor_holds_while_the_clock_is_slewed_and_moves_when_it_is_set() -> None:
    clock = HeldClock(unix_us=0)
    hub = hub_with(clock)
    publisher = hub.publish("live/cam", "rtmp#1", stamped=True)
    publisher.describe([VIDEO])
    stream = hub.find("live/cam")
    publisher.write(unit(clock.now_us, key=True))
    first = stream.anchor
    assert first is not None
    assert first.unix_us_at(clock.now_us + 5) == 5
    clock.advance(2_000_000)
    clock.wall_us += 100_000
    publisher.write(unit(clock.now_us, key=True))
    assert stream.anchor is first
    clock.wall_us += 56 * 365 * 86_400_000_000
    clock.advance(2_000_000)
    publisher.write(unit(clock.now_us, key=True))
    assert stream.anchor is not first
    assert stream.anchor is not None
    assert stream.anchor.unix_us_at(clock.now_us) == clock.wall_us


NOW_UNIX_US = 1_800_000_000_000_000


@pytest.mark.parametrize(
    ("told_us", "wall_us", "is_believed"),
    [
        (NOW_UNIX_US - 300_000, NOW_UNIX_US, True),  # the way of a picture to us
        (NOW_UNIX_US + 59_000_000, NOW_UNIX_US, True),
        (NOW_UNIX_US + 61_000_000, NOW_UNIX_US, False),
        (NOW_UNIX_US - 3_600_000_000, NOW_UNIX_US, False),  # a camera that tells local time
        (NOW_UNIX_US, 5_000_000, True),  # we are a board that was never set
    ],
)
def test_anchor_is_the_senders_where_its_clock_is_near_to_ours(
    told_us: int, wall_us: int, is_believed: bool
) -> None:
    clock = HeldClock(unix_us=wall_us)
    publisher = hub_with(clock).publish("live/cam", "pull#1", stamped=True)
    publisher.describe([VIDEO])
    publisher.wall_offset_us = told_us - clock.now_us
    publisher.write(unit(clock.now_us, key=True))
    anchor = publisher.stream.anchor
    assert anchor is not None
    assert anchor.unix_us_at(clock.now_us) == (told_us if is_believed else wall_us)


def test_anchor_of_a_sender_stays_when_the_next_connection_does_not_tell_yet() -> None:
    clock = HeldClock(unix_us=NOW_UNIX_US)
    hub = hub_with(clock)
    publisher = hub.publish("live/cam", "pull#1", stamped=True)
    publisher.describe([VIDEO])
    publisher.wall_offset_us = NOW_UNIX_US - clock.now_us - 2_000_000
    publisher.write(unit(clock.now_us, key=True))
    first = publisher.stream.anchor
    publisher.close()
    clock.advance(3_000_000)
    publisher = hub.publish("live/cam", "pull#2", stamped=True)
    publisher.describe([VIDEO])
    publisher.write(unit(clock.now_us, key=True))
    assert publisher.stream.anchor is first
    publisher.wall_offset_us = NOW_UNIX_US - clock.now_us
    clock.advance(1_000_000)
    publisher.write(unit(clock.now_us, key=True))
    assert publisher.stream.anchor is not first


def test_anchor_steps_only_where_dates_cannot_be_compared() -> None:
    first = Anchor(1_000_000, 5_000_000)
    assert not has_stepped(first, Anchor(2_000_000, 6_300_000, is_told=True))
    assert has_stepped(first, Anchor(2_000_000, 6_600_000))
    assert has_stepped(None, first)


def test_keyframe_requests_are_passed_on_once_a_second() -> None:
    clock = HeldClock()
    hub = hub_with(clock)
    publisher = hub.publish("live/cam", "camera#1")
    stream = hub.find("live/cam")
    assert not stream.request_keyframe()
    asked = []
    publisher.on_keyframe_request = lambda: asked.append(clock.now_us)
    for _ in range(100):
        stream.request_keyframe()
        clock.advance(100_000)
    assert len(asked) == 10


async def test_demand_wakes_on_the_first_viewer_and_idles_after_the_grace() -> None:
    hub = Hub(Limits())
    stream = hub.declare("live/cam")
    wanted = asyncio.create_task(stream.demand.wait_wanted())
    await asyncio.sleep(0)
    assert not wanted.done()
    with stream.demand.viewer():
        await wanted
        idle = asyncio.create_task(stream.demand.wait_idle(1000))
        await asyncio.sleep(0)
        assert not idle.done()
    await idle
    assert stream.demand.viewers == 0


async def test_wait_tracks_of_a_stream_that_ends_tells_so() -> None:
    hub = hub_with()
    stream = hub.declare("live/cam")
    waiting = asyncio.create_task(stream.wait_tracks())
    await asyncio.sleep(0)
    hub.remove("live/cam")
    with pytest.raises(StreamNotFound):
        await waiting


NAMES_REFUSED = [
    "", "/", ".", "..", "../x", "a/../../x", "a//b", "/etc/passwd", "..\\x", "%2e%2e%2fx",
    "%252e%252e%252f", "..%c0%af", "a\x00.flv", "a\r\nX: y", "a\x1b[2J", ".hidden", "-rf",
    "$(id)", "`id`", ";id", "a|b", "<script>", '"', "'", "?x", "#x", "a b", "\u202e", "\x00",
    "．．／", "é", "e\u0301", "📷", "x" * 129, "x" * 4096, "x" * 65_535, "\ufffd\ufffe",
    "a/b/c/d/e", "live/", "live/cam\n", "live/cam.flv", "live/cam.hls/x", "１２",
]  # fmt: skip


async def test_who_comes_while_nobody_publishes_begins_with_what_is_shown_next() -> None:
    hub = hub_with()
    async with hub.publish("live/cam", "pull#1") as publisher:
        publisher.describe([VIDEO])
        stream = publisher.stream
        assert stream.place_to_join(stream.units) == stream.units.next
        for number in range(4):
            publisher.write(unit(number * 40_000, key=number == 1))
        assert stream.place_to_join(stream.units) == 1
        stream.rendition("echo", EchoMuxer)
    ring = stream.rendition("echo", EchoMuxer).ring
    assert stream.place_to_join(stream.units) == 4
    assert stream.place_to_join(ring) == ring.next
    hub.clock.advance(60_000_000)
    async with hub.publish("live/cam", "pull#2") as publisher:
        publisher.describe([VIDEO])
        publisher.write(unit(0, key=True))
        assert stream.place_to_join(stream.units) == 4
        assert stream.place_to_join(ring) == ring.next - 1


@pytest.mark.parametrize("name", NAMES_REFUSED)
def test_names_that_are_none_are_refused_at_every_door_of_the_hub(name: str) -> None:
    hub = hub_with()
    for door in (hub.find, hub.declare, lambda name: hub.publish(name, "rtmp#1")):
        with pytest.raises(NameInvalid) as caught:
            door(name)
        assert len(name) < 3 or name not in str(caught.value)
    assert not hub.streams


@pytest.mark.parametrize(
    "name", ["live/camera", "239.1.1.1:1234", "a/b/c/d", "x" * 128, "CON", "_-"]
)
def test_names_that_occur_are_taken(name: str) -> None:
    assert hub_with().declare(name).name == name


def test_rendition_made_late_gives_its_whole_past_to_who_asked_and_then_keeps_less() -> None:
    hub = hub_with(rendition_keep_us=100_000)
    publisher = hub.publish("live/cam", "rtmp#1", stamped=True)
    publisher.describe([VIDEO])
    for i in range(100):
        publisher.write(unit(i * 40_000, key=i % 25 == 0))
    rendition = hub.find("live/cam").rendition("echo", EchoMuxer)
    everything = rendition.subscribe(Start.FIRST_KEY, max_lag_us=10_000_000)
    assert len(everything.take()) == 100
    publisher.write(unit(4_000_000, key=True))
    assert len(rendition.ring.items) == 3


def test_sound_beside_a_picture_is_no_place_to_begin() -> None:
    hub = hub_with()
    publisher = hub.publish("live/cam", "rtmp#1", stamped=True)
    publisher.describe([VIDEO, AUDIO])
    for dts_us, track, key in ((0, VIDEO, True), (1000, AUDIO, True), (2000, VIDEO, False)):
        publisher.write(unit(dts_us, track=track, key=key))
    begun = hub.find("live/cam").subscribe(Start.LAST_KEY).take()
    assert [one.dts_us for one in begun] == [0, 1000, 2000]


def test_sound_alone_can_begin_anywhere() -> None:
    hub = hub_with()
    publisher = hub.publish("live/radio", "rtmp#1", stamped=True)
    publisher.describe([AUDIO])
    for dts_us in (0, 1000, 2000):
        publisher.write(unit(dts_us, track=AUDIO, key=True))
    begun = hub.find("live/radio").subscribe(Start.LAST_KEY).take()
    assert [one.dts_us for one in begun] == [2000]


async def test_want_of_an_unknown_name_asks_who_may_fetch_it() -> None:
    hub = hub_with()
    with pytest.raises(StreamNotFound):
        hub.want("live/cam")
    asked: list[str] = []

    def fetch(name: str) -> None:
        asked.append(name)
        if name == "live/none":
            raise StreamNotFound("nobody has it")
        hub.declare(name)

    hub.on_wanted = fetch
    with pytest.raises(StreamNotFound):
        hub.find("live/cam")
    assert hub.want("live/cam") is hub.want("live/cam")
    for name, error in (("live/none", StreamNotFound), ("../x", NameInvalid)):
        with pytest.raises(error):
            hub.want(name)
    with pytest.raises(NameInvalid):
        await hub.wait_for("../x")
    assert asked == ["live/cam", "live/none"]


async def test_who_waits_for_a_stream_asks_again_whenever_it_may_be_fetched() -> None:
    hub = hub_with()
    asked: list[str] = []

    def fetch(name: str) -> None:
        asked.append(name)
        if len(asked) == 1:
            raise StreamNotFound("nobody has it yet")
        hub.declare(name)

    hub.on_wanted = fetch
    waiting = asyncio.create_task(hub.wait_for("live/cam"))
    await asyncio.sleep(0)
    assert len(asked) == 1
    hub.changed.fire()
    await asyncio.sleep(0)
    assert len(asked) == 2
    assert hub.streams["live/cam"].demand.viewers == 1
    hub.remove("live/cam")  # nobody had it after all: it is asked for at once
    await asyncio.sleep(0)
    assert len(asked) == 3
    async with hub.publish("live/cam", "test#1") as publisher:
        publisher.describe((VIDEO,))
        assert await waiting is publisher.stream
        assert not publisher.stream.demand.viewers


def seconds_held(hub: Hub, name: str) -> float:
    items = hub.find(name).units.items
    return (items[-1].dts_us - items[0].dts_us) / 1e6


def test_sweep_bounds_what_is_held_for_viewers_who_may_never_come() -> None:
    """Twenty streams of 100 kB a second, a key every two: 16 MB of eight seconds; 6 are allowed."""
    clock = HeldClock()
    hub = hub_with(clock, unwatched_bytes=6_000_000)
    publishers = [hub.publish(f"live/{number}", "test#1") for number in range(20)]
    for publisher in publishers:
        publisher.describe([VIDEO])

    def go_on(seconds: int) -> None:
        for _ in range(seconds):
            for tenth in range(10):
                at_us = clock.now_us + tenth * 100_000
                key = at_us % 2_000_000 == 0
                for publisher in publishers:
                    publisher.write(unit(at_us, key=key, size=10_000))
            clock.advance(1_000_000)
            hub.sweep()

    with hub.find("live/7").demand.viewer():
        go_on(40)
        assert 7 < seconds_held(hub, "live/7") < 11
        assert 1.8 < seconds_held(hub, "live/8") < 5
        held = [p.stream.units.size_bytes for p in publishers if p.stream.is_unwatched]
        assert sum(held) < 7_000_000
        assert all(p.stream.units.last_key() is not None for p in publishers)
    for publisher in publishers[2:]:
        publisher.close()
    del publishers[2:]
    go_on(40)
    assert seconds_held(hub, "live/0") > 7


async def test_stream_that_nobody_publishes_in_time_is_not_found() -> None:
    hub = Hub()
    with pytest.raises(StreamNotFound, match="nobody publishes live/cam"):
        await hub.wait_published("live/cam", 0)
    async with hub.publish("live/cam", "rtmp#1") as publisher:
        publisher.describe([VIDEO])
        assert (await hub.wait_published("live/cam", 60_000_000)).name == "live/cam"
