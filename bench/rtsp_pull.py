"""Sixteen cameras of 1080p30 at 4 Mbit/s into HLS: Porthole, and as many ``ffmpeg -c copy -f hls``.

One process replays a clip over TCP to whoever asks (bench/rtsp_replay.py), on the last core; who
pulls has the first. Both take turns. Then what a camera takes of memory, by how much more of them
take: media that are kept for viewers (in rings, by /metrics, and in files of memory), and the rest.

    python bench/rtsp_pull.py [--cameras 16] [--runs 3] [--seconds 10] [--memory 1 8 16]
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from measure import (
    LOAD_CORE,
    ROOT,
    cpu_s,
    fetch,
    memory,
    memory_files_mb,
    process,
    spread,
    wait_for,
)
from rtmp_servers import free_port

FPS, BITRATE = 30, "4M"
SETTLE_S = 6.0
WINDOW_S = 24.0  # until as much is kept as ever will be
STREAM = """
[[stream]]
name = "live/cam{n}"
source = "rtsp://127.0.0.1:{port}/cam{n}"
rtsp = {{ transport = "tcp" }}
"""


@dataclass(frozen=True, slots=True)
class Result:
    """Of Porthole: held_mb, of RSS, media in rings; files_mb, beside RSS, finished segments."""

    core_percent: float
    rss_mb: float
    anonymous_mb: float
    held_mb: float = 0.0
    files_mb: float = 0.0


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


class Viewer:
    """Asks for a playlist again and again, on one connection, as players do."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._connection = http.client.HTTPConnection(place.netloc, timeout=15)
        self._path = place.path

    def ask(self) -> None:
        self._connection.request("GET", self._path)
        self._connection.getresponse().read()


def measure(pids: list[int], seconds: float, viewers: list[Viewer]) -> Result:
    time.sleep(SETTLE_S)
    before_s, began = sum(map(cpu_s, pids)), time.monotonic()
    while (left_s := began + seconds - time.monotonic()) > 0:
        for viewer in viewers:
            viewer.ask()
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
    with pulling(port, count, folder) as (pid, url, playlists):
        result = measure([pid], seconds, [Viewer(playlist) for playlist in playlists])
        metrics = fetch(f"{url}/metrics").decode()
        held = re.findall(r"^porthole_stream_held_bytes\{.*\} (\S+)", metrics, re.MULTILINE)
        held_mb = sum(map(float, held)) / 2**20
        return replace(result, held_mb=held_mb, files_mb=memory_files_mb(pid))


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
    parser.add_argument("--memory", type=int, nargs="*", default=[1, 8, 16])
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
        filled: dict[int, Result] = {}
        for count in given.memory:
            with cameras(folder / "clip.h264") as port:
                filled[count] = run_porthole(port, count, WINDOW_S, folder)
    print(f"{given.cameras} cameras, 1080p{FPS} {BITRATE}bit/s, by TCP into HLS")
    print("                 core %                RSS MB                anonymous MB")
    for program, found in results.items():
        columns = ("core_percent", "rss_mb", "anonymous_mb")
        texts = (spread([getattr(one, column) for one in found], 1) for column in columns)
        print(f"  {program:14} " + " ".join(f"{text:21}" for text in texts))
    ours, theirs = results.values()
    for column in ("core_percent", "rss_mb"):
        pairs = zip(ours, theirs, strict=True)
        ratios = [getattr(one, column) / getattr(other, column) for one, other in pairs]
        print(f"  ratio of {column}: {spread(ratios)}")
    print_memory(filled)


def print_memory(filled: dict[int, Result]) -> None:
    """A camera's part is what the most take more than the fewest, by their difference."""
    rests_mb = {count: one.rss_mb - one.held_mb for count, one in filled.items()}
    for count, one in filled.items():
        print(
            f"  {count:2} cameras: RSS {one.rss_mb:.1f} MB, of it media {one.held_mb:.1f} MB, "
            f"the rest {rests_mb[count]:.1f} MB; finished segments beside it {one.files_mb:.1f} MB"
        )
    if len(filled) > 1:
        fewest, most = min(filled), max(filled)
        each_mb = (rests_mb[most] - rests_mb[fewest]) / (most - fewest)
        print(f"  a further camera, besides its media: {each_mb:.2f} MB")


if __name__ == "__main__":
    main()
