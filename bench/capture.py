"""The capture worker at 720p30: a camera's own H.264 passed on, software, the pipe, the start.

Peer: ffmpeg doing the same in the same run: copying the clip at its pace, decoding and encoding it
with the same settings of x264, and its time to the first byte of a generated picture. The camera is
a clip in memory whose access units are handed to the line that every such camera feeds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from measure import LOAD_CORE, ROOT, SERVER_CORE, Memory, cpu_s, memory, process, spread

from appliance.media.h264 import ParameterSets, nal_type, split_parameter_sets
from appliance.media.nal import split_annexb
from appliance.media.track import Kind, Track
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.connection import Pipe, Role
from appliance.wire.pipe.messages import State

STEP_US = 1_000_000 // 30
RUNS = 5
WARM_UP_S = 4.0
READ_BYTES = 65_536
X264 = "-c:v libx264 -preset superfast -tune zerolatency -bf 0"


# -- the camera ------------------------------------------------------------------------------------


def make_clip(folder: Path) -> Path:
    """720p30 at a steady 4 Mbps in Annex B: noise keeps the encoder at its rate."""
    clip = folder / "clip.h264"
    command = (
        "ffmpeg -v error -f lavfi -i testsrc2=s=1280x720:r=30,noise=alls=12:allf=t -t 10"
        f" {X264} -g 60 -keyint_min 60 -sc_threshold 0 -b:v 4M -minrate 4M -maxrate 4M -bufsize 2M"
        f" -pix_fmt yuv420p -x264-params nal-hrd=cbr:sliced-threads=0 -aud 1 -f h264 {clip}"
    )
    subprocess.run(command.split(), check=True)
    wrap = f"ffmpeg -v error -r 30 -i {clip} -c copy {clip.with_suffix('.mkv')}"
    subprocess.run(wrap.split(), check=True)
    return clip


def units_of(clip: Path) -> list[bytes]:
    """Its access units, which begin at their delimiters."""
    data = clip.read_bytes()
    starts = [match.start() for match in re.finditer(rb"\x00\x00\x00\x01\x09", data)]
    return [data[a:b] for a, b in zip(starts, [*starts[1:], len(data)], strict=True)]


def play_camera(clip: str, options_json: str) -> int:
    """The worker program with one more source: the clip, over and over, as a camera gives it."""
    import types

    from appliance.capture import program, sources
    from appliance.capture.clock import monotonic_us, sleep_until_us
    from appliance.capture.commands import Commands
    from appliance.capture.options import Options
    from appliance.capture.outlet import Sink
    from appliance.capture.pipeline.passing import PassingLine

    class ClipSource:
        def __init__(self, rest: str, options: Options) -> None:
            self.units = units_of(Path(rest))
            self.options = options

        def run(self, sink: Sink, commands: Commands) -> None:
            line = PassingLine(self.options, sink, commands)
            begin_us, number = monotonic_us(), 0
            while True:
                due_us = begin_us + number * STEP_US
                sleep_until_us(due_us)
                line.obey()
                line.pass_unit(self.units[number % len(self.units)], due_us)
                number += 1

    module = types.ModuleType("appliance.capture.sources.clip")
    module.create = ClipSource  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    sources.SCHEMES["clip"] = "clip"
    return program.main([f"clip:{clip}", "--options-json", options_json])


# -- a worker, and what it says --------------------------------------------------------------------


class Listener(threading.Thread):
    """Reads a worker's pipe as the appliance does, in this process."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(daemon=True)
        self.descriptor = descriptor
        self.pipe = Pipe(Role.APPLIANCE)
        self.pictures = 0
        self.state: dict[str, object] = {}

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(self.descriptor, READ_BYTES):
                for event in self.pipe.receive(data):
                    if isinstance(event, State):
                        self.state = event.document
                    elif isinstance(event, AccessUnit):
                        self.pictures += event.track.kind is Kind.VIDEO


@contextlib.contextmanager
def worker(*command: str, **options: object) -> Iterator[tuple[int, Listener]]:
    arguments = [*command, "--options-json", json.dumps({"audio": "none"} | options)]
    with process(
        sys.executable, *arguments, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as child:  # fmt: skip
        assert child.stdout is not None
        listener = Listener(child.stdout.fileno())
        listener.start()
        yield child.pid, listener


def share(pid: int, seconds: float) -> float:
    """Percent of one core over the next `seconds`."""
    began, used = time.monotonic(), cpu_s(pid)
    time.sleep(seconds)
    return (cpu_s(pid) - used) / (time.monotonic() - began) * 100


def measure_worker(
    seconds: float, *command: str, **options: object
) -> tuple[float, Memory, float, dict[str, object]]:
    """CPU share, memory, pictures a second, State."""
    with worker(*command, **options) as (pid, listener):
        time.sleep(WARM_UP_S)
        count, began = listener.pictures, time.monotonic()
        used = share(pid, seconds)
        fps = (listener.pictures - count) / (time.monotonic() - began)
        return used, memory(pid), fps, listener.state


def measure_ffmpeg(seconds: float, command: str) -> tuple[float, Memory]:
    with process(*command.split(), stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL) as child:
        time.sleep(WARM_UP_S)
        return share(child.pid, seconds), memory(child.pid)


# -- what is measured ------------------------------------------------------------------------------


def passing(clip: Path, seconds: float) -> None:
    used, taken, fps, _ = measure_worker(seconds, "bench/capture.py", "--camera", str(clip))
    mkv = clip.with_suffix(".mkv")
    peer, peer_taken = measure_ffmpeg(
        seconds, f"ffmpeg -v error -re -stream_loop -1 -i {mkv} -c copy -f mpegts pipe:1"
    )
    print(
        f"H.264 passed on     {used:.2f} % of a core (goal 2), {taken.rss_mb:.1f} MB RSS (goal 55),"
        f" {taken.anonymous_mb:.1f} MB anonymous, {fps:.1f} fps"
    )
    print(f"ffmpeg copying      {peer:.2f} % of a core, {peer_taken.rss_mb:.1f} MB RSS")
    print(f"ratio to ffmpeg: CPU {used / peer:.2f}, RSS {taken.rss_mb / peer_taken.rss_mb:.2f}")


def encoding(clip: Path, seconds: float) -> None:
    source = ("-m", "appliance.capture", "pattern:")
    used, taken, fps, state = measure_worker(seconds, *source)
    print(
        f"pattern, software   {used:.1f} % of a core, {taken.rss_mb:.1f} MB RSS, {fps:.1f} fps,"
        f" encode p95 {state['encode_ms_p95']} ms, {state['encoder']}, {state['threads']} thread"
    )
    words = {"overlay": {"shown": True, "name": "front-door", "clock": "%H:%M:%S"}}
    masks = {"masks": [{"x": 0.1, "y": 0.1, "width": 0.2, "height": 0.2}]}
    drawn, *_ = measure_worker(seconds, *source, **words, **masks)  # type: ignore[arg-type]
    print(f"with words and mask {drawn:.1f} % of a core")
    mkv = clip.with_suffix(".mkv")
    used, taken, fps, _ = measure_worker(
        seconds, "-m", "appliance.capture", f"file:{mkv}", encoder="libx264"
    )
    peer, peer_taken = measure_ffmpeg(
        seconds,
        f"ffmpeg -v error -re -stream_loop -1 -threads 1 -i {mkv} {X264} -threads 1 -b:v 2M"
        " -maxrate 2M -bufsize 2M -g 60 -f mpegts pipe:1",
    )
    print(
        f"decoded, encoded    {used:.1f} % of a core, {taken.rss_mb:.1f} MB RSS, {fps:.1f} fps;"
        f" ffmpeg {peer:.1f} %, {peer_taken.rss_mb:.1f} MB"
    )
    print(f"ratio to ffmpeg: CPU {used / peer:.2f}, RSS {taken.rss_mb / peer_taken.rss_mb:.2f}")


def piping(clip: Path) -> None:
    """What reading a worker's pipe costs a second of 4 Mbps, through a real pipe."""
    sender, sets = Pipe(Role.WORKER), ParameterSets()
    track: Track | None = None
    count = 0
    blocks: list[bytes] = []
    for number, data in enumerate(units_of(clip)):
        split = split_parameter_sets(split_annexb(data))
        config = sets.update(split)
        if config is not None:
            track = Track(1, config)
            sender.send((track,))
        assert track is not None and nal_type(split.media[0])
        at_us = number * STEP_US
        sender.send(AccessUnit(track, at_us, at_us, split.key, tuple(split.media)))
        blocks.append(sender.take_output())
        count += 1
    receiver = Pipe(Role.APPLIANCE)
    read, write = os.pipe()
    used_ns, got = 0, 0
    for block in blocks:
        left = memoryview(block)
        while left:
            left = left[os.write(write, left[:READ_BYTES]) :]
            began_ns = time.thread_time_ns()
            got += len(receiver.receive(os.read(read, READ_BYTES)))
            used_ns += time.thread_time_ns() - began_ns
    media_s = count / 30
    mbps = sum(map(len, blocks)) * 8 / media_s / 1e6
    print(
        f"the pipe, reading   {used_ns / 1e9 / media_s * 100:.3f} % of a core at {mbps:.1f} Mbps"
        f" (goal 1), {used_ns / count / 1000:.0f} µs a picture, {got} events"
    )


def first_picture() -> float:
    """Seconds from starting the worker to its first picture."""
    began = time.monotonic()
    with worker("-m", "appliance.capture", "pattern:") as (_, listener):
        while not listener.pictures:
            time.sleep(0.002)
        return time.monotonic() - began


def first_byte() -> float:
    command = (
        "ffmpeg -v error -f lavfi -i testsrc2=s=1280x720:r=30 "
        f"{X264} -b:v 2M -flush_packets 1 -f mpegts pipe:1"
    )
    began = time.monotonic()
    with process(*command.split(), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as child:
        assert child.stdout is not None
        os.read(child.stdout.fileno(), 1)
        return time.monotonic() - began


def starting() -> None:
    ours, theirs = [], []
    for _ in range(RUNS):
        ours.append(first_picture())
        theirs.append(first_byte())
    print(f"open to a picture   {spread(ours)} s (goal 1); ffmpeg's first byte {spread(theirs)} s")
    print(f"ratio to ffmpeg: {statistics.median(ours) / statistics.median(theirs):.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15, help="length of each measurement")
    parser.add_argument("--camera", help="be a worker that plays this clip as a camera")
    parser.add_argument("--options-json", default="{}", help="of that worker")
    arguments = parser.parse_args()
    if arguments.camera:
        sys.exit(play_camera(arguments.camera, arguments.options_json))
    os.sched_setaffinity(0, {LOAD_CORE if LOAD_CORE != SERVER_CORE else SERVER_CORE})
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        clip = make_clip(Path(folder))
        passing(clip, arguments.seconds)
        encoding(clip, arguments.seconds)
        piping(clip)
    starting()


if __name__ == "__main__":
    main()
