"""What happens to the processes themselves, while somebody watches."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from appliance_process import ApplianceProcess
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
