"""What all benches share: pinned processes, their CPU time and memory, and honest ratios."""

from __future__ import annotations

import contextlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TICKS_HZ = os.sysconf("SC_CLK_TCK")
SERVER_CORE = 0
LOAD_CORE = (os.cpu_count() or 1) - 1


@dataclass(slots=True)
class Memory:
    """Of one process, in MB: resident, and the anonymous part of it."""

    rss_mb: float
    anonymous_mb: float


def memory(pid: int) -> Memory:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    fields = dict(re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE))
    return Memory(int(fields["Rss"]) / 1024, int(fields["Anonymous"]) / 1024)


def memory_files_mb(pid: int) -> float:
    """Memory that no process has mapped, so that no RSS shows it."""
    total = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if descriptor.readlink().name.startswith("memfd:"):
                total += descriptor.stat().st_blocks * 512
    return total / 2**20


def socket_memory_mb() -> float:
    """What the kernel holds for all TCP sockets of this machine; /proc/net/sockstat."""
    found = re.search(r"^TCP:.* mem (\d+)", Path("/proc/net/sockstat").read_text(), re.MULTILINE)
    return int(found[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20 if found else 0.0


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used, its threads included, its children not."""
    schedstat = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            schedstat += int((thread / "schedstat").read_text().split()[0])
    if schedstat:
        return schedstat / 1e9
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_HZ


def children(pid: int) -> list[int]:
    return [
        int(child)
        for thread in Path(f"/proc/{pid}/task").iterdir()
        for child in (thread / "children").read_text().split()
    ]


def pin(core: int) -> list[str]:
    return ["taskset", "-c", str(core)]


@contextlib.contextmanager
def process(
    *command: str, core: int = SERVER_CORE, **options: object
) -> Iterator[subprocess.Popen]:
    """A pinned child that is ended at the end of the block."""
    child = subprocess.Popen([*pin(core), *command], **options)  # type: ignore[call-overload]
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextlib.contextmanager
def porthole(*settings: str, core: int = SERVER_CORE) -> Iterator[tuple[int, str]]:
    """The real product on a free port of loopback with its own state: its pid and base URL."""
    command = (sys.executable, "-m", "appliance", "run", "--set", "http.listen=127.0.0.1:0")
    command += ("--set", "rtmp.listen=127.0.0.1:0", "--set", "rtsp.listen=127.0.0.1:0")
    with (
        tempfile.TemporaryDirectory(prefix="porthole-bench-") as state,
        process(
            *command,
            *(
                part
                for setting in (f"device.state={state}", *settings)
                for part in ("--set", setting)
            ),
            core=core,
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        ) as child,
    ):
        assert child.stderr is not None
        for line in child.stderr:
            if found := re.search(r"listening on (http://\S+?)/?\s*$", line):
                break
        else:
            raise SystemExit("porthole did not start; run it by hand to see why")
        drain = subprocess.Popen(["cat"], stdin=child.stderr, stdout=subprocess.DEVNULL)
        try:
            yield child.pid, found[1]
        finally:
            drain.terminate()
            drain.wait()


def fetch(url: str, timeout_s: float = 15) -> bytes:
    with urllib.request.urlopen(url, timeout=timeout_s) as reply:
        return reply.read()


def wait_for(url: str, deadline_s: float = 30) -> bytes:
    """The body of `url` as soon as it answers 200."""
    end = time.monotonic() + deadline_s
    while True:
        try:
            return fetch(url)
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


def spread(values: list[float], digits: int = 2) -> str:
    """median (min-max)"""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"
