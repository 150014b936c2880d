"""Programs that record a stream of the appliance, and when they have it all."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import av
from appliance_process import ApplianceProcess

from appliance.errors import ApplianceError

DEADLINE_S = 40.0
ESTABLISHED = "01"  # of /proc/net/tcp


@contextmanager
def running(
    *command: object, stdout: Path | None = None, user: str | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    with ExitStack() as stack:
        sink = stack.enter_context(stdout.open("wb")) if stdout else subprocess.DEVNULL
        words = [str(word) for word in command]
        process = subprocess.Popen(words, stdout=sink, stderr=subprocess.DEVNULL, user=user)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until(check: Callable[[], bool], what: str) -> None:
    """Polls other processes, which have no event to wait for."""
    end_s = time.monotonic() + DEADLINE_S
    while not check():
        assert time.monotonic() < end_s, what
        time.sleep(0.1)


def count_packets(file: Path, format: str = "flv") -> int:
    """Of what is there of a file that may still grow."""
    if not file.exists():
        return 0
    try:
        with contextlib.closing(av.open(str(file), format=format)) as demuxer:
            return sum(packet.size > 0 for packet in demuxer.demux())
    except (av.FFmpegError, ApplianceError):
        return 0


def wait_packets(file: Path, count: int, format: str = "flv") -> None:
    wait_until(lambda: count_packets(file, format) >= count, f"{count} packets in {file}")


def end_players(device: ApplianceProcess) -> None:
    """So that they write what they hold: by the API, once everything is on its way."""
    fields = {"Authorization": f"Bearer {device.owner_key}"}
    with urlopen(Request(device.url + "api/v1/clients/?count=100", headers=fields)) as reply:
        rows = json.load(reply)["clients"]
    for row in rows:
        url = f"{device.url}api/v1/clients/{row['id']}"
        if row["type"] != "hls-play":
            urlopen(Request(url, headers=fields, method="DELETE")).close()


def sessions_of(device: ApplianceProcess) -> int:
    """Of players that hold a connection."""
    with urlopen(device.url + "metrics") as reply:
        metrics = reply.read().decode()
    found = re.findall(r'^porthole_sessions\{kind="(?:rtmp|flv)-play"\} (\d+)', metrics, re.M)
    return sum(map(int, found))


def connections_to(port: int) -> int:
    """Of this machine, by IPv4: also those who wait for an answer."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == ESTABLISHED for row in rows)
