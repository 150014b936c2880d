"""CPU per delivered MB of MJPEG: porthole's moving pictures beside a bare sender of the same bytes.

porthole takes the camera's stream in and gets a JPEG at a time from the worker, which it sends to
every viewer. The bare sender is a Python loop that has one such picture and, as often, calls `send`
once per viewer: what the kernel takes in any case, and no server. Senders and viewers run on a core
each; runs alternate. What porthole's process uses without viewers is measured first and left out.

    python bench/pictures.py [--viewers 50] [--fps 20] [--width 1280] [--pairs 5] [--seconds 4]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import resource
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from measure import LOAD_CORE, children, cpu_s, fetch, porthole, process, spread, wait_for

RECEIVE_BYTES = 1 << 20
ALONE_S = 4.0
WARM_UP_S = 2.0


@dataclass(slots=True)
class Result:
    us_per_mb: float
    picture_bytes: int


class Viewers:
    """All of them in one epoll loop; what they get is dropped in the kernel (MSG_TRUNC)."""

    def __init__(self, url: str, count: int) -> None:
        parts = urlsplit(url)
        head = f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n"
        self.poll = select.epoll()
        self.buffer = bytearray(RECEIVE_BYTES)
        address = parts.hostname, parts.port
        self.socks = [socket.create_connection(address, 10) for _ in range(count)]
        for sock in self.socks:
            sock.sendall(head.encode())
            sock.setblocking(False)
            self.poll.register(sock, select.EPOLLIN)

    def watch(self, seconds: float) -> int:
        """How many bytes came."""
        by_fd = {sock.fileno(): sock for sock in self.socks}
        end_s, received = time.monotonic() + seconds, 0
        while (left_s := end_s - time.monotonic()) > 0:
            for fd, _ in self.poll.poll(left_s):
                got = by_fd[fd].recv_into(self.buffer, RECEIVE_BYTES, socket.MSG_TRUNC)
                if not got:
                    raise SystemExit("a viewer was ended")
                received += got
        return received


@contextlib.contextmanager
def watching(url: str, count: int) -> Iterator[Viewers]:
    viewers = Viewers(url, count)
    try:
        viewers.watch(WARM_UP_S)
        yield viewers
    finally:
        for sock in viewers.socks:
            sock.close()


def measure(pid: int, viewers: Viewers, seconds: float, alone_share: float) -> tuple[float, float]:
    """(delivered MB, µs of CPU per MB)"""
    began_s, before_s = time.monotonic(), cpu_s(pid)
    megabytes = viewers.watch(seconds) / 1e6
    used_s = cpu_s(pid) - before_s - alone_share * (time.monotonic() - began_s)
    return megabytes, used_s / megabytes * 1e6


def pictures_made(base: str) -> int:
    text = fetch(f"{base}/metrics").decode()
    found = re.search(r"^porthole_pictures_total\{.*\} (\d+)", text, re.MULTILINE)
    return int(found[1]) if found else 0


def run_porthole(options: argparse.Namespace) -> Result:
    with porthole(f"pictures.viewers={options.viewers}") as (pid, base):
        wait_for(f"{base}/live/camera.jpg")
        before_s = cpu_s(pid)
        time.sleep(ALONE_S)
        alone_share = (cpu_s(pid) - before_s) / ALONE_S
        url = f"{base}/live/camera.mjpeg?fps={options.fps}&width={options.width}"
        with watching(url, options.viewers) as viewers:
            (worker,) = children(pid)
            made, worker_s = pictures_made(base), cpu_s(worker)
            megabytes, us_per_mb = measure(pid, viewers, options.seconds, alone_share)
            made, worker_s = pictures_made(base) - made, cpu_s(worker) - worker_s
    picture_bytes = int(megabytes * 1e6 / options.viewers / made)
    print(
        f"porthole: {options.viewers} viewers, {made / options.seconds:.1f} pictures/s of "
        f"{picture_bytes // 1000} kB, made once each: {us_per_mb:.0f} us/MB; "
        f"the worker, video included: {worker_s / options.seconds:.0%} of a core"
    )
    return Result(us_per_mb, picture_bytes)


def run_bare(options: argparse.Namespace, picture_bytes: int) -> Result:
    command = (sys.executable, __file__, "--bare", str(picture_bytes))
    wanted = ("--viewers", str(options.viewers), "--fps", str(options.fps))
    with process(*command, *wanted, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        with watching(f"http://127.0.0.1:{port}/", options.viewers) as viewers:
            _, us_per_mb = measure(child.pid, viewers, options.seconds, 0.0)
    print(f"bare:     {us_per_mb:.0f} us/MB")
    return Result(us_per_mb, picture_bytes)


def send_bare(viewers: int, fps: int, picture_bytes: int) -> None:
    """The child process; ends with its viewers."""
    picture = bytes(picture_bytes)
    with socket.create_server(("127.0.0.1", 0), backlog=viewers) as listener:
        print(listener.getsockname()[1], flush=True)
        socks = [listener.accept()[0] for _ in range(viewers)]
    for sock in socks:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    due_s = time.monotonic()
    with contextlib.suppress(ConnectionError):
        while True:
            for sock in socks:
                sock.sendall(picture)
            due_s += 1 / fps
            time.sleep(max(0.0, due_s - time.monotonic()))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--viewers", type=int, default=50)
    parser.add_argument("--fps", type=int, default=20)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--bare", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare is not None:
        send_bare(options.viewers, options.fps, options.bare)
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    os.sched_setaffinity(0, {LOAD_CORE})
    ours, bare = [], []
    for _ in range(options.pairs):
        result = run_porthole(options)
        ours.append(result.us_per_mb)
        bare.append(run_bare(options, result.picture_bytes).us_per_mb)
    ratios = [mine / other for mine, other in zip(ours, bare, strict=True)]
    print(f"us of CPU per delivered MB: porthole {spread(ours, 0)}, bare {spread(bare, 0)}")
    print(f"ratio: {spread(ratios)}")


if __name__ == "__main__":
    main()
