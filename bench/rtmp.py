"""Playing by RTMP and HTTP-FLV: CPU per delivered MB, delay and memory, against nginx-rtmp.

One publisher sends 2 Mbit/s at 30 pictures/s with its clock in every picture; players (a C program,
bench/rtmp_load.c) read and throw away, and the first twenty of them look for that clock. Server on
one core, publisher and players on the other. Servers alternate; medians, the ratio's range and the
delays are printed.

    python bench/rtmp.py [--players 200,1000] [--pairs 5] [--seconds 8] [--http] [--slow 100]

--http: our side is HTTP-FLV. --slow N: N more players that read at a fifth of the rate.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from measure import LOAD_CORE, ROOT, children, cpu_s, memory, pin, porthole, process, spread

sys.path.insert(0, str(ROOT))

from appliance.media.amf0 import EcmaArray, encode  # noqa: E402
from appliance.media.h264 import H264Config  # noqa: E402
from appliance.wire.rtmp.client import Purpose, RtmpClient, Started  # noqa: E402

SPS = bytes.fromhex("6764001facb402802dd350101014000003000400000300f23c60ca80")
PPS = bytes.fromhex("68ee3cb0")
MARK = b"PORTHOLE-BENCH-T"
FPS, KEY_EVERY = 30, 60
KEY_BYTES, PICTURE_BYTES = 40_000, 7_500
SOUND_EVERY_MS, SOUND_BYTES = 21, 170
NGINX = """
load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
rtmp {{ server {{ listen 127.0.0.1:{port}; chunk_size 4096; application live {{ live on; }} }} }}
"""


@dataclass(slots=True)
class Result:
    delivered_mb: float
    cpu_us_per_mb: float
    delay_ms: float
    delay_p99_ms: float
    first_ms: float
    rss_mb: float


@dataclass(slots=True)
class Server:
    pid: int
    port: int
    mode: str
    path: str


# -- the publisher ---------------------------------------------------------------------------------


class Publisher:
    """Blocking, paced by the clock. chunk_bytes: None for what the client core uses."""

    def __init__(self, port: int, name: str) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client = RtmpClient(
            Purpose.PUBLISH, tc_url=f"rtmp://127.0.0.1:{port}/live", app="live", name=name,
            noise=os.urandom(1536), agent="FMLE/3.0",
        )  # fmt: skip
        started = False
        while not started:
            self.flush()
            data = self.sock.recv(65536)
            if not data:
                raise SystemExit("the server closed the publisher")
            started = any(isinstance(e, Started) for e in self.client.receive(data, 0))
        self.noise = bytes(random.Random(1).choices(range(128, 256), k=KEY_BYTES))

    def flush(self) -> None:
        self.sock.sendall(self.client.take_output())

    def describe(self) -> None:
        facts = EcmaArray({"videocodecid": 7, "audiocodecid": 10, "width": 1280, "height": 720})
        self.client.send_media(18, 0, encode("@setDataFrame", "onMetaData", facts))
        avcc = H264Config((SPS,), (PPS,)).to_avcc()
        self.client.send_media(9, 0, b"\x17\0\0\0\0" + avcc)
        self.client.send_media(8, 0, b"\xaf\0" + bytes.fromhex("1190"))

    def picture(self, number: int, stamp_ms: int) -> None:
        key = number % KEY_EVERY == 0
        size = KEY_BYTES if key else PICTURE_BYTES
        clock = MARK + (time.monotonic_ns() // 1000).to_bytes(8, "big")
        nal = (b"\x65" if key else b"\x41") + clock + self.noise[: size - 30]
        head = (b"\x17" if key else b"\x27") + b"\1\0\0\0"
        self.client.send_media(9, stamp_ms, head + len(nal).to_bytes(4, "big") + nal)
        self.flush()

    def run(self) -> None:
        self.describe()
        began, pictures, sounds = time.monotonic(), 0, 0
        while True:
            now_ms = int((time.monotonic() - began) * 1000)
            while sounds * SOUND_EVERY_MS <= now_ms:
                self.client.send_media(
                    8, sounds * SOUND_EVERY_MS, b"\xaf\1" + self.noise[:SOUND_BYTES]
                )
                sounds += 1
            if pictures * 1000 // FPS <= now_ms:
                self.picture(pictures, pictures * 1000 // FPS)
                pictures += 1
            self.flush()
            self.sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                self.client.receive(self.sock.recv(65536), 0)
            self.sock.setblocking(True)
            time.sleep(max(0.001, began + pictures / FPS - time.monotonic()))


# -- the servers -----------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def nginx() -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        conf = Path(folder) / "nginx.conf"
        conf.write_text(NGINX.format(folder=folder, port=port))
        with process("nginx", "-p", folder, "-c", str(conf), stderr=subprocess.DEVNULL) as child:
            wait_port(port)
            yield Server(children(child.pid)[0], port, "rtmp", "bench")


@contextlib.contextmanager
def ours(*, http: bool) -> Iterator[tuple[Server, int]]:
    """And the port to publish to."""
    port = free_port()
    settings = (
        "stream.live/camera.enabled=false", "auth.publish=lan", f"rtmp.listen=127.0.0.1:{port}",
        "rtmp.max_connections=4096", "live.viewers=4096", "http.max_connections=4096",
    )  # fmt: skip
    with porthole(*settings) as (pid, url):
        if http:
            yield Server(pid, int(url.rpartition(":")[2]), "http", "/live/bench.flv"), port
        else:
            yield Server(pid, port, "rtmp", "bench"), port


def wait_port(port: int) -> None:
    end = time.monotonic() + 10
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        if time.monotonic() > end:
            raise SystemExit(f"nothing listens on port {port}")
        time.sleep(0.05)


@contextlib.contextmanager
def publishing(port: int) -> Iterator[None]:
    command = [*pin(LOAD_CORE), sys.executable, __file__, "--publish-to", str(port)]
    child = subprocess.Popen(command)
    try:
        time.sleep(2.5)  # a keyframe is there for who joins
        yield
    finally:
        child.kill()
        child.wait()


# -- measuring -------------------------------------------------------------------------------------


def measure(server: Server, load: str, players: int, seconds: float, slow: int) -> Result:
    settle_s = 2.0 + players / 400
    crowd = None
    if slow:
        arguments = [load, "slow", str(server.port), str(slow), str(seconds + settle_s + 1), "0.1"]
        crowd = subprocess.Popen(
            [*pin(LOAD_CORE), *arguments, server.path], stdout=subprocess.DEVNULL
        )
    arguments = [load, server.mode, str(server.port), str(players), str(seconds), str(settle_s)]
    child = subprocess.Popen(
        [*pin(LOAD_CORE), *arguments, server.path], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    if child.stdout.readline().strip() != "begin":
        raise SystemExit("the players could not begin")
    before_s = cpu_s(server.pid)
    line = child.stdout.readline()
    used_s = cpu_s(server.pid) - before_s
    rss_mb = memory(server.pid).rss_mb
    child.wait()
    if crowd is not None:
        crowd.kill()
        crowd.wait()
    size, alive, median_us, p99_us, first_us = map(int, line.split())
    if alive != players:
        raise SystemExit(f"{players - alive} of {players} players were disconnected")
    megabytes = size / 1e6
    return Result(
        megabytes, used_s * 1e6 / megabytes, median_us / 1e3, p99_us / 1e3, first_us / 1e3, rss_mb
    )


def compare(load: str, players: int, pairs: int, seconds: float, *, http: bool, slow: int) -> None:
    mine: list[Result] = []
    theirs: list[Result] = []
    with nginx() as peer, ours(http=http) as (server, port):
        for _ in range(pairs):
            with publishing(peer.port):
                theirs.append(measure(peer, load, players, seconds, 0))
            with publishing(port):
                mine.append(measure(server, load, players, seconds, slow))
    for name, results in (("nginx-rtmp", theirs), ("porthole", mine)):
        print(
            f"{players:5} players  {name:10}"
            f"  {statistics.median(r.cpu_us_per_mb for r in results):7.0f} us/MB"
            f"  delay {statistics.median(r.delay_ms for r in results):6.1f} ms"
            f"  p99 {statistics.median(r.delay_p99_ms for r in results):6.1f} ms"
            f"  first {statistics.median(r.first_ms for r in results):6.1f} ms"
            f"  {max(r.rss_mb for r in results):6.1f} MB RSS"
            f"  {statistics.median(r.delivered_mb for r in results) / seconds * 8:6.0f} Mbit/s",
            flush=True,
        )
    ratios = [a.cpu_us_per_mb / b.cpu_us_per_mb for a, b in zip(mine, theirs, strict=True)]
    print(f"{players:5} players  ratio {spread(ratios)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--players", default="200,1000")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--http", action="store_true")
    parser.add_argument("--slow", type=int, default=0)
    parser.add_argument("--publish-to", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.publish_to:
        Publisher(asked.publish_to, "bench").run()
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16384), hard))
    with tempfile.TemporaryDirectory() as folder:
        load = f"{folder}/rtmp_load"
        source = Path(__file__).with_name("rtmp_load.c")
        subprocess.run(["cc", "-O2", "-o", load, str(source)], check=True)
        for players in map(int, asked.players.split(",")):
            compare(load, players, asked.pairs, asked.seconds, http=asked.http, slow=asked.slow)


if __name__ == "__main__":
    main()
