"""CPU per delivered MB of HLS: porthole against nginx serving the same files from a tmpfs.

Each player keeps one connection and, once per segment, fetches the media playlist and then its
newest segment. Server and load run on a core each; runs alternate, medians and the ratio's range
are printed. A stall is a segment that took longer to arrive than it plays.

porthole's process also takes the stream in, muxes and cuts it, which nginx leaves to whoever
writes its files. That is measured without players first, and told apart: "serving" is the rest.

    python bench/hls.py [--players 200,1000] [--pairs 5] [--seconds 4] [--ordinary]

--ordinary makes every request differ by a header, so that none takes the short way
(net/shortcut.py).
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import re
import resource
import select
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from measure import LOAD_CORE, children, cpu_s, fetch, memory, porthole, process, spread, wait_for

SEGMENT_S = 2.0
PERIOD_S = SEGMENT_S
ALONE_S = 6.0
RECEIVE_BYTES = 1 << 20
WARM_UP_S = 6 * SEGMENT_S
MAX_PLAYERS = 2000

NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
    sendfile on; tcp_nopush on; tcp_nodelay on; access_log off;
    keepalive_requests 1000000; keepalive_timeout 600;
    types {{ application/vnd.apple.mpegurl m3u8; video/mp4 m4s mp4; }}
    client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
    uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    server {{ listen 127.0.0.1:{port}; root {folder}/www;
        add_header Cache-Control no-cache; add_header Access-Control-Allow-Origin *; }}
}}
"""


@dataclass(slots=True)
class Player:
    """One keep-alive connection and where it is in its cycle."""

    sock: socket.socket
    due_s: float
    asked_s: float = 0.0
    in_segment: bool = False
    head: bytearray = field(default_factory=bytearray)
    left_bytes: int = 0  # of the body; the head is still coming while `head` is not empty


@dataclass(slots=True)
class Result:
    delivered_mb: float
    cpu_us_per_mb: float
    serving_us_per_mb: float
    segments: int
    stalls: int
    slowest_s: float


class Load:
    """All players in one epoll loop; bodies are dropped in the kernel (MSG_TRUNC)."""

    def __init__(self, url: str, players: int, *, ordinary: bool = False) -> None:
        self.varying = itertools.count() if ordinary else itertools.repeat(0)
        parts = urlsplit(url)
        self.path = parts.path
        self.folder = self.path.rpartition("/")[0]
        self.host = parts.netloc
        self.address = (parts.hostname, parts.port)
        self.poll = select.epoll()
        self.players: dict[int, Player] = {}
        self.buffer = bytearray(RECEIVE_BYTES)
        self.delivered_bytes = self.segments = self.stalls = 0
        self.slowest_s = 0.0
        for index in range(players):
            sock = socket.create_connection(self.address, timeout=10)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
            self.poll.register(sock, select.EPOLLIN)
            self.players[sock.fileno()] = Player(sock, index / players * PERIOD_S)

    def run(self, seconds: float) -> None:
        """Start a cycle of each player per period until the time is up, then let them finish."""
        began = time.monotonic()
        queue = sorted(self.players.values(), key=lambda player: player.due_s)
        position, busy = 0, 0
        rounds = int(seconds / PERIOD_S)
        while rounds or busy:
            now_s = time.monotonic() - began
            while rounds and queue[position].due_s <= now_s:
                player = queue[position]
                player.asked_s = now_s
                player.due_s += PERIOD_S
                self.ask(player, self.path)
                busy += 1
                position += 1
                if position == len(queue):
                    position, rounds = 0, rounds - 1
            wait_s = max(0.0, queue[position].due_s - now_s) if rounds else 1.0
            for descriptor, _ in self.poll.poll(min(wait_s, 1.0)):
                busy -= self.receive(self.players[descriptor], began)
            if now_s > 3 * seconds + 10:
                raise SystemExit("the server answers too slowly")

    def ask(self, player: Player, path: str) -> None:
        player.head.clear()
        player.left_bytes = -1
        player.sock.send(
            f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\nUser-Agent: bench\r\n"
            f"Accept: */*\r\nX-Varying: {next(self.varying)}\r\n\r\n".encode()
        )

    def receive(self, player: Player, began: float) -> bool:
        """Whether this ended the player's cycle."""
        if player.left_bytes > 0 and player.in_segment:
            count = player.sock.recv_into(self.buffer, RECEIVE_BYTES, socket.MSG_TRUNC)
            if not count:
                raise SystemExit("the server closed a connection")
            player.left_bytes -= count
            self.delivered_bytes += count
            return not player.left_bytes and self.finish(player, began)
        data = player.sock.recv(4096)
        if not data:
            raise SystemExit("the server closed a connection")
        self.delivered_bytes += len(data)
        player.head += data
        end = player.head.find(b"\r\n\r\n")
        if end < 0:
            return False
        if not player.head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(bytes(player.head[:200]).decode())
        length = int(re.search(rb"(?i)content-length: (\d+)", player.head)[1])
        player.left_bytes = length - (len(player.head) - end - 4)
        if player.left_bytes:
            return False
        if player.in_segment:
            return self.finish(player, began)
        name = player.head.rstrip().rpartition(b"\n")[2].decode()
        player.in_segment = True
        self.ask(player, f"{self.folder}/{name}")
        return False

    def finish(self, player: Player, began: float) -> bool:
        took_s = time.monotonic() - began - player.asked_s
        self.slowest_s = max(self.slowest_s, took_s)
        self.stalls += took_s > SEGMENT_S
        self.segments += 1
        player.in_segment = False
        return True

    def close(self) -> None:
        for player in self.players.values():
            player.sock.close()
        self.poll.close()


@dataclass(slots=True)
class Server:
    """alone: CPU seconds per second that it needs without players."""

    pid: int
    url: str
    alone: float = 0.0


def measure(server: Server, players: int, seconds: float, *, ordinary: bool) -> Result:
    pid, url = server.pid, server.url
    load = Load(url, players, ordinary=ordinary)
    load.run(PERIOD_S)  # warm: windows of the connections grown, caches filled
    load.delivered_bytes = load.segments = load.stalls = 0
    load.slowest_s = 0.0
    before_s, began = cpu_s(pid), time.monotonic()
    load.run(seconds)
    used_s, took_s = cpu_s(pid) - before_s, time.monotonic() - began
    delivered_mb = load.delivered_bytes / 1e6
    load.close()
    return Result(
        delivered_mb,
        used_s * 1e6 / delivered_mb,
        (used_s - server.alone * took_s) * 1e6 / delivered_mb,
        load.segments,
        load.stalls,
        load.slowest_s,
    )


def measure_alone(server: Server) -> None:
    """What the process costs with its playlist kept alive by one request."""
    fetch(server.url)
    before_s = cpu_s(server.pid)
    time.sleep(ALONE_S)
    server.alone = (cpu_s(server.pid) - before_s) / ALONE_S


def make_clip(folder: Path) -> Path:
    """720p30 at 2 Mbps with a keyframe every segment."""
    clip = folder / "clip.mp4"
    subprocess.run(
        "ffmpeg -v error -f lavfi -i testsrc2=size=1280x720:rate=30:duration=10 -f lavfi"
        " -i sine=duration=10:r=48000 -c:v libx264 -preset ultrafast -b:v 1940k -minrate 1940k"
        f" -maxrate 1940k -bufsize 1940k -nal-hrd cbr -g {int(30 * SEGMENT_S)} -sc_threshold 0"
        f" -c:a aac -b:a 64k {clip}".split(),
        check=True,
    )
    return clip


@contextlib.contextmanager
def nginx(folder: Path) -> Iterator[tuple[int, str]]:
    """One worker serving `folder`/www; its pid and base URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=port))
    folder.chmod(0o755)
    with process("nginx", "-p", str(folder), "-c", str(config)) as child:
        base = f"http://127.0.0.1:{port}"
        wait_for(f"{base}/media.m3u8")
        (worker,) = children(child.pid)
        yield worker, base


def media_playlist_url(multivariant: str) -> str:
    lines = wait_for(multivariant).decode().split("\n")
    return urljoin(multivariant, next(line for line in lines if line and line[0] != "#"))


def copy_window(playlist_url: str, folder: Path) -> None:
    """The live window as files, for nginx."""
    www = folder / "www"
    www.mkdir()
    text = fetch(playlist_url).decode()
    (www / "media.m3u8").write_text(text)
    for name in re.findall(r'^[^#\s].*$|(?<=URI=")[^"]+', text, re.MULTILINE):
        (www / name).write_bytes(fetch(urljoin(playlist_url, name)))


def compare(ours: Server, theirs: Server, players: int, options) -> None:
    results: dict[str, list[Result]] = {"porthole": [], "nginx": []}
    measure_alone(ours)
    for pair in range(options.pairs):
        order = (("porthole", ours), ("nginx", theirs))
        for name, server in order if pair % 2 else order[::-1]:
            result = measure(server, players, options.seconds, ordinary=options.ordinary)
            results[name].append(result)
    print(f"\n{players} players, {options.pairs} pairs of {options.seconds:.0f} s")
    print(f"  porthole without players: {ours.alone * 1000:.1f} ms of CPU per second")
    for name, runs in results.items():
        print(
            f"  {name:9} {spread([r.cpu_us_per_mb for r in runs], 0):>18} µs CPU/MB,"
            f" serving {spread([r.serving_us_per_mb for r in runs], 0):>18}"
            f"   {statistics.median([r.delivered_mb for r in runs]):6.0f} MB"
            f"   {sum(r.segments for r in runs)} segments, {sum(r.stalls for r in runs)} stalls,"
            f" slowest {max(r.slowest_s for r in runs):.2f} s"
        )
    pairs = list(zip(results["porthole"], results["nginx"], strict=True))
    whole = [one.cpu_us_per_mb / other.cpu_us_per_mb for one, other in pairs]
    serving = [one.serving_us_per_mb / other.serving_us_per_mb for one, other in pairs]
    print(
        f"  porthole / nginx: serving {spread(serving)} (goal 1.5), whole process {spread(whole)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--players", default="200,1000")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--ordinary", action="store_true")
    options = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    os.sched_setaffinity(0, {LOAD_CORE})
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        folder = Path(name)
        settings = (
            f"stream.0.source=file:{make_clip(folder)}",
            f"http.max_connections={MAX_PLAYERS}",
        )
        with porthole(*settings) as (pid, base):
            for child in children(pid):
                os.sched_setaffinity(child, {LOAD_CORE})
            url = media_playlist_url(f"{base}/live/camera.m3u8")
            time.sleep(WARM_UP_S)
            copy_window(url, folder)
            with nginx(folder) as (worker, nginx_base):
                theirs = Server(worker, f"{nginx_base}/media.m3u8")
                for players in map(int, options.players.split(",")):
                    compare(Server(pid, url), theirs, players, options)
            used = memory(pid)
            print(f"\nporthole RSS {used.rss_mb:.0f} MB, anonymous {used.anonymous_mb:.0f} MB")


if __name__ == "__main__":
    main()
