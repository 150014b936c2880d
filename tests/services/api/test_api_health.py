"""/healthz by a clock in the test's hand, and /metrics as Prometheus reads it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from api_rig import AUDIO, FAR, VIDEO, BenchCamera, Rig, api_rig

from appliance.media.unit import AccessUnit
from appliance.services.contract import StreamSettings

CAMERA = StreamSettings("live/camera", "pattern:", max_age_us=10_000_000)
S = 1_000_000


async def health(rig: Rig) -> tuple[int, Any]:
    reply = await rig.ask("/healthz", "", near=True)
    document = reply.json
    assert document["status"] == ("ok" if reply.status == 200 else "failing")
    return reply.status, document["streams"]


async def state(rig: Rig, name: str = "live/camera") -> tuple[int, str]:
    status, streams = await health(rig)
    return status, streams[name]["state"]


async def test_health_without_streams_is_well(tmp_path: Path) -> None:
    async with api_rig(tmp_path) as rig:
        assert await health(rig) == (200, {})


async def test_health_follows_the_age_of_frames(tmp_path: Path) -> None:
    async with api_rig(tmp_path, streams=(CAMERA,)) as rig:
        assert await state(rig) == (200, "starting")
        rig.clock.now_us += 10 * S
        assert await state(rig) == (503, "stale")
        rig.publish()
        assert await state(rig) == (200, "live")
        rig.clock.now_us += 10 * S
        assert await state(rig) == (200, "live")
        rig.clock.now_us += 1
        status, streams = await health(rig)
        assert status == 503
        assert streams["live/camera"] == {
            "state": "stale", "frame_age_ms": 10_000, "key_age_ms": 10_000, "max_age_ms": 10_000,
        }  # fmt: skip
        rig.publish()
        assert await state(rig) == (200, "live")


async def test_health_sees_a_stream_that_only_speaks_any_more(tmp_path: Path) -> None:
    async with api_rig(tmp_path, streams=(CAMERA,)) as rig:
        rig.publish()
        publisher = rig.context.hub.streams["live/camera"].publisher
        assert publisher is not None
        for _ in range(11):
            rig.clock.now_us += S
            publisher.write(AccessUnit(AUDIO, rig.clock.now_us, rig.clock.now_us, True, (b"x",)))
        assert await state(rig) == (503, "stale")


async def test_health_sees_a_stream_that_nobody_can_join_any_more(tmp_path: Path) -> None:
    async with api_rig(tmp_path, streams=(CAMERA,)) as rig:
        rig.publish()
        for _ in range(11):
            rig.clock.now_us += S
            rig.publish(key=False)
        assert await state(rig) == (503, "keyless")


async def test_health_bears_with_keyframes_that_are_far_apart(tmp_path: Path) -> None:
    async with api_rig(tmp_path, streams=(CAMERA,)) as rig:
        for second in range(90):
            rig.publish(key=second % 30 == 0)
            rig.clock.now_us += S
        assert await state(rig) == (200, "live")


async def test_health_of_on_demand_is_due_only_while_somebody_watches(tmp_path: Path) -> None:
    settings = StreamSettings("live/camera", "pattern:", on_demand=True)
    async with api_rig(tmp_path, streams=(settings,)) as rig:
        stream = rig.context.hub.streams["live/camera"]
        rig.clock.now_us += 100 * S
        assert await state(rig) == (200, "idle")
        with stream.demand.viewer():
            assert await state(rig) == (200, "starting")
            rig.publish()
            assert await state(rig) == (200, "live")
            rig.clock.now_us += 11 * S
            assert await state(rig) == (503, "stale")
        assert await state(rig) == (200, "idle")


async def test_health_of_a_camera_that_is_off_is_well(tmp_path: Path) -> None:
    small = StreamSettings("live/small", "camera:camera/sub")
    async with api_rig(tmp_path, streams=(CAMERA, small)) as rig:
        camera = BenchCamera("live/camera")
        camera.state = {"state": "off", "sub_stream": "live/small"}
        rig.context.cameras.add(camera)
        rig.clock.now_us += 100 * S
        status, streams = await health(rig)
        assert status == 200
        assert [each["state"] for each in streams.values()] == ["off", "off"]
        camera.state = {"state": "starting", "sub_stream": "live/small"}
        assert await state(rig) == (200, "starting"), "switched on just now"
        camera.state = {"state": "lost", "sub_stream": "live/small"}
        assert await state(rig) == (503, "stale")


async def test_health_of_a_slate_counts_the_media_it_stands_for(tmp_path: Path) -> None:
    """The still picture is new every second, and no sign of health."""
    async with api_rig(tmp_path, streams=(CAMERA,)) as rig:
        rig.publish()
        hub = rig.context.hub
        publisher = hub.streams["live/camera"].publisher
        assert publisher is not None
        publisher.close()
        slate = hub.publish("live/camera", "slate", stamped=True, placeholder="camera lost")
        slate.describe([VIDEO])
        for second in range(12):
            expected = (200, "live") if second <= 10 else (503, "lost")
            assert await state(rig) == expected, second
            rig.clock.now_us += S
            slate.write(AccessUnit(VIDEO, rig.clock.now_us, rig.clock.now_us, True, (b"x",)))
        slate.close()
        rig.publish()
        assert await state(rig) == (200, "live")


async def test_metrics_tell_how_cameras_are(tmp_path: Path) -> None:
    async with api_rig(tmp_path, streams=(CAMERA,)) as rig:
        for name, about in {
            "live/a": {
                "state": "live", "fps": 30, "measured_fps": 19.5, "encode_ms_p95": 48.5,
                "ladder": {"step": 2, "of": 4}, "sound": {"drift_ppm": -12.5, "skew_ms": 8},
            },
            "live/b": {
                "state": "off", "fps": "many", "ladder": None, "sound": 5, "bitrate_bps": True,
                "encode_ms_p95": 10**400, "measured_fps": -(10**4000),
            },
        }.items():  # fmt: skip
            camera = BenchCamera(name)
            camera.state = about
            rig.context.cameras.add(camera)
        rig.context.counters.add("camera_recoveries_total", 3, stream="live/a", rung="kill")
        text = (await rig.ask("/metrics", "", near=True)).text
        for line in (
            'porthole_camera_on{stream="live/a"} 1',
            'porthole_camera_on{stream="live/b"} 0',
            'porthole_camera_fps{stream="live/a"} 30',
            'porthole_camera_measured_fps{stream="live/a"} 19.5',
            'porthole_camera_encode_p95_seconds{stream="live/a"} 0.0485',
            'porthole_camera_ladder_step{stream="live/a"} 2',
            'porthole_camera_sound_drift_ppm{stream="live/a"} -12.5',
            'porthole_camera_sound_skew_seconds{stream="live/a"} 0.008',
            'porthole_camera_recoveries_total{rung="kill",stream="live/a"} 3',
        ):
            assert f"{line}\n" in text
        assert text.count('stream="live/b"') == 1, "what is no figure is left out"


async def test_metrics_tell_that_a_slate_stands_in(tmp_path: Path) -> None:
    async with api_rig(tmp_path, streams=(CAMERA,)) as rig:
        line = 'porthole_stream_placeholder{stream="live/camera"}'
        assert f"{line} 0\n" in (await rig.ask("/metrics", "", near=True)).text
        rig.context.hub.publish("live/camera", "slate", stamped=True, placeholder="off")
        assert f"{line} 1\n" in (await rig.ask("/metrics", "", near=True)).text


async def test_health_of_a_published_stream_is_due_only_while_published(tmp_path: Path) -> None:
    async with api_rig(tmp_path, streams=(StreamSettings("live/push"),)) as rig:
        rig.clock.now_us += 100 * S
        assert await state(rig, "live/push") == (200, "waiting")
        rig.publish("live/push")
        assert await state(rig, "live/push") == (200, "live")
        rig.clock.now_us += 11 * S
        assert await state(rig, "live/push") == (503, "stale")


async def test_health_leaves_out_streams_that_are_off(tmp_path: Path) -> None:
    off = StreamSettings("live/camera", "pattern:", enabled=False)
    async with api_rig(tmp_path, streams=(off,)) as rig:
        rig.clock.now_us += 100 * S
        assert await health(rig) == (200, {})


SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\})? (-?[0-9.e+-]+|NaN)')
SRS = {
    "srs_node_uname_info", "srs_build_info", "srs_cpu_percent", "srs_memory", "srs_streams",
    "srs_clients", "srs_send_bytes_total", "srs_receive_bytes_total", "srs_clients_total",
    "srs_clients_errs_total",
}  # fmt: skip


def parse(text: str) -> dict[str, float]:
    """Samples by name and labels; checks the text format as promtool does."""
    samples: dict[str, float] = {}
    types: dict[str, str] = {}
    family = ""
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, family, kind = line.split(" ")
            assert family not in types and kind in {"gauge", "counter"}
            assert (kind == "counter") == family.endswith("_total"), family
            types[family] = kind
        elif not line.startswith("# HELP "):
            match = SAMPLE.fullmatch(line)
            assert match, line
            assert match[1] == family
            key = f"{match[1]}{{{match[2] or ''}}}"
            assert key not in samples
            samples[key] = float(match[3])
    return samples


async def test_metrics_are_what_prometheus_reads(tmp_path: Path) -> None:
    async with api_rig(tmp_path, streams=(CAMERA,)) as rig:
        rig.publish()
        session = rig.context.sessions.open("hls", "hls-play", FAR)
        session.stream = "live/camera"
        session.sent.add(5000, rig.clock.now_us)
        rig.context.faults.count("hls", 'odd "reason"\\\n')
        rig.context.counters.add("camera_restarts", stream="live/camera")
        rig.context.counters.add("camera_restarts", 2, stream="live/door")
        rig.clock.now_us += 2 * S
        reply = await rig.ask("/metrics", "", near=True)
        assert reply.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        samples = parse(reply.text)
        assert {key.partition("{")[0] for key in samples} >= SRS
        for key, value in {
            "srs_streams{}": 1,
            "srs_clients{}": 1,
            "srs_clients_total{}": 1,
            "srs_clients_errs_total{}": 1,
            "srs_send_bytes_total{}": 5000,
            'porthole_stream_up{stream="live/camera"}': 1,
            'porthole_stream_viewers{stream="live/camera"}': 1,
            'porthole_stream_frame_age_seconds{stream="live/camera"}': 2,
            'porthole_stream_key_age_seconds{stream="live/camera"}': 2,
            'porthole_stream_sent_bytes_total{stream="live/camera"}': 5000,
            'porthole_stream_held_bytes{stream="live/camera"}': 1100,
            'porthole_stream_restarts_total{stream="live/camera"}': 0,
            'porthole_stream_received_bytes_total{stream="live/camera",kind="video"}': 1000,
            'porthole_stream_units_total{stream="live/camera",kind="audio"}': 1,
            'porthole_sessions{kind="hls-play"}': 1,
            'porthole_rejects_total{proto="hls",reason="odd \\"reason\\"\\\\\\n"}': 1,
            'porthole_camera_restarts_total{stream="live/door"}': 2,
        }.items():
            assert samples[key] == value, key
        assert samples["process_resident_memory_bytes{}"] > 1_000_000
        assert samples["process_open_fds{}"] > 3


async def test_metrics_counters_do_not_fall_when_clients_leave(tmp_path: Path) -> None:
    async with api_rig(tmp_path) as rig:
        rig.publish()
        for _ in range(3):
            session = rig.context.sessions.open("hls", "hls-play", FAR, stream="live/camera")
            session.sent.add(1000, rig.clock.now_us)
            rig.context.sessions.close(session)
        samples = parse((await rig.ask("/metrics", "", near=True)).text)
        assert samples["srs_send_bytes_total{}"] == 3000
        assert samples['porthole_stream_sent_bytes_total{stream="live/camera"}'] == 3000
        assert samples['porthole_sessions{kind="hls-play"}'] == 0
        assert samples['porthole_sessions_total{kind="hls-play"}'] == 3


async def test_metrics_of_a_stream_without_frames_leave_ages_out(tmp_path: Path) -> None:
    async with api_rig(tmp_path, streams=(CAMERA,)) as rig:
        samples = parse((await rig.ask("/metrics", "", near=True)).text)
        assert samples['porthole_stream_up{stream="live/camera"}'] == 0
        assert not any("age_seconds" in key for key in samples)


@pytest.mark.parametrize("missing", ["meminfo", "stat", "diskstats", "uptime", "loadavg"])
async def test_system_figures_that_a_sandbox_hides_are_zero(
    tmp_path: Path, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from appliance.services.api import system

    read = system._read
    monkeypatch.setattr(system, "_read", lambda path: "" if path == missing else read(path))
    async with api_rig(tmp_path) as rig:
        assert (await rig.ask("/api/v1/summaries")).json["data"]["ok"] is True
        assert (await rig.ask("/metrics")).status == 200
