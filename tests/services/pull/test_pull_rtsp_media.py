"""What a camera sends is what viewers get; what goes wrong on the way is mended or marked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from camera_film import Weather, burst, film, weather
from camera_login import Login
from fault_camera import FaultCamera, fault_camera
from framehash import assert_same_times, clip_units, unit_times
from relay_site import CAM, Place, Watcher, place, until, watching
from rtsp_source import from_camera, last_error

from appliance.media.unit import AccessUnit
from appliance.services.pull import Settings
from appliance.wire.rtp.clock import unix_us_to_ntp

SMALL = "h264-small+aac"
STAYING = Settings(open_us=10_000_000, silence_us=2_000_000)
PATIENT = Settings(open_us=20_000_000, silence_us=20_000_000)  # where nothing is ever silent


def contents(units: list[AccessUnit], track_id: int) -> list[tuple[bytes, ...]]:
    return [tuple(map(bytes, unit.parts)) for unit in units if unit.track.id == track_id]


def kind_units(units: list[AccessUnit], kind: str) -> list[AccessUnit]:
    return [unit for unit in units if str(unit.track.kind) == kind]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("kind", ["h264-b+aac", "h265-b+opus"])
async def test_pull_from_a_camera_brings_the_very_units(transport: str, kind: str) -> None:
    """One round, at twice its speed."""
    tracks, sent = clip_units(kind)
    async with (
        fault_camera(film=kind, rounds=1, speed=2) as camera,
        place(from_camera(camera, transport), serves=False) as edge,
    ):
        await until(lambda: len(edge.stream.units.items) == len(sent))
        units = list(edge.stream.units.items)
        assert edge.stream.tracks[0].config == tracks[0].config
    for word in ("video", "audio"):
        got, gave = kind_units(units, word), kind_units(sent, word)
        assert [one.parts for one in got] == [one.parts for one in gave]
        assert_same_times(unit_times(gave), unit_times(got), resolution_us=100)


async def test_first_picture_is_kept_that_overtakes_the_answer_to_play() -> None:
    """By UDP it may; the next keyframe is seconds away."""
    first = next(unit for unit in clip_units(SMALL)[1] if unit.track.id == 1)
    async with (
        fault_camera(is_early=True) as camera,
        place(from_camera(camera, "udp"), serves=False) as edge,
    ):
        await until(lambda: CAM in edge.hub.streams and len(edge.stream.units.items) > 20)
        assert edge.stream.units.items[0].parts == first.parts


@pytest.mark.parametrize("wrong", [False, True])
async def test_wall_clock_of_a_camera_dates_its_pictures_unless_it_is_nonsense(wrong: bool) -> None:
    """Its clock is 20 s ahead of ours; or it says that it is 1900."""
    ahead_us = 20_000_000

    def ntp_of(unix_us: int) -> int:
        return 1 << 40 if wrong else unix_us_to_ntp(unix_us + ahead_us)

    async with fault_camera(ntp_of=ntp_of, reports_s=0.2) as camera, watched(camera) as (edge, _):
        stream = edge.stream

        def off_us() -> int:
            assert stream.anchor is not None
            assert stream.newest_dts_us is not None
            return stream.anchor.unix_us_at(stream.newest_dts_us) - stream.clock.unix_us()

        await until(lambda: abs(off_us() - (0 if wrong else ahead_us)) < 2_000_000)


@pytest.mark.parametrize(
    "switches", [{"refuses": {"TCP": "461 Unsupported Transport"}}, {"swallows": {"TCP"}}]
)
async def test_way_of_media_is_found_and_remembered(switches: dict[str, Any]) -> None:
    """By UDP what TCP does not bring; the next time at once."""
    async with (
        fault_camera(**switches) as camera,
        place(from_camera(camera, "auto"), serves=False, pulls=STAYING) as edge,
        watching(edge) as viewer,
    ):
        await until(lambda: len(viewer.units) > 30)
        assert camera.sent["UDP"] > 0
        plays, setups = camera.plays, camera.methods().count("SETUP")
        camera.reset()
        await until(lambda: viewer.cuts == 1)
        assert (camera.plays, camera.methods().count("SETUP")) == (plays + 1, setups + 2)


@asynccontextmanager
async def watched(
    camera: FaultCamera, transport: str = "tcp", pulls: Settings = STAYING
) -> AsyncIterator[tuple[Place, Watcher]]:
    """Somebody watches, and has seen a second, when the block begins."""
    async with (
        place(from_camera(camera, transport), serves=False, pulls=pulls) as edge,
        watching(edge) as viewer,
    ):
        await until(lambda: len(viewer.units) > 60)
        yield edge, viewer
        assert not viewer.is_over
        for number in {unit.track.id for unit in viewer.units}:
            stamps = [unit.dts_us for unit in viewer.units if unit.track.id == number]
            assert stamps == sorted(set(stamps))
        assert camera.most_playing == 1


async def more(viewer: Watcher, count: int = 60) -> None:
    wanted = len(viewer.units) + count
    await until(lambda: len(viewer.units) >= wanted)


async def reset(camera: FaultCamera) -> None:
    camera.reset()


async def close(camera: FaultCamera) -> None:
    camera.close()


async def freeze(camera: FaultCamera) -> None:
    """Nothing more comes, nothing is closed; it is there again for who connects anew."""
    connections = camera.connections
    camera.freeze()
    await until(lambda: camera.connections > connections)
    camera.thaw()


async def reboot(camera: FaultCamera) -> None:
    await camera.power_off()
    await asyncio.sleep(0)
    await camera.power_on()


async def reboot_changed(camera: FaultCamera) -> None:
    """It comes back with another resolution, as after its owner's change."""
    await camera.power_off()
    camera.film = "h264+aac"
    await camera.power_on()


async def say_goodbye(camera: FaultCamera) -> None:
    """RTSP's way for a server to end it, which few cameras have."""
    camera.say(b"TEARDOWN rtsp://camera/ RTSP/1.0\r\nCSeq: 5\r\n\r\n")


@pytest.mark.parametrize("how", [reset, close, freeze, reboot, reboot_changed, say_goodbye])
@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_viewers_of_a_camera_that_went_away_go_on(
    how: Callable[[FaultCamera], asyncio.Future[None]], transport: str
) -> None:
    """One stream, one discontinuity, one new session; the old one is over before."""
    async with fault_camera() as camera, watched(camera, transport) as (edge, viewer):
        await how(camera)
        await until(lambda: viewer.cuts == 1)
        await more(viewer)
        assert (camera.connections, camera.plays, viewer.cuts) == (2, 2, 1)
        assert list(edge.hub.streams) == [edge.stream.name]


async def test_camera_that_comes_back_is_found_by_the_next_try() -> None:
    """Tries go on while it is away, the first ones soon after each other."""
    async with fault_camera() as camera, watched(camera) as (edge, viewer):
        await camera.power_off()
        faults = edge.context.faults.counts
        await until(lambda: faults["pull", "unreachable"] >= 2)
        await camera.power_on()
        await more(viewer)
        assert faults["pull", "unreachable"] <= 3
        assert camera.plays == 2


@pytest.mark.parametrize(
    "what",
    [
        lambda camera: camera.new_source(),
        lambda camera: camera.new_source(goodbye=True),
        lambda camera: camera.restart_sequence(),
        lambda camera: setattr(camera, "shift_us", 3_600_000_000),
        lambda camera: setattr(camera, "shift_us", -3_600_000_000),
        lambda camera: setattr(camera, "shift_us", 500_000),
        lambda camera: setattr(camera, "ntp_of", lambda _: 1 << 63),
        lambda camera: setattr(camera, "film", "h264+aac"),
    ],
    ids=["ssrc", "ssrc and bye", "sequence", "ahead", "behind", "half", "ntp", "sps"],
)
async def test_media_go_on_when_a_camera_changes_its_mind(
    what: Callable[[FaultCamera], None],
) -> None:
    """On the same connection, with no hole that a viewer would see."""
    async with fault_camera() as camera, watched(camera, pulls=PATIENT) as (edge, viewer):
        what(camera)
        await more(viewer, 120)
        assert camera.connections == 1
        assert viewer.cuts <= 1
        assert viewer.longest_gap_us() < 1_200_000
        config = film(camera.film).tracks[0].config
        assert next(t.config for t in edge.stream.tracks if t.id == 1) == config


@pytest.mark.parametrize(
    ("wind", "transport", "is_whole"),
    [
        (weather(1, late=0.05), "udp", True),
        (weather(2, late=0.02, late_packets=4), "udp", True),
        (weather(3, duplicate=0.3), "udp", True),
        (weather(4, duplicate=0.1), "tcp", True),
        (weather(5, loss=0.03), "udp", False),
        (weather(6, loss=0.03, late=0.05, duplicate=0.05), "udp", False),
        (weather(7, loss=0.02), "tcp", False),
        (weather(8, loss=0.1), "udp", False),
        (burst(40, 20), "udp", False),
    ],
    ids=range(9),
)
async def test_weather_costs_units_but_never_spoils_one(
    wind: Weather, transport: str, is_whole: bool
) -> None:
    """Packets are small, so that pictures are in several; to be late or doubled costs nothing."""
    made = film(SMALL)
    sent = {tuple(map(bytes, u.parts)): u for u in clip_units(SMALL)[1]}
    async with (
        fault_camera(weather=wind, speed=2, payload_bytes=200) as camera,
        watched(camera, transport, PATIENT) as (edge, viewer),
    ):
        await more(viewer, 100)
        assert camera.connections == 1
        found = list(viewer.units)
    assert all(tuple(map(bytes, unit.parts)) in sent for unit in found)
    if is_whole:
        order = [tuple(map(bytes, unit.parts)) for unit in clip_units(SMALL)[1]]
        for number, track in enumerate(made.tracks):
            one = [p for p in order if sent[p].track.id == track.id]
            got = contents(found, number + 1)
            begin = one.index(got[0])
            assert got == [one[(begin + n) % len(one)] for n in range(len(got))]


async def test_stamps_that_wrap_are_no_event() -> None:
    """32 bits of both tracks and 16 of the sequence, within the first two seconds."""
    exact = {"filmed_at_us": time.time_ns() // 1000}  # reports tell nothing of when they were sent
    async with (
        fault_camera(before_wrap_s=1.5, first_sequence=65_500, **exact) as camera,
        watched(camera, pulls=PATIENT) as (_, viewer),
    ):
        await more(viewer, 150)
        assert viewer.cuts == 0
        assert viewer.longest_gap_us() < 40_000
        assert camera.connections == 1


async def test_camera_that_resets_again_and_again_has_one_session_at_a_time() -> None:
    async with (
        fault_camera(login=Login()) as camera,
        place(from_camera(camera, login="admin:s3cret@"), serves=False) as edge,
        watching(edge) as viewer,
    ):
        await until(lambda: viewer.units)
        for cuts in (1, 2):
            camera.reset()
            await until(lambda cuts=cuts: viewer.cuts == cuts)
        assert camera.most_playing == 1
        assert len(camera.open) == 1
        assert last_error(edge).startswith(("ended: ", "unreachable: "))
