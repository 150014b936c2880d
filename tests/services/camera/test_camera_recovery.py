"""Workers that fail in every way there is, while somebody watches: each rung, and the slate."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from camera_fixture import NAME, SMALL, camera, stream_settings
from camera_site import Site, camera_site, wait_until
from scripted_worker import Play

from appliance.net import worker_process as process
from appliance.services.camera import Settings, feed, player
from appliance.wire.pipe.frames import MAX_FRAME_BYTES
from appliance.wire.pipe.messages import Change

# Bounds a busy machine can keep: what is asserted is their order, never their time.
SHORT = Settings(
    open_us=8_000_000,
    keyframe_after_us=600_000,
    encoder_after_us=1_100_000,
    reopen_after_us=1_600_000,
    stall_us=2_100_000,
    nice=0,
)
RUNGS = ["keyframe", "encoder", "camera", "kill"]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slates after less than a second, back-off of little more."""
    monkeypatch.setattr(player, "LOST_US", 800_000)
    monkeypatch.setattr(player, "TICK_S", 0.1)
    monkeypatch.setattr(feed, "MIN_BACKOFF_S", 0.3)


def rungs_told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """In the order of the log."""
    words = {
        "asking for a keyframe": "keyframe",
        "restarting the encoder": "encoder",
        "closing the camera": "camera",
        "stalled: no": "kill",
    }
    lines = [record.getMessage() for record in caplog.records]
    return [rung for line in lines for text, rung in words.items() if text in line]


async def back_live(site: Site) -> None:
    """Real media again, seen by the viewer beyond the slate."""
    await wait_until(lambda: site.device.stream.is_live)
    await site.viewer.wait_more(2)
    site.viewer.assert_content()


async def test_camera_silent_for_good_climbs_every_rung_and_its_viewer_stays(
    play: Play, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """It ignores SIGTERM and every command; the next worker is well."""
    caplog.set_level(logging.INFO)
    play(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "log = Path(__file__).with_suffix('.commands')\n"
        "listen(lambda c: RUN or log.write_text(log.read_text() + repr(c) + '\\n'\n"
        "       if log.exists() else repr(c) + '\\n'))\n"
        "say((VIDEO, AUDIO))\n"
        "end = now_us() + 3_000_000\n"
        "film(lambda: RUN or now_us() < end)\n"
        "time.sleep(600)\n"
    )
    async with camera_site(stream_settings(), settings=SHORT) as site:
        device = site.device
        await wait_until(lambda: device.stream.placeholder)
        assert device.stream.placeholder == "camera lost, retrying"
        await wait_until(lambda: device.restarts("stalled"))
        await back_live(site)
        assert device.stream.placeholder == ""
        described = device.camera.describe()["recovery"]
        assert described["rung"] == "kill"
        assert described["why"].startswith("no picture for 2.")
        assert described["back"].startswith("picture is back after")
        assert described["rounds"] == 1
    assert [device.recoveries(rung) for rung in RUNGS] == [1, 1, 1, 1]
    assert device.restarts("stalled") == 1
    assert rungs_told(caplog) == RUNGS
    assert any("picture is back after" in record.getMessage() for record in caplog.records)
    commands = (tmp_path / "worker.commands").read_text().splitlines()
    asked = [line for line in commands if not line.startswith("RequestKeyframe")]
    assert asked == ["Recover(rung=<Rung.ENCODER: 1>)", "Recover(rung=<Rung.CAMERA: 2>)"]
    assert len(commands) > len(asked)


@pytest.mark.alone  # rungs are half a second apart
@pytest.mark.parametrize(
    ("cure", "rung"),
    [
        ("RequestKeyframe", "keyframe"),
        ("Rung.ENCODER", "encoder"),
        ("Rung.CAMERA", "camera"),
    ],
)
async def test_camera_that_a_rung_cures_climbs_no_further(
    play: Play, cure: str, rung: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    play(
        "well = threading.Event()\n"
        f"listen(lambda c: stopped and {cure!r} in repr(c) and well.set())\n"
        "stopped = []\n"
        "say((VIDEO, AUDIO))\n"
        "end = now_us() + 3_000_000\n"
        "film(lambda: now_us() < end)\n"
        "stopped.append(1)\n"
        "well.wait()\n"
        "film()\n"
    )
    async with camera_site(stream_settings(), settings=SHORT) as site:
        await wait_until(lambda: site.device.recoveries(rung))
        (pid,) = site.device.workers
        await wait_until(lambda: site.device.camera.describe()["recovery"]["back"])
        await back_live(site)
        assert site.device.recoveries("kill") == 0
        assert pid in site.device.workers
    assert rungs_told(caplog)[: RUNGS.index(rung) + 1] == RUNGS[: RUNGS.index(rung) + 1]
    assert "kill" not in rungs_told(caplog)


async def test_camera_without_keyframes_is_not_left_alone(
    play: Play, caplog: pytest.LogCaptureFixture
) -> None:
    """Pictures come, but none that a viewer could join at; the encoder was set to 400 ms."""
    caplog.set_level(logging.INFO)
    play("listen()\nsay((VIDEO, AUDIO))\nfilm(lambda: not saw(Recover), every=10**9)\nfilm()\n")
    async with camera_site(stream_settings(), settings=SHORT) as site:
        await wait_until(lambda: site.device.recoveries("encoder"))
        await back_live(site)
        assert site.device.recoveries("kill") == 0
    assert "no keyframe for" in caplog.text
    assert "a keyframe is back after" in caplog.text


@pytest.mark.alone  # pictures late by half a second are what it is about
async def test_camera_that_passes_through_is_not_killed_for_want_of_keyframes(play: Play) -> None:
    """An H.264 camera with intra refresh: one keyframe at its start, and then never again."""
    play("listen()\nsay((VIDEO, AUDIO), State({'encoder': 'camera'}))\nfilm(every=10**9)\n")
    async with camera(stream_settings("v4l2:auto"), settings=SHORT) as device:
        units = await device.wait_units(150)
        assert sum(unit.key for unit in units) == 1
        assert [device.recoveries(rung) for rung in RUNGS] == [0, 0, 0, 0]
        assert device.restarts("stalled") == 0


FAULTS = {
    "exits": "sys.exit(3)",
    "is killed": "os.kill(os.getpid(), signal.SIGSEGV)",
    "blocks and ignores everything": (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); os.kill(os.getpid(), signal.SIGSTOP)"
    ),
    "sends garbage": "write(os.urandom(100_000)); time.sleep(600)",
    "sends an oversize frame": (
        f"write(({MAX_FRAME_BYTES + 1}).to_bytes(4, 'big') + b'\\x11')\n"
        "while True: write(bytes(65536))"
    ),
    "never ends a frame": (
        f"write(({MAX_FRAME_BYTES}).to_bytes(4, 'big') + b'\\x11')\n"
        "while True: write(bytes(1)); time.sleep(0.05)"
    ),
    "sends only sound": "while True: say(audio_unit(now_us())); time.sleep(0.02)",
    "jumps an hour ahead": "film_at(3_600_000_000)",
    "jumps hours back": "film_at(-7_200_000_000)",
    "jumps to and fro": "film_at(3_600_000_000, -3_600_000_000)",
    "sends a hundred times too much": "film(fps=2500)",
    "sends all it can": "while True: say(*(picture(now_us(), 1) for _ in range(100)))",
    "sends pictures as large as can be": (
        "big = (b'\\x65' + bytes(4_000_000),)\n"
        "while True: say(AccessUnit(VIDEO, now_us(), now_us(), True, big))"
    ),
    "floods state": "while True: say(State({'device': 'x' * 50_000}))",
    "floods tracks": "while True: say((VIDEO, AUDIO))",
    "floods answers": "while True: say(Answer(7, 'no'), Picture(9, error='none'))",
    "closes its output": "os.close(1); time.sleep(600)",
    "tells a fault": "say(Fault(Reason.SOURCE_LOST, 'it was unplugged')); time.sleep(600)",
}


@pytest.mark.alone  # what floods takes all the time it gets
@pytest.mark.parametrize("part", range(3))
async def test_camera_whose_worker_fails_keeps_its_viewer(play: Play, part: int) -> None:
    """Some cameras at once, each with a fault of its own; the workers after that are well."""
    faults = {f"live/{name.replace(' ', '-')}": script for name, script in FAULTS.items()}
    names = list(faults)[part::3]
    play(
        f"FAULTS = {faults!r}\n"
        "listen()\n"
        "def film_at(*offsets):\n"
        "    for number in itertools.count():\n"
        "        say(picture(now_us() + offsets[number % len(offsets)], number))\n"
        "        time.sleep(0.04)\n"
        "say((VIDEO, AUDIO))\n"
        "end = now_us() + 2_500_000\n"
        "film(lambda: RUN or now_us() < end)\n"
        "exec(FAULTS[OPTIONS['stream']])"
    )
    streams = [replace(stream_settings(), name=name) for name in names]
    async with camera_site(*streams, settings=SHORT, names=names) as site:
        await asyncio.gather(*(assert_viewer_stays(site, name) for name in names))
        assert site.device.context.watchdog.reasons == {}


async def assert_viewer_stays(site: Site, name: str) -> None:
    context, viewer = site.device.context, site.viewers[name]
    stream = context.hub.find(name)
    await wait_until(lambda: stream.is_live)
    await viewer.wait_more(1)
    await wait_until(lambda: restarts_of(site, name))
    await wait_until(lambda: stream.is_live)
    await viewer.wait_more(2)
    if "large" in name:  # where it is slow it is no flood for a while, and memory ends the window
        viewer.findings = [finding for finding in viewer.findings if "are left" not in finding]
    viewer.assert_content()
    ring = stream.units
    assert len(ring.items) < 10_000 and ring.size_bytes <= stream.limits.units_bytes


def restarts_of(site: Site, name: str) -> list[str]:
    """Why the stream's workers ended so far."""
    counts = site.device.context.counters.values
    return [
        dict(labels)["reason"]
        for counter, labels in counts
        if counter == "camera_restarts_total" and ("stream", name) in labels
    ]


@pytest.mark.alone  # pictures late by half a second are what it is about
async def test_camera_of_the_real_pipeline_is_mended_by_its_rung(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the appliance asks for is what the worker's own pipeline does."""
    mended_by = {"live/keyless": "keyframe", "live/encoder": "encoder", "live/camera": "camera"}
    real = process.command

    def command(options: Mapping[str, Any], *, nice: int) -> list[str]:
        if "slate_text" in options:
            return real(options, nice=nice)
        kind = options["stream"].rpartition("/")[2]
        program = str(Path(__file__).with_name("faulty_worker.py"))
        given = ["--options-json", json.dumps(options), "--parent", str(os.getpid())]
        return [sys.executable, program, f"fault:{kind},75", *given]

    monkeypatch.setattr(process, "command", command)
    streams = [replace(stream_settings(), name=name) for name in mended_by]
    patient = replace(SHORT, stall_us=20_000_000)
    async with camera_site(*streams, settings=patient, names=list(mended_by)) as site:
        for name, rung in mended_by.items():
            stream = site.device.context.hub.find(name)
            await wait_until(lambda rung=rung, name=name: site.device.recoveries(rung, name))
            camera_ = site.device.context.cameras.find(name)
            await wait_until(lambda one=camera_: one.describe()["recovery"].get("back"))
            await wait_until(lambda stream=stream: stream.is_live)
        for name in mended_by:
            await site.viewers[name].wait_more(2)
            site.viewers[name].assert_content()
            assert restarts_of(site, name) == []


async def test_camera_starved_pipe_costs_pictures_and_nothing_else(play: Play) -> None:
    """Its worker can say 64 KB a second of the 200 KB it makes."""
    play(
        "source = os.environ['PORTHOLE_SOURCE']\n"
        "worker = subprocess.Popen([sys.executable, '-P', '-m', 'appliance.capture', '-',\n"
        "    '--options-json', sys.argv[2], '--parent', str(os.getpid())], stdin=0,\n"
        "    stdout=subprocess.PIPE)\n"
        "while data := worker.stdout.read1(6_400):\n"
        "    write(data); time.sleep(len(data) / 64_000)\n"
    )
    video = type(SMALL)(width=640, height=360, fps=25, bitrate_bps=4_000_000, keyframe_us=400_000)
    settings = Settings(nice=0)
    async with camera_site(stream_settings(video=video), settings=settings) as site:
        device = site.device
        labels = (("stream", NAME),)
        lost = device.context.counters.values
        await wait_until(lambda: lost["camera_dropped_frames_total", labels] > 5)
        await site.viewer.wait_more(3)
        site.viewer.assert_content()
        assert device.restarts("stalled") == 0
        assert device.stream.is_live


async def test_camera_that_fails_again_and_again_is_left_to_the_watchdog(
    play: Play, caplog: pytest.LogCaptureFixture
) -> None:
    play("sys.exit(3)")
    settings = Settings(rounds=3, nice=0)
    async with camera(stream_settings(slate=False), settings=settings) as device:
        await device.wait(lambda: device.context.watchdog.reasons)
        (who,) = device.context.watchdog.reasons
        assert who == f"camera {NAME}"
        assert device.restarts("died") >= 3
        assert device.recoveries("watchdog") == 1
        assert device.service.reload(settings, ()) == []  # it is not configured any more
        assert device.context.watchdog.reasons == {}
    assert "3 workers failed in a row without one good minute" in caplog.text


@pytest.mark.parametrize("reason", ["SOURCE_MISSING", "SOURCE_LOST", "CANNOT_OPEN", "ENCODER"])
async def test_camera_that_is_not_there_is_no_case_for_the_watchdog(
    play: Play, reason: str
) -> None:
    play(f"say(Fault(Reason.{reason}, 'plug it in'))")
    settings = Settings(rounds=1, nice=0)
    async with camera(stream_settings(slate=False), settings=settings) as device:
        word = reason.lower().replace("_", "-")
        await device.wait(lambda: device.restarts(word) >= 3)
        assert device.context.watchdog.reasons == {}
        assert device.camera.describe()["last_fault"] == "plug it in"
        assert device.camera.describe()["state"] == "lost"


async def test_camera_that_does_not_read_is_replaced(play: Play) -> None:
    """It delivers, but never looks at what it is told."""
    play("say((VIDEO, AUDIO))\nfilm()\n")
    async with camera(stream_settings(), settings=SHORT) as device:
        await device.wait_units(3)
        session = device.service._feeds[NAME].session
        assert session is not None
        for number in range(40):
            session.send(Change(number, {"controls": {"gain": "x" * 30_000}}))
        await device.wait(lambda: device.restarts("deaf"))
