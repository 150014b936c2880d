"""Workers that break the rules: scripts in a worker's place that speak the pipe badly, or not."""

from __future__ import annotations

import logging
import os
import select
import time
from dataclasses import replace
from pathlib import Path

import pytest
from camera_fixture import PATIENT, QUICK, Camera, camera, stream_settings
from scripted_worker import Play

from appliance.hub import telling
from appliance.net import worker_process as process
from appliance.net.worker_log import BURST_LINES, ErrorLog


async def fault_of(device: Camera, reason: str) -> None:
    await device.wait(lambda: device.restarts(reason))
    assert device.context.faults.counts["camera", reason] >= 1
    publisher = device.stream.publisher
    assert publisher is None or publisher.origin != "camera#1"


@pytest.mark.parametrize(
    ("reason", "script"),
    [
        ("garbage", "write(b'hello, world, this is not the pipe')"),
        ("garbage", "write(b'\\0\\0\\0\\x0b\\1PORTHOLE\\0\\x63'); time.sleep(60)"),
        ("garbage", "write(b'\\xff' * 100); time.sleep(60)"),
        ("garbage", "say(video_unit())"),
        ("garbage", "say((VIDEO,), video_unit(now_us() + 60_000_000)); time.sleep(60)"),
        ("garbage", "say((VIDEO,)); write(frame(Type.KEYFRAME)); time.sleep(60)"),
        ("stalled", "time.sleep(60)"),
        ("stalled", "say((VIDEO,)); time.sleep(60)"),
        ("stalled", "say((VIDEO,), video_unit(now_us())); time.sleep(60)"),
        (
            "stalled",
            "say((VIDEO,)); write(b'\\0\\x10\\0\\0\\x11')\nwhile True: write(b'x'); time.sleep(1)",
        ),
        (
            "stalled",  # sound goes on, but the picture stands still
            "say((VIDEO, AUDIO), video_unit(now_us()))\n"
            "while True: say(audio_unit(now_us())); time.sleep(0.1)",
        ),
        ("died", "sys.exit(3)"),
        ("died", "os.kill(os.getpid(), 9)"),
        ("died", "say((VIDEO,), video_unit(now_us())); os.close(1); time.sleep(60)"),
        ("internal", "say(Fault(Reason.INTERNAL, 'it broke')); time.sleep(60)"),
        ("cannot-open", "say((VIDEO,), video_unit(now_us()), Fault(Reason.CANNOT_OPEN, 'x'))"),
    ],
)
async def test_worker_that_breaks_the_rules_is_replaced(
    play: Play,
    reason: str,
    script: str,
) -> None:
    play(script)
    async with camera(
        stream_settings(), settings=QUICK if reason == "stalled" else PATIENT
    ) as device:
        await fault_of(device, reason)
        assert set(device.context.faults.counts) == {("camera", reason)}


async def test_worker_that_repeats_a_fault_is_told_once(
    play: Play,
    caplog: pytest.LogCaptureFixture,
) -> None:
    play("say(Fault(Reason.ENCODER, 'no encoder: install one'))")
    async with camera(stream_settings()) as device:
        await device.wait(lambda: device.restarts("encoder") >= 3)
    told = [
        record
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name.startswith("appliance")
    ]
    assert len(told) == 1
    assert "no encoder: install one" in told[0].getMessage()


async def test_every_camera_that_fails_is_told(
    play: Play,
    caplog: pytest.LogCaptureFixture,
) -> None:
    play("say(Fault(Reason.ENCODER, 'no encoder: install one'))")
    names = ["live/camera", "live/two"]
    async with camera(*(replace(stream_settings(), name=name) for name in names)) as device:
        await device.wait(lambda: device.context.faults.counts["camera", "encoder"] >= 2)
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert sorted(line.split()[1] for line in told) == names


async def test_fault_that_lasts_is_told_again_with_its_attempts(
    play: Play,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(telling, "RETELL_US", 0)
    play("say(Fault(Reason.ENCODER, 'no encoder: install one'))")
    async with camera(stream_settings()) as device:
        await device.wait(lambda: device.restarts("encoder") >= 2)
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "after" not in told[0]
    assert "no encoder: install one (still, after 1 more attempts); trying again" in told[1]


async def test_worker_and_its_own_children_die_with_the_service(
    play: Play,
) -> None:
    """It ignores SIGTERM and has a child that holds the pipe open."""
    play(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        "sys.stderr.write(f'<4>child {child.pid}\\n'); sys.stderr.flush()\n"
        "say((VIDEO,))\n"
        "while True: say(video_unit(now_us())); time.sleep(0.04)\n"
    )
    async with camera(stream_settings()) as device:
        await device.wait_units(3)
        (grandchild,) = children_of(device.workers[0])
        descriptor = os.pidfd_open(grandchild)
        started_s = time.monotonic()
        await device.service.stop()
        assert time.monotonic() - started_s < 4
        ready, _, _ = select.select([descriptor], [], [], 5)  # its end makes it readable
        os.close(descriptor)
        assert ready


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def test_worker_gap_in_stamps_is_kept_and_marked(
    play: Play,
) -> None:
    """We were stopped for long: what comes then is of now, not moved to where we were."""
    play(
        "start = now_us() - 8_000_000\n"
        "say((VIDEO,), video_unit(start), video_unit(start + 40_000))\n"
        "while True: say(video_unit(now_us())); time.sleep(0.04)\n"
    )
    async with camera(stream_settings()) as device:
        units = await device.wait_units(5)
        (cut,) = [unit for unit in units if unit.discontinuity]
        assert abs(device.stream.clock.monotonic_us() - cut.dts_us) < 2_000_000
        assert abs(device.stream.clock.monotonic_us() - units[-1].dts_us) < 1_000_000
        assert not device.context.faults.counts


async def test_worker_that_cannot_be_started_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "command", lambda options, nice: ["/nowhere/python"])
    async with camera(stream_settings()) as device:
        await fault_of(device, "cannot-start")


async def test_worker_health_counts_dropped_pictures(
    play: Play,
) -> None:
    play(
        "from appliance.wire.pipe.messages import Health\n"
        "say((VIDEO,), video_unit(now_us()))\n"
        "for dropped in (3, 3, 7): say(Health(dropped, 0, 0))\n"
        "while True: say(video_unit(now_us())); time.sleep(0.04)\n"
    )
    async with camera(stream_settings()) as device:
        await device.wait_units(3)
        labels = (("stream", "live/camera"),)
        assert device.context.counters.values["camera_dropped_frames_total", labels] == 7


class Lines(logging.LoggerAdapter[logging.Logger]):
    def __init__(self) -> None:
        super().__init__(logging.getLogger("test"), {})
        self.told: list[tuple[int, str]] = []

    def log(self, level: int, msg: object, *args: object, **kwargs: object) -> None:  # type: ignore[override]
        self.told.append((level, str(msg) % args))


def test_error_log_reads_priorities_and_lines_cut_anywhere() -> None:
    lines = Lines()
    log = ErrorLog(lines)
    for byte in b"<3>an error\nplain\n<6>news \xff\x1b[31m\n<7>detail":
        log.receive(bytes((byte,)), 0)
    assert lines.told == [
        (logging.ERROR, "worker: an error"),
        (logging.WARNING, "worker: plain"),
        (logging.INFO, "worker: news \\ufffd\\x1b[31m"),
    ]
    log.receive_eof(0)
    assert lines.told[-1] == (logging.DEBUG, "worker: detail")


def test_error_log_is_bounded_in_lines_and_in_their_length() -> None:
    lines = Lines()
    log = ErrorLog(lines)
    log.receive(b"x" * 10_000_000 + b"\n", 1)
    assert len(lines.told[0][1]) < 600
    for _ in range(1000):
        log.receive(b"y\n", 1)
    assert len(lines.told) == BURST_LINES
    log.receive(b"later\n", 2_000_000)
    assert lines.told[-1][1] == "worker: later"
    log.receive_eof(2_000_000)
    assert "981 more lines" in lines.told[-1][1]
