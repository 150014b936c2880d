"""CPU per delivered MB of the fan-out, beside a bare Python sender and a bare C one.

One 2 Mbps stream (30 pictures and 47 audio frames a second), viewers on loopback. All three
senders hold their viewers all the time and are pinned to one core, the viewers to another; they
take turns, so a ratio is of runs a second apart. The bare senders wake once per batch and keep no
sessions: they are lower bounds, not servers. Delay: from a tag's due time to its arrival, of a few
viewers. "ours" is without the CPU of publishing the same tags to nobody, measured each time before
(the event loop waking 77 times a second), because the others are handed their tags.

    python bench/fanout.py [--viewers 1000,200] [--batches 50,100,200] [--pairs 5] [--seconds 1]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import select
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from measure import LOAD_CORE, SERVER_CORE, pin

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

STREAM_BPS = 2_080_000
SAMPLED = 16  # viewers whose bytes are looked at
STAMP = struct.Struct("=Iq")  # a tag begins with its size and the time it was due
RECEIVE_BYTES = 1 << 20
C_SOURCE = Path(__file__).with_name("fanout_send.c")


def one_second() -> list[tuple[int, int]]:
    """(offset_us, size_bytes) of the tags of each second: a key, 29 pictures, 47 audio frames."""
    rng = random.Random(1)
    audio = [(index * 1_000_000 // 47, 180) for index in range(47)]
    picture_bytes = (STREAM_BPS // 8 - 47 * 180) // (29 + 5)
    sizes = [5 * picture_bytes, *(int(picture_bytes * rng.uniform(0.6, 1.4)) for _ in range(29))]
    video = [(index * 1_000_000 // 30, size) for index, size in enumerate(sizes)]
    return sorted(audio + video)


# -- the senders: child processes that obey "run INTERVAL_US DURATION_US" -------------------------


def accept_viewers(count: int) -> list[socket.socket]:
    """Prints the port that viewers connect to."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        print(listener.getsockname()[1], flush=True)  # noqa: T201
        return [listener.accept()[0] for _ in range(count)]


def due_tags(start_ns: int) -> Iterator[tuple[int, bytes]]:
    """(offset in microseconds, bytes) without end, stamped with the time each is due."""
    second_us = 0
    padding = bytes(1 << 20)
    while True:
        for offset_us, size_bytes in one_second_cached():
            at_us = second_us + offset_us
            head = STAMP.pack(size_bytes, start_ns + at_us * 1000)
            yield at_us, head + padding[: size_bytes - len(head)]
        second_us += 1_000_000


_SECOND: list[tuple[int, int]] = []


def one_second_cached() -> list[tuple[int, int]]:
    if not _SECOND:
        _SECOND.extend(one_second())
    return _SECOND


def send_raw(viewers: list[socket.socket], interval_us: int, duration_us: int) -> int:
    """The least that a sender in Python does; returns the bytes sent."""
    start_ns = time.monotonic_ns()
    tags = due_tags(start_ns)
    at_us, tag = next(tags)
    sent_bytes = 0
    rests: dict[socket.socket, memoryview] = {}  # sent before the next batch, which is left out
    for flush_us in range(interval_us, duration_us + 1, interval_us):
        time.sleep(max(0, start_ns + flush_us * 1000 - time.monotonic_ns()) / 1e9)
        batch = []
        while at_us < flush_us:
            batch.append(tag)
            at_us, tag = next(tags)
        data = b"".join(batch)
        size = len(data)
        for viewer in viewers:
            rest = rests.pop(viewer) if rests and viewer in rests else None
            try:
                sent = viewer.send(data if rest is None else rest)
            except BlockingIOError:
                sent = 0
            sent_bytes += sent
            if sent < (size if rest is None else len(rest)):
                rests[viewer] = (memoryview(data) if rest is None else rest)[sent:]
    return sent_bytes


def serve_raw(count: int) -> None:
    from appliance.net.fanout_sink import set_streaming_options

    viewers = accept_viewers(count)
    for viewer in viewers:
        viewer.setblocking(False)
        set_streaming_options(viewer)
    for line in sys.stdin:
        _, interval_us, duration_us = line.split()
        cpu_ns = time.process_time_ns()
        sent = send_raw(viewers, int(interval_us), int(duration_us))
        print((time.process_time_ns() - cpu_ns) // 1000, sent, flush=True)  # noqa: T201


async def serve_ours(count: int) -> None:
    from appliance.hub.ring import Ring
    from appliance.media.unit import Chunk
    from appliance.net.fanout import FanOut, FanOutSettings
    from appliance.net.fanout_sink import SocketSink

    viewers = accept_viewers(count)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command, interval_us, duration_us = line.split()
        ring: Ring[Chunk] = Ring(max_bytes=8 << 20, max_duration_us=12_000_000)
        settings = FanOutSettings(few_viewers=0, many_viewers=1, max_interval_us=int(interval_us))
        fanout = FanOut(ring, settings)
        sinks = [SocketSink(viewer.dup()) for viewer in viewers if command == "run"]
        members = [fanout.add(sink) for sink in sinks]
        running = asyncio.create_task(fanout.run())
        cpu_ns = time.process_time_ns()
        start_ns = time.monotonic_ns()
        for at_us, tag in due_tags(start_ns):
            if at_us >= int(duration_us):
                break
            wait_s = (start_ns + at_us * 1000 - time.monotonic_ns()) / 1e9
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            ring.append(Chunk(tag, at_us, 0, key=at_us % 1_000_000 == 0))
        ring.close()
        await running
        cpu_us = (time.process_time_ns() - cpu_ns) // 1000
        print(cpu_us, sum(member.sent_bytes for member in members), flush=True)  # noqa: T201


# -- the load and the comparison -----------------------------------------------------------------


@dataclass(slots=True)
class Watched:
    """A viewer whose tags are looked at as they arrive."""

    buffer: bytearray = field(default_factory=bytearray)

    def receive(self, data: memoryview, now_ns: int, delays_ms: list[float]) -> None:
        self.buffer += data
        start = 0
        while len(self.buffer) - start >= STAMP.size:
            size, due_ns = STAMP.unpack_from(self.buffer, start)
            if len(self.buffer) - start < size:
                break
            delays_ms.append((now_ns - due_ns) / 1e6)
            start += size
        del self.buffer[:start]


@dataclass(slots=True)
class Run:
    """ingest_us: CPU of publishing the same tags to nobody, which `cpu_us` is without."""

    cpu_us: int
    ingest_us: int
    sent_mb: float
    delays_ms: list[float]


class Sender:
    """A sender's process with its viewers, all in this process."""

    def __init__(self, name: str, command: list[str], viewers: int) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [*pin(SERVER_CORE), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert self.process.stdout is not None
        port = int(self.process.stdout.readline())
        self.sockets: dict[int, socket.socket] = {}
        self.watched: dict[int, Watched] = {}
        for _ in range(viewers):
            sock = socket.create_connection(("127.0.0.1", port))
            sock.setblocking(False)
            self.sockets[sock.fileno()] = sock
        for fd in list(self.sockets)[:: max(1, viewers // SAMPLED)]:
            self.watched[fd] = Watched()

    def run(self, interval_us: int, seconds: float) -> Run:
        for watched in self.watched.values():
            watched.buffer.clear()
        ingest_us = 0
        if self.name == "ours":
            ingest_us, _ = self._command("ingest", interval_us, seconds, [])
        delays_ms: list[float] = []
        cpu_us, sent_bytes = self._command("run", interval_us, seconds, delays_ms)
        return Run(cpu_us - ingest_us, ingest_us, sent_bytes / 1e6, delays_ms)

    def _command(
        self, command: str, interval_us: int, seconds: float, delays_ms: list[float]
    ) -> tuple[int, int]:
        """CPU microseconds and bytes sent."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command} {interval_us} {int(seconds * 1e6)}\n")
        self.process.stdin.flush()
        with select.epoll() as poll:
            for fd in self.sockets:
                poll.register(fd, select.EPOLLIN)
            poll.register(self.process.stdout, select.EPOLLIN)
            self._receive(poll, self.process.stdout.fileno(), delays_ms)
        cpu_us, sent_bytes = map(int, self.process.stdout.readline().split())
        return cpu_us, sent_bytes

    def _receive(self, poll: select.epoll, done_fd: int, delays_ms: list[float]) -> None:
        buffer = bytearray(RECEIVE_BYTES)
        view = memoryview(buffer)
        is_done = False
        while events := poll.poll(0.05 if is_done else 10):
            for fd, _ in events:
                if fd == done_fd:
                    is_done = True
                    poll.unregister(fd)
                elif fd in self.watched:
                    count = self.sockets[fd].recv_into(buffer)
                    self.watched[fd].receive(view[:count], time.monotonic_ns(), delays_ms)
                else:
                    self.sockets[fd].recv_into(buffer, RECEIVE_BYTES, socket.MSG_TRUNC)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        for sock in self.sockets.values():
            sock.close()
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def senders(viewers: int) -> Iterator[list[Sender]]:
    script = [sys.executable, __file__, "--count", str(viewers), "--sender"]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        made = []
        commands = {"ours": [*script, "ours"], "python": [*script, "raw"]}
        if shutil.which("gcc"):
            tags = Path(folder, "tags")
            tags.write_bytes(b"".join(struct.pack("=II", *tag) for tag in one_second()))
            program = str(Path(folder, "send"))
            subprocess.run(["gcc", "-O2", "-o", program, str(C_SOURCE)], check=True)
            commands["c"] = [program, str(viewers), str(tags)]
        for name, command in commands.items():
            made.append(Sender(name, command, viewers))
            stack.callback(made[-1].close)
        yield made


def compare(all_senders: list[Sender], batch_ms: int, pairs: int, seconds: float) -> None:
    runs: dict[str, list[Run]] = {sender.name: [] for sender in all_senders}
    for _ in range(pairs):
        for sender in all_senders:
            runs[sender.name].append(sender.run(batch_ms * 1000, seconds))
    costs = {name: [run.cpu_us / run.sent_mb for run in made] for name, made in runs.items()}
    delays = {name: [ms for run in made for ms in run.delays_ms] for name, made in runs.items()}
    figures = "  ".join(
        f"{name} {statistics.median(costs[name]):5.0f} ({percentiles(delays[name])})"
        for name in costs
    )
    others = [name for name in costs if name != "ours"]
    ratios = "  ".join(f"ours/{name} {ratio(costs['ours'], costs[name])}" for name in others)
    ingest_ms_per_s = statistics.median(run.ingest_us for run in runs["ours"]) / 1e3 / seconds
    print(f"  {batch_ms:3d} ms: {figures}")  # noqa: T201
    print(f"          {ratios}  (ingest {ingest_ms_per_s:.0f} ms/s)", flush=True)  # noqa: T201


def percentiles(delays_ms: list[float]) -> str:
    cuts = statistics.quantiles(delays_ms, n=20)
    return f"{cuts[9]:.0f}/{cuts[18]:.0f} ms"


def ratio(ours: list[float], theirs: list[float]) -> str:
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--viewers", default="1000,200")
    parser.add_argument("--batches", default="50,100,200", help="milliseconds")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--sender", choices=("ours", "raw"), help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.sender == "ours":
        asyncio.run(serve_ours(options.count))
        return
    if options.sender == "raw":
        serve_raw(options.count)
        return
    os.sched_setaffinity(0, {LOAD_CORE})
    print("CPU µs per delivered MB, medians (delay p50/p95); ratios: median (range)")  # noqa: T201
    for viewers in map(int, options.viewers.split(",")):
        print(f"{viewers} viewers of {STREAM_BPS / 1e6:.2f} Mbps")  # noqa: T201
        with senders(viewers) as all_senders:
            for batch_ms in map(int, options.batches.split(",")):
                compare(all_senders, batch_ms, options.pairs, options.seconds)


if __name__ == "__main__":
    main()
