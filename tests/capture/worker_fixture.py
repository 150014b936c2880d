"""A worker as the appliance starts it: a process whose frames a test reads and decodes."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import av

from appliance.media.nal import join_annexb
from appliance.media.track import Kind, Track
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.connection import Pipe, Role
from appliance.wire.pipe.messages import Command, Event, Fault

ROOT = Path(__file__).parent.parent.parent
DEADLINE_S = 30
SMALL: dict[str, Any] = {
    "width": 320, "height": 180, "fps": 25, "bitrate_bps": 300_000, "keyframe_us": 1_000_000,
}  # fmt: skip


class Worker:
    """events: everything received so far. Use as a context manager: it is dead afterwards.

    environment: variables besides ours; its PYTHONPATH comes before ours.
    """

    def __init__(
        self,
        source: str,
        *arguments: str,
        cwd: Path | None = None,
        environment: dict[str, str] | None = None,
        **options: Any,
    ):
        environment = environment or {}
        path = os.pathsep.join(filter(None, (environment.get("PYTHONPATH"), str(ROOT))))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "appliance.capture", source]
            + ["--options-json", json.dumps(SMALL | options), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=os.environ | environment | {"PYTHONPATH": path},
        )
        self._pipe = Pipe(Role.APPLIANCE)
        self.events: list[Event] = []
        self.ended = False

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def send(self, command: Command) -> None:
        self._pipe.send(command)
        assert self.process.stdin is not None
        self.process.stdin.write(self._pipe.take_output())
        self.process.stdin.flush()

    def read(self) -> list[Event]:
        """What came next; nothing if it ended. Fails when nothing comes."""
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        ready, _, _ = select.select([descriptor], [], [], DEADLINE_S)
        assert ready, "the worker says nothing"
        data = os.read(descriptor, 65536)
        self.ended = not data
        events = self._pipe.receive(data)
        self.events += events
        return events

    def read_until(self, enough: Callable[[Worker], bool]) -> None:
        deadline_s = time.monotonic() + DEADLINE_S
        while not enough(self):
            assert not self.ended, self.fault or self.errors()
            assert time.monotonic() < deadline_s, self.events[-3:]
            self.read()

    def read_units(self, count: int, kind: Kind = Kind.VIDEO) -> list[AccessUnit]:
        """The first `count` units of this kind."""
        self.read_until(lambda worker: len(worker.units(kind)) >= count)
        return self.units(kind)[:count]

    def read_end(self) -> Fault | None:
        """Its fault, once it has ended."""
        self.read_until(lambda worker: worker.ended)
        self.process.wait(DEADLINE_S)
        return self.fault

    def units(self, kind: Kind) -> list[AccessUnit]:
        return [e for e in self.events if isinstance(e, AccessUnit) and e.track.kind is kind]

    def errors(self) -> str:
        assert self.process.stderr is not None
        self.process.kill()
        return self.process.stderr.read().decode()

    @property
    def descriptions(self) -> list[tuple[Track, ...]]:
        return [event for event in self.events if isinstance(event, tuple)]

    @property
    def fault(self) -> Fault | None:
        return next((event for event in self.events if isinstance(event, Fault)), None)


def run_to_end(source: str, **options: Any) -> Fault:
    with Worker(source, **options) as worker:
        fault = worker.read_end()
        assert fault is not None, worker.errors()
        assert worker.process.returncode == 1
        return fault


def decode_video(units: list[AccessUnit]) -> list[av.VideoFrame]:
    """Pictures in the order they are shown, their pts in microseconds as stamped."""
    codec = {"h264": "h264", "h265": "hevc"}[units[0].track.codec]
    decoder = av.VideoCodecContext.create(codec, "r")
    config = units[0].track.config
    sets = [*getattr(config, "vps", ()), *config.sps, *config.pps]
    frames: list[av.VideoFrame] = []
    for unit in units:
        packet = av.Packet(join_annexb([*sets, *unit.parts] if unit.key else unit.parts))
        packet.pts, packet.dts = unit.pts_us, unit.dts_us
        frames += decoder.decode(packet)
    return frames + decoder.decode(None)


def decode_audio(units: list[AccessUnit]) -> list[av.AudioFrame]:
    decoder = av.AudioCodecContext.create("aac", "r")
    decoder.extradata = units[0].track.config.asc
    frames: list[av.AudioFrame] = []
    for unit in units:
        packet = av.Packet(bytes(unit.parts[0]))
        packet.pts = packet.dts = unit.dts_us
        frames += decoder.decode(packet)
    return frames


def luma(frame: av.VideoFrame) -> Callable[[int, int], int]:
    """A function of x and y."""
    plane = frame.planes[0]
    data, stride = bytes(plane), plane.line_size
    return lambda x, y: data[y * stride + x]


def make_clip(folder: Path, name: str, *arguments: str) -> Path:
    """A recording made by ffmpeg."""
    path = folder / name
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", *arguments, str(path)]
    subprocess.run(command, check=True, timeout=60)
    return path
