"""What happens to the processes themselves, while somebody watches."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from appliance_process import ApplianceProcess, appliance_process
from canary import Canary
from siege import eventually, siege

MAX_GAP_S = 20.0  # 2 s to see that it stalls, back-off, a new worker, its first segment


def _worker_of(device: ApplianceProcess, stream: str) -> int:
    """By the size of its picture, the only thing its arguments tell."""
    width = {"live/camera": b"640", "live/second": b"160"}[stream]
    for pid in device.children():
        if b'"width": ' + width in Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"_px", b""):
            return pid
    raise AssertionError(f"no worker of {stream}")


def _garbage(pid: int) -> None:
    """Into the pipe of its media, which is none of its standard streams."""
    links = {link.name: str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
    standard = {links[number] for number in "012"}
    pipes = [n for n, to in links.items() if to.startswith("pipe:") and to not in standard]
    for number in pipes:
        with Path(f"/proc/{pid}/fd/{number}").open("wb", buffering=0) as pipe:
            pipe.write(random.Random(1).randbytes(4096))
    assert pipes


def _stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("harm", [_garbage, _stop, _kill])
def test_worker_that_is_harmed_is_replaced_and_the_viewer_stays(
    device: ApplianceProcess, harm: Callable[[int], None]
) -> None:
    old = _worker_of(device, "live/camera")
    with siege(device, max_gap_s=MAX_GAP_S) as canary:
        canary.wait_segments(1)
        before = set(canary.discontinuous)
        told = len(device.lines)
        harm(old)
        device.wait_line("live/camera is live", since=told)
        assert eventually(lambda: bool(canary.discontinuous - before))
    assert not Path(f"/proc/{old}").exists()
    assert _worker_of(device, "live/camera") != old


def test_server_that_stood_still_goes_on(device: ApplianceProcess) -> None:
    workers = device.children()
    with siege(device, max_gap_s=MAX_GAP_S):
        os.kill(device.pid, signal.SIGSTOP)
        time.sleep(5)  # the standstill itself
        os.kill(device.pid, signal.SIGCONT)
    assert device.children() == workers
    with Canary(device.port) as canary:
        canary.wait_segments(3)
    canary.assert_content(MAX_GAP_S)


def test_health_of_a_camera_that_falls_silent_is_told_soon(tmp_path: Path) -> None:
    """Although its viewers see a slate by then: only real media counts."""
    overrides = ("camera.stall=60s", "stream.live/camera.max_age=4s")
    with appliance_process(tmp_path, *overrides) as device:
        device.wait_line("is live")
        (worker,) = device.children()
        _stop(worker)
        try:
            device.wait_line("viewers see")
            status, document = 200, {}
            while status == 200:
                status, document = _health(device)
            health = document["streams"]["live/camera"]
            assert (status, health["state"]) == (503, "lost")
            assert 4_000 <= health["frame_age_ms"] < 7_000
        finally:
            os.kill(worker, signal.SIGCONT)


def _health(device: ApplianceProcess) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", device.port, timeout=20)
    connection.request("GET", "/healthz")
    reply = connection.getresponse()
    try:
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()
