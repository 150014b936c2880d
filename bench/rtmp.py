"""Playing by RTMP and HTTP-FLV: CPU per delivered MB, delay and memory, against nginx-rtmp.

One publisher (bench/rtmp_publish.py) sends 2 Mbit/s at 30 pictures/s with its clock in every
picture; players (a C program, bench/rtmp_load.c) read and throw away. All of them look for their
first picture, and twenty, spread over the crowd, for the clock in every one. Server on one core,
publisher and players on the other. Servers alternate; medians, the ratio's range, the delays and
the longest time that one of the twenty saw no picture are printed.

    python bench/rtmp.py [--players 20,200,1000] [--pairs 5] [--seconds 8] [--http]
                         [--joins-per-second 200] [--slow 100]

--http: our side is HTTP-FLV. --slow N: instead of nginx-rtmp, compare with ourselves: what N more
players that read at a quarter of the rate add, and whether the others notice.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from measure import LOAD_CORE, cpu_s, memory, memory_files_mb, pin, socket_memory_mb, spread
from rtmp_publish import publishing
from rtmp_servers import Server, allow_descriptors, nginx, ours

STREAM_BPS = 2_000_000
CHUNK_BYTES = 4096  # of the publisher
SETTLE_S = 2.0


@dataclass(frozen=True, slots=True)
class Crowd:
    """program: the players'. slow: players more, that read at a quarter of the stream's rate."""

    program: str
    players: int
    seconds: float
    joins_per_s: float
    http: bool = False
    slow: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """memory_files_mb, sockets_mb: what no RSS shows, while all players are there.

    lost: players that were disconnected or saw no picture.
    """

    delivered_mb: float
    cpu_ms_per_s: float
    cpu_us_per_mb: float
    delay_ms: float
    delay_p99_ms: float
    first_ms: float
    first_p99_ms: float
    gap_ms: float
    rss_mb: float
    memory_files_mb: float
    sockets_mb: float
    slow_mbit_per_s: float
    lost: int


@contextlib.contextmanager
def program() -> Iterator[str]:
    """The players, compiled."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/rtmp_load"
        source = Path(__file__).with_name("rtmp_load.c")
        subprocess.run(["cc", "-O2", "-o", path, str(source)], check=True)
        yield path


@contextlib.contextmanager
def playing(server: Server, crowd: Crowd) -> Iterator[subprocess.Popen[str]]:
    if crowd.http and server.url:
        where = ("http", server.url.rpartition(":")[2], "/live/bench.flv")
    else:
        where = ("rtmp", str(server.port), "bench")
    slow = (crowd.slow, STREAM_BPS / 8 / 4)
    numbers = (crowd.players, *slow, crowd.joins_per_s, SETTLE_S, crowd.seconds)
    with subprocess.Popen(
        [*pin(LOAD_CORE), crowd.program, *where, *map(str, numbers)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        try:
            yield child
        finally:
            child.kill()


def measure(server: Server, crowd: Crowd) -> Result:
    """Of a server that nobody publishes to."""
    with publishing(server.port, 1, CHUNK_BYTES, 1e6) as publisher:
        assert publisher.stdout is not None
        publisher.stdout.readline()  # a keyframe is there for who joins
        sockets_mb = socket_memory_mb()
        with playing(server, crowd) as players:
            assert players.stdout is not None
            if players.stdout.readline().strip() != "begin":
                raise SystemExit("the players could not begin")
            before_s, began = cpu_s(server.pid), time.monotonic()
            line = players.stdout.readline()
            used_s, took_s = cpu_s(server.pid) - before_s, time.monotonic() - began
            sockets_mb = socket_memory_mb() - sockets_mb
            rss_mb, files_mb = memory(server.pid).rss_mb, memory_files_mb(server.pid)
    told = json.loads(line)
    delivered_mb = (told["bytes"] + told["slow_bytes"]) / 1e6
    return Result(
        delivered_mb,
        used_s / took_s * 1e3,
        used_s * 1e6 / delivered_mb,
        told["delay_us"] / 1e3,
        told["delay_p99_us"] / 1e3,
        told["first_us"] / 1e3,
        told["first_p99_us"] / 1e3,
        told["gap_us"] / 1e3,
        rss_mb,
        files_mb,
        sockets_mb,
        told["slow_bytes"] * 8 / 1e6 / took_s / max(1, crowd.slow),
        crowd.players + crowd.slow - told["alive"] - told["slow_alive"],
    )


# -- comparing -------------------------------------------------------------------------------------


def middle(results: list[Result], name: str) -> float:
    return statistics.median(getattr(one, name) for one in results)


def show(crowd: Crowd, name: str, results: list[Result]) -> None:
    lost = sum(one.lost for one in results)
    print(
        f"{crowd.players:5} players  {name:10}"
        f"  {middle(results, 'cpu_us_per_mb'):5.0f} us/MB"
        f"  {middle(results, 'cpu_ms_per_s') / 10:5.1f} % of a core"
        f"  delay {middle(results, 'delay_ms'):.1f}, p99 {middle(results, 'delay_p99_ms'):.1f} ms"
        f"  first {middle(results, 'first_ms'):.1f}, p99 {middle(results, 'first_p99_ms'):.1f} ms"
        f"  longest gap {max(one.gap_ms for one in results):.0f} ms"
        f"  {max(one.rss_mb for one in results):.1f} MB RSS"
        f" + {max(one.memory_files_mb for one in results):.1f} in memory files"
        f" + {middle(results, 'sockets_mb'):.1f} in sockets"
        f"  {middle(results, 'delivered_mb') / crowd.seconds * 8:.0f} Mbit/s"
        + (f"  {lost} PLAYERS LOST" if lost else ""),
        flush=True,
    )


def compare(crowd: Crowd, pairs: int) -> dict[str, list[Result]]:
    """Results by server; each run with a server of its own, whose memory is then its own, too."""
    results: dict[str, list[Result]] = {"nginx-rtmp": [], "porthole": []}
    for _ in range(pairs):
        for start in (nginx, ours):
            with start() as server:
                results[server.name].append(measure(server, crowd))
    for name, made in results.items():
        show(crowd, name, made)
    costs = [[one.cpu_us_per_mb for one in made] for made in results.values()]
    ratios = [mine / theirs for theirs, mine in zip(*costs, strict=True)]
    print(f"{crowd.players:5} players  ratio {spread(ratios)}", flush=True)
    return results


def compare_slow(crowd: Crowd, without: Crowd, pairs: int) -> None:
    results: tuple[list[Result], list[Result]] = ([], [])
    for _ in range(pairs):
        for made, these in zip(results, (without, crowd), strict=True):
            with ours() as server:
                made.append(measure(server, these))
    show(crowd, "alone", results[0])
    show(crowd, f"+{crowd.slow} slow", results[1])
    added = {
        name: spread([getattr(b, name) - getattr(a, name) for a, b in zip(*results, strict=True)])
        for name in ("rss_mb", "memory_files_mb", "sockets_mb")
    }
    print(
        f"{crowd.slow:5} slow players, {middle(results[1], 'slow_mbit_per_s'):.2f} Mbit/s each,"
        f" add {added['rss_mb']} MB RSS, {added['memory_files_mb']} in memory files,"
        f" {added['sockets_mb']} in sockets",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--players", default="20,200,1000")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--joins-per-second", type=float, default=200.0)
    parser.add_argument("--http", action="store_true")
    parser.add_argument("--slow", type=int, default=0)
    asked = parser.parse_args()
    allow_descriptors()
    with program() as path:
        for players in map(int, asked.players.split(",")):
            crowd = Crowd(path, players, asked.seconds, asked.joins_per_second, asked.http)
            if asked.slow:
                compare_slow(replace(crowd, slow=asked.slow), crowd, asked.pairs)
            else:
                compare(crowd, asked.pairs)


if __name__ == "__main__":
    main()
