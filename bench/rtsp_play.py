"""Playing by RTSP: CPU, delay and memory of viewers over TCP and over UDP.

One publisher (bench/rtmp_publish.py) sends 2 Mbit/s at 30 pictures/s with its clock in every
picture; players (a C program, bench/rtsp_load.c) set up both tracks, read and throw away, and
twenty of them look for the clock. Server on one core, publisher and players on the other. TCP and
UDP alternate.

    python bench/rtsp_play.py [--players 20,200] [--runs 3] [--seconds 8]
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from measure import LOAD_CORE, cpu_s, memory, pin, porthole, spread
from rtmp_publish import publishing
from rtmp_servers import OURS, allow_descriptors

CHUNK_BYTES = 4096  # of the publisher
SETTLE_S = 2.0
PER_IP = "rtsp.max_connections=2000"


@dataclass(frozen=True, slots=True)
class Result:
    core_percent: float
    us_per_mb: float
    delay_ms: float
    delay_p99_ms: float
    rss_mb: float
    mbit_per_s: float
    lost: int


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def measure(program: str, mode: str, players: int, seconds: float) -> Result:
    rtmp, rtsp = free_port(), free_port()
    settings = (f"rtmp.listen=127.0.0.1:{rtmp}", f"rtsp.listen=127.0.0.1:{rtsp}", PER_IP, *OURS)
    with porthole(*settings) as (pid, _), publishing(rtmp, 1, CHUNK_BYTES, 1e6) as publisher:
        assert publisher.stdout is not None
        publisher.stdout.readline()  # a keyframe is there for who joins
        words = (program, mode, rtsp, "live/bench", players, SETTLE_S, seconds)
        with subprocess.Popen(
            [*pin(LOAD_CORE), *map(str, words)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as child:  # fmt: skip
            assert child.stdout is not None
            if child.stdout.readline().strip() != "begin":
                raise SystemExit("the players could not begin")
            before_s, began = cpu_s(pid), time.monotonic()
            line = child.stdout.readline()
            used_s, took_s = cpu_s(pid) - before_s, time.monotonic() - began
            rss_mb = memory(pid).rss_mb
            child.kill()
    told = json.loads(line)
    return Result(
        100 * used_s / took_s,
        used_s * 1e12 / told["bytes"],
        told["delay_us"] / 1e3,
        told["delay_p99_us"] / 1e3,
        rss_mb,
        told["bytes"] * 8 / 1e6 / took_s,
        players - told["alive"],
    )


def show(mode: str, players: int, results: list[Result]) -> None:
    def middle(name: str) -> float:
        return statistics.median(getattr(one, name) for one in results)

    lost = sum(one.lost for one in results)
    print(
        f"{players:5} players  {mode}  {spread([one.core_percent for one in results], 1)} %"
        f" of a core  {middle('us_per_mb'):.0f} us/MB"
        f"  delay {middle('delay_ms'):.1f}, p99 {middle('delay_p99_ms'):.1f} ms"
        f"  {middle('rss_mb'):.1f} MB RSS  {middle('mbit_per_s'):.0f} Mbit/s"
        + (f"  {lost} PLAYERS LOST" if lost else ""),
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--players", default="20,200")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    asked = parser.parse_args()
    allow_descriptors()
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/rtsp_load"
        source = Path(__file__).with_name("rtsp_load.c")
        subprocess.run(["cc", "-O2", "-o", program, str(source)], check=True)
        for players in map(int, asked.players.split(",")):
            results: dict[str, list[Result]] = {"tcp": [], "udp": []}
            for _ in range(asked.runs):
                for mode, made in results.items():
                    made.append(measure(program, mode, players, asked.seconds))
            for mode, made in results.items():
                show(mode, players, made)


if __name__ == "__main__":
    main()
