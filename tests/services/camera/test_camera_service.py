"""The camera service with real workers: media arrives, workers die, viewers stay."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from camera_fixture import NAME, PATIENT, SMALL, camera, make_clip, stream_settings

from appliance.errors import StreamBusy
from appliance.hub.subscription import Start
from appliance.media.track import Kind
from appliance.net.worker_process import command, environment
from appliance.services.camera import Settings
from appliance.services.contract import AudioSettings


async def test_camera_pattern_reaches_the_hub() -> None:
    async with camera(stream_settings()) as device:
        await device.stream.wait_tracks()
        video, audio = device.stream.tracks
        assert (video.config.width_px, video.config.height_px) == (320, 180)
        assert audio.config.rfc6381 == "mp4a.40.2"
        units = await device.wait_units(20)
        assert all(before.dts_us < after.dts_us for before, after in pairwise(units))
        assert not any(unit.discontinuity for unit in device.stream.units.items)
        publisher = device.stream.publisher
        assert publisher is not None and publisher.origin == "camera#1"
        (session,) = device.context.sessions.active.values()
        assert (session.id, session.stream, session.is_publisher) == ("camera#1", NAME, True)
        age_us = device.stream.clock.monotonic_us() - units[-1].dts_us
        assert age_us < 500_000
    assert device.context.sessions.active == {}


async def test_camera_children_are_watched_without_threads() -> None:
    threads = threading.active_count()
    async with camera(stream_settings()) as device:
        await device.wait_units(2)
        assert threading.active_count() == threads


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
async def test_camera_worker_that_dies_is_replaced_and_viewers_stay(number: signal.Signals) -> None:
    async with camera(stream_settings()) as device:
        before = (await device.wait_units(5))[-1]
        cursor = device.stream.subscribe(Start.NEXT_KEY)
        stream = device.stream
        (pid,) = device.workers
        killed_s = time.monotonic()
        os.kill(pid, number)
        await device.wait(lambda: not stream.is_live)
        await device.wait(lambda: stream.is_live)
        after = (await device.wait_units(5))[0]
        assert time.monotonic() - killed_s < 15
        assert device.stream is stream
        assert device.workers != [pid]
        video = device.units()
        marked = [unit for unit in video if unit.discontinuity]
        assert [unit.key for unit in marked] == [True]
        assert all(a.dts_us < b.dts_us for a, b in pairwise(video))
        assert before.dts_us < marked[0].dts_us <= after.dts_us
        assert [unit.track.kind for unit in cursor.take() if unit.discontinuity] == (
            [Kind.VIDEO, Kind.AUDIO]
        )
        assert device.restarts("died") == 1
        assert stream.restarts == 1


async def test_camera_worker_that_stands_still_is_killed() -> None:
    settings = Settings(stall_us=1_000_000)
    async with camera(stream_settings(), settings=settings) as device:
        await device.wait_units(5)
        (pid,) = device.workers
        os.kill(pid, signal.SIGSTOP)
        stopped_s = time.monotonic()
        await device.wait(lambda: not device.stream.is_live)
        assert 0.9 < time.monotonic() - stopped_s < 15
        await device.wait(lambda: device.stream.is_live)
        await device.wait_units(5)
        assert pid not in device.workers
        assert device.restarts("stalled") == 1


async def test_camera_worker_that_sends_nonsense_is_killed() -> None:
    async with camera(stream_settings()) as device:
        await device.wait_units(5)
        (pid,) = device.workers
        output = os.open(f"/proc/{pid}/fd/{output_descriptor(pid)}", os.O_WRONLY)
        os.write(output, b"GET / HTTP/1.1\r\n\r\n" * 100)
        os.close(output)
        await device.wait(lambda: not device.stream.is_live)
        await device.wait(lambda: device.stream.is_live)
        await device.wait_units(5)
        assert device.restarts("garbage") == 1
        assert device.context.faults.counts["camera", "garbage"] == 1
        assert pid not in device.workers


def output_descriptor(pid: int) -> int:
    """The worker's private descriptor of the pipe to us: the only pipe above 2 it writes to."""
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        if int(entry.name) > 2 and str(entry.readlink()).startswith("pipe:"):
            flags = Path(f"/proc/{pid}/fdinfo/{entry.name}").read_text().split("flags:")[1]
            if int(flags.split()[0], 8) & os.O_ACCMODE == os.O_WRONLY:
                return int(entry.name)
    raise AssertionError


def state_of(pid: int) -> str:
    """T when stopped (proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0]


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_camera_three_deaths_in_a_row_keep_the_timeline_growing() -> None:
    settings = stream_settings(audio=AudioSettings(device="none"), slate=False)
    async with camera(settings) as device:
        for _ in range(3):
            await device.wait_units(3)
            (pid,) = device.workers
            os.kill(pid, signal.SIGKILL)
            await device.wait(lambda pid=pid: device.workers and device.workers != [pid])
        await device.wait_units(3)
        video = device.units()
        assert all(a.dts_us < b.dts_us for a, b in pairwise(video))
        assert sum(unit.discontinuity for unit in video) == 3


async def test_camera_keyframe_request_reaches_the_encoder() -> None:
    video = type(SMALL)(**{**fields_of(SMALL), "keyframe_us": 60_000_000})
    async with camera(stream_settings(video=video)) as device:
        await device.wait_units(5)
        assert [unit.key for unit in device.units()].count(True) == 1
        assert device.stream.request_keyframe()
        assert not device.stream.request_keyframe()  # rate limited
        await device.wait(lambda: [unit.key for unit in device.units()].count(True) == 2)


def fields_of(settings: object) -> dict[str, object]:
    return {name: getattr(settings, name) for name in settings.__slots__}  # type: ignore[attr-defined]


async def test_camera_on_demand_runs_only_while_somebody_watches() -> None:
    settings = stream_settings(on_demand=True, on_demand_close_us=300_000)
    async with camera(settings) as device:
        assert device.workers == []
        for _ in range(2):
            with device.stream.demand.viewer():
                await device.stream.wait_tracks()
                await device.wait(lambda: device.stream.is_live)
                await device.wait_units(3)
                assert len(device.workers) == 1
            await device.wait(lambda: not device.stream.is_live and not device.workers)
        assert device.restarts("died") == 0
        assert not device.context.faults.counts
        assert device.context.sessions.totals["camera-publish"] == 2


async def test_camera_file_is_looped(tmp_path: Path) -> None:
    path = make_clip(tmp_path, "clip.mp4")
    async with camera(stream_settings(f"file:{path}")) as device:
        units = await device.wait_units(55)
        assert all(a.dts_us < b.dts_us for a, b in pairwise(units))
        assert not any(unit.discontinuity for unit in units)
        keys = [unit for unit in device.units() if unit.key]
        assert len(keys) >= 2
        assert bytes(keys[0].parts[-1]) == bytes(keys[1].parts[-1])


async def test_camera_missing_file_is_told_once_and_found_when_it_comes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "later.mp4"
    async with camera(stream_settings(f"file:{path}")) as device:
        await device.wait(lambda: device.restarts("source-missing") >= 3)
        told = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(told) == 1
        assert f"{path} does not exist: put the file there" in told[0].getMessage()
        assert "camera#1 live/camera" in told[0].getMessage()
        assert sum("worker starts" in record.getMessage() for record in caplog.records) == 1
        assert not device.stream.is_live
        make_clip(tmp_path, "made.mp4").rename(path)
        await device.wait(lambda: device.stream.is_live)


async def test_camera_source_in_the_log_and_on_the_command_line_tells_no_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    source = "av:http://user:secret@127.0.0.1:9/x?key=secret"
    async with camera(stream_settings(source)) as device:
        await device.wait(lambda: device.restarts("cannot-open") >= 1)
    logged = [r.getMessage() for r in caplog.records if r.name.startswith("appliance")]
    assert any("http://127.0.0.1:9/x cannot be opened" in text for text in logged)
    assert not any("secret" in text for text in logged)
    assert not any("secret" in word for word in command({}, nice=0))
    assert environment(source)["PORTHOLE_SOURCE"] == source


def test_camera_environment_of_a_worker_has_no_secret_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PORTHOLE_AUTH_SECRET", "hush")
    assert "hush" not in environment("pattern:").values()


async def test_camera_second_publisher_is_refused_while_it_is_live() -> None:
    async with camera(stream_settings()) as device:
        await device.wait_units(2)
        with pytest.raises(StreamBusy):
            device.context.hub.publish(NAME, "rtmp#9")


async def test_camera_gives_way_to_a_takeover_and_comes_back() -> None:
    async with camera(stream_settings()) as device:
        await device.wait_units(2)
        async with device.context.hub.publish(NAME, "rtmp#9", takeover=True) as publisher:
            await device.wait(lambda: not device.workers)
            assert device.stream.publisher is publisher
            assert device.restarts("taken-over") == 1
        await device.wait(lambda: device.stream.is_live)
        await device.wait_units(2)


async def test_camera_stop_ends_a_worker_that_ignores_everything() -> None:
    device_ = camera(stream_settings(), settings=Settings(stall_us=60_000_000))
    async with device_ as device:
        await device.wait_units(2)
        (pid,) = device.workers
        os.kill(pid, signal.SIGSTOP)  # a stopped process does not die of SIGTERM
        await device.wait(lambda: state_of(pid) == "T")
        started_s = time.monotonic()
        await device.service.stop()
        assert 1.9 < time.monotonic() - started_s < 6
        assert not is_there(pid)  # neither running nor a zombie


async def test_camera_kicked_session_is_replaced() -> None:
    async with camera(stream_settings()) as device:
        await device.wait_units(2)
        (session,) = device.context.sessions.active.values()
        assert session.kick is not None
        session.kick()
        await device.wait(lambda: not device.stream.is_live)
        await device.wait(lambda: device.stream.is_live)
        assert device.restarts("kicked") == 1


async def test_camera_reload_replaces_what_changed_and_nothing_else(tmp_path: Path) -> None:
    other = type(stream_settings())("live/other", "pattern:", video=SMALL)
    async with camera(stream_settings(), other) as device:
        await device.wait_units(2)
        untouched = device.context.hub.find("live/other")
        await untouched.wait_tracks()
        publisher = untouched.publisher
        stream = device.stream
        path = make_clip(tmp_path, "clip.mp4")
        changed = stream_settings(f"file:{path}")
        assert device.service.reload(PATIENT, (changed, other)) == []
        await device.wait(lambda: stream.tracks[0].config.width_px == 192)
        assert untouched.publisher is publisher
        assert device.stream is stream
        assert device.service.reload(PATIENT, (changed,)) == []
        assert "live/other" not in device.context.hub.streams
        assert device.service.reload(Settings(nice=9), (changed,)) == ["camera"]
        await device.wait(lambda: len(device.workers) == 1)


async def test_camera_stream_that_is_not_ours_or_disabled_is_left_alone() -> None:
    rtsp = type(stream_settings())("live/rtsp", "rtsp://camera/")
    async with camera(stream_settings(enabled=False), rtsp) as device:
        assert device.context.hub.streams == {}
        assert device.workers == []


async def test_camera_worker_flooding_its_log_is_bounded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with camera(stream_settings()) as device:
        await device.wait_units(2)
        (pid,) = device.workers
        descriptor = os.open(f"/proc/{pid}/fd/2", os.O_WRONLY)
        for _ in range(50):
            os.write(descriptor, b"noise\n" * 500)
            await asyncio.sleep(0)
        os.close(descriptor)
        await device.wait_units(5)
        assert sum("noise" in record.getMessage() for record in caplog.records) <= 25


async def test_camera_crowd_of_viewers_does_not_keep_it_from_restarting() -> None:
    async with camera(stream_settings()) as device:
        await device.wait_units(2)
        device.context.sessions.max_sessions = 1
        (pid,) = device.workers
        os.kill(pid, signal.SIGKILL)
        await device.wait(lambda: device.workers and device.workers != [pid])
        await device.wait_units(2)
