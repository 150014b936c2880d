"""Sixteen cameras of 1080p30 at 4 Mbit/s into HLS: Porthole, and as many ``ffmpeg -c copy -f hls``.

One process replays a clip over TCP to whoever asks (bench/rtsp_replay.py), on the last core; who
pulls has the first. Both take turns.

    python bench/rtsp_pull.py [--cameras 16] [--runs 3] [--seconds 10]
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from measure import LOAD_CORE, ROOT, cpu_s, fetch, memory, process, spread, wait_for
from rtmp_servers import free_port

FPS, BITRATE = 30, "4M"
SETTLE_S = 6.0
STREAM = """
[[stream]]
name = "live/cam{n}"
source = "rtsp://127.0.0.1:{port}/cam{n}"
rtsp = {{ transport = "tcp" }}
"""


@dataclass(frozen=True, slots=True)
class Result:
    core_percent: float
    rss_mb: float
    anonymous_mb: float


def make_clip(path: Path) -> None:
    """Four seconds with two keyframes, filled up to the rate."""
    command = f"ffmpeg -v error -f lavfi -i testsrc2=s=1920x1080:r={FPS}:d=4 -pix_fmt yuv420p"
    command += f" -c:v libx264 -preset ultrafast -g {2 * FPS} -b:v {BITRATE} -minrate {BITRATE}"
    command += f" -maxrate {BITRATE} -bufsize 2M -x264-params nal-hrd=cbr:aud=1:scenecut=0 -bf 0"
    subprocess.run([*command.split(), "-f", "h264", str(path)], check=True)


@contextlib.contextmanager
def cameras(clip: Path) -> Iterator[int]:
    words = (sys.executable, "-c", f"import rtsp_replay; rtsp_replay.run({str(clip)!r}, {FPS})")
    place = ROOT / "bench"
    with process(*words, core=LOAD_CORE, cwd=place, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        yield int(child.stdout.readline())


def measure(pids: list[int], seconds: float, keep: list[str]) -> Result:
    """keep: playlists that are asked for meanwhile, as a viewer would."""
    time.sleep(SETTLE_S)
    before_s, began = sum(map(cpu_s, pids)), time.monotonic()
    while (left_s := began + seconds - time.monotonic()) > 0:
        for url in keep:
            fetch(url)
        time.sleep(min(2.0, left_s))
    used_s, took_s = sum(map(cpu_s, pids)) - before_s, time.monotonic() - began
    found = [memory(pid) for pid in pids]
    return Result(
        100 * used_s / took_s,
        sum(one.rss_mb for one in found),
        sum(one.anonymous_mb for one in found),
    )


@contextlib.contextmanager
def pulling(port: int, count: int, folder: Path) -> Iterator[tuple[int, str, list[str]]]:
    """Porthole with so many cameras that all are in HLS: its pid, its URL, their playlists."""
    http = free_port()
    conf = folder / "porthole.toml"
    head = f'[http]\nlisten = ["127.0.0.1:{http}"]\n[device]\nstate = "{folder}/state"\n'
    head += "[rtmp]\nlisten = []\n[rtsp]\nlisten = []\n"
    conf.write_text(head + "".join(STREAM.format(n=n, port=port) for n in range(count)))
    words = (sys.executable, "-m", "appliance", "run", "-c", str(conf))
    with process(*words, cwd=ROOT, stderr=subprocess.DEVNULL) as child:
        url = f"http://127.0.0.1:{http}"
        wait_for(f"{url}/healthz")
        playlists = [f"{url}/live/cam{n}.hls/fmp4.m3u8" for n in range(count)]
        for playlist in playlists:
            wait_for(playlist)
        yield child.pid, url, playlists


def run_porthole(port: int, count: int, seconds: float, folder: Path) -> Result:
    with pulling(port, count, folder) as (pid, _, playlists):
        return measure([pid], seconds, playlists)


def run_ffmpeg(port: int, count: int, seconds: float, folder: Path) -> Result:
    with contextlib.ExitStack() as stack:
        pids = []
        for n in range(count):
            out = folder / f"cam{n}"
            out.mkdir(exist_ok=True)
            command = "ffmpeg -v error -nostdin -rtsp_transport tcp -i"
            words = (*command.split(), f"rtsp://127.0.0.1:{port}/cam{n}", "-c", "copy", "-f", "hls")
            words += ("-hls_time", "2", "-hls_list_size", "10", "-hls_flags", "delete_segments")
            words += ("-hls_segment_type", "fmp4", str(out / "index.m3u8"))
            pids.append(stack.enter_context(process(*words, stderr=subprocess.DEVNULL)).pid)
        return measure(pids, seconds, [])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cameras", type=int, default=16)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10)
    given = parser.parse_args()
    programs = {"porthole": run_porthole, f"{given.cameras} x ffmpeg": run_ffmpeg}
    results: dict[str, list[Result]] = {name: [] for name in programs}
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=place) as name:
        folder = Path(name)
        make_clip(folder / "clip.h264")
        for _ in range(given.runs):
            for program, run in programs.items():
                with cameras(folder / "clip.h264") as port:
                    results[program].append(run(port, given.cameras, given.seconds, folder))
    print(f"{given.cameras} cameras, 1080p{FPS} {BITRATE}bit/s, by TCP into HLS")
    print("                 core %                RSS MB                anonymous MB")
    for program, found in results.items():
        columns = ("core_percent", "rss_mb", "anonymous_mb")
        texts = (spread([getattr(one, column) for one in found], 1) for column in columns)
        print(f"  {program:14} " + " ".join(f"{text:21}" for text in texts))


if __name__ == "__main__":
    main()
