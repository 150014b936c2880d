"""The worker program with one more source: ``fault:KIND[,AFTER]``, the test pattern with a fault.

Started as the worker is (``faulty_worker.py - --options-json …``), over the same pipe. AFTER
pictures (25 unless told) the fault begins. Kinds, and what mends them:

stop      no picture and no sound any more, commands are still obeyed; nothing mends it
encoder   no picture until the appliance asks to restart the encoder; the sound goes on
camera    no picture until it asks to reopen the camera; the sound goes on
keyless   no keyframe until one is asked for
deaf      blocks, obeys nothing and ignores SIGTERM and the end of its input
exit      ends with status 3
garbage   bytes that are no frame
oversize  announces a frame larger than any
sound     only sound from the beginning
jump      stamps an hour ahead
back      stamps ten seconds back
flood     each picture a hundred times
slow      the pipe gets a byte every 16 µs (64 KB/s)
"""

from __future__ import annotations

import os
import signal
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from appliance.capture import program, sources
from appliance.capture.clock import WallClock, sleep_until_us
from appliance.capture.commands import Commands
from appliance.capture.options import Options
from appliance.capture.outlet import Outlet, Sink
from appliance.capture.pattern.controls import CardControls
from appliance.capture.pipeline.line import Pipeline
from appliance.capture.sources.pattern import PatternAudio, PatternVideo
from appliance.media.track import Kind
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.frames import Type
from appliance.wire.pipe.messages import Rung

AFTER = 25
STARVED_BYTES_S = 64_000
HOUR_US, BACK_US = 3_600_000_000, 10_000_000


class FaultySink:
    """What goes out, changed as the kind of fault has it."""

    def __init__(self, sink: Sink, kind: str, after: int) -> None:
        self._sink = sink
        self.kind = kind
        self._left = after
        self.has_begun = after == 0
        self.mended = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._sink, name)

    def write(self, unit: AccessUnit) -> None:
        if unit.track.kind is Kind.VIDEO:
            self._left -= 1
            self.has_begun = self._left < 0
        change = None if self.mended or not self.has_begun else CHANGES.get(self.kind)
        for each in [unit] if change is None else change(unit):
            self._sink.write(each)


def shifted(unit: AccessUnit, by_us: int) -> AccessUnit:
    return AccessUnit(unit.track, unit.dts_us + by_us, unit.pts_us + by_us, unit.key, unit.parts)


def without_pictures(unit: AccessUnit) -> list[AccessUnit]:
    return [] if unit.track.kind is Kind.VIDEO else [unit]


def flood(unit: AccessUnit) -> list[AccessUnit]:
    return [shifted(unit, n) for n in range(100)] if unit.track.kind is Kind.VIDEO else [unit]


CHANGES: dict[str, Callable[[AccessUnit], list[AccessUnit]]] = {
    "stop": lambda unit: [],
    "encoder": without_pictures,
    "camera": without_pictures,
    "keyless": lambda unit: [replace_key(unit)],
    "jump": lambda unit: [shifted(unit, HOUR_US)],
    "back": lambda unit: [shifted(unit, -BACK_US)],
    "flood": flood,
}


def replace_key(unit: AccessUnit) -> AccessUnit:
    if unit.track.kind is Kind.AUDIO:
        return unit
    return AccessUnit(unit.track, unit.dts_us, unit.pts_us, False, unit.parts)


class FaultySource:
    def __init__(self, kind: str, after: int, options: Options) -> None:
        self._kind = kind
        self._after = after
        self._options = options

    def run(self, sink: Sink, commands: Commands) -> None:
        faulty = FaultySink(sink, self._kind, self._after)
        clock = WallClock()
        watched = WatchedCommands(commands, faulty)
        pipeline = Pipeline(self._options, faulty, watched)  # type: ignore[arg-type]
        pipeline.set_device({"device": "fault", "name": self._kind})
        video = PatternVideo(self._options, clock, CardControls())
        audio = PatternAudio(self._options, clock)
        if self._kind == "sound":
            sink.describe((audio.track,))
            self._sound_only(sink, audio)
        if self._kind == "slow":
            starve(sink)
        pipeline.set_audio_track(audio.track)
        while True:
            if pipeline.has_begun and audio.due_us < video.due_us:
                sleep_until_us(audio.due_us)
                pipeline.write_audio(audio.next_units())
                continue
            sleep_until_us(video.due_us)
            video.skip_missed()
            if pipeline.obey() is Rung.CAMERA:
                faulty.mended = faulty.mended or self._kind == "camera"
            due_us = video.due_us
            video.draw()
            pipeline.feed(video.frame, due_us, keep=True)
            if faulty.has_begun:
                self._misbehave()

    def _sound_only(self, sink: Sink, audio: PatternAudio) -> None:
        while True:
            sleep_until_us(audio.due_us)
            for unit in audio.next_units():
                sink.write(unit)

    def _misbehave(self) -> None:
        match self._kind:
            case "deaf":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                os._exit = lambda status: time.sleep(3600)  # type: ignore[assignment]
                while True:
                    time.sleep(60)
            case "exit":
                os._exit(3)
            case "garbage":
                os.write(pipe_descriptor(), b"\xff" * 64)
            case "oversize":
                os.write(pipe_descriptor(), b"\x7f\xff\xff\xff" + bytes((Type.UNIT,)) + bytes(64))


class WatchedCommands:
    """Notes what the appliance asks for that mends the fault."""

    def __init__(self, commands: Commands, sink: FaultySink) -> None:
        self._commands = commands
        self._sink = sink

    def __getattr__(self, name: str) -> object:
        return getattr(self._commands, name)

    def take_keyframe(self) -> bool:
        asked = self._commands.take_keyframe()
        if asked and self._sink.kind == "keyless" and self._sink.has_begun:
            self._sink.mended = True
        return asked

    def take_recover(self) -> Rung | None:
        rung = self._commands.take_recover()
        if rung is Rung.ENCODER and self._sink.kind == "encoder":
            self._sink.mended = True
        return rung


_outlets: list[Outlet] = []


def pipe_descriptor() -> int:
    return _outlets[0]._descriptor


def starve(sink: Sink) -> None:
    """Write no faster than a bad link would."""
    write = os.write

    def slowly(descriptor: int, data: bytes) -> int:
        if descriptor != pipe_descriptor():
            return write(descriptor, data)
        piece = data[: STARVED_BYTES_S // 100]
        time.sleep(len(piece) / STARVED_BYTES_S)
        return write(descriptor, piece)

    os.write = slowly  # type: ignore[assignment]


def create(rest: str, options: Options) -> FaultySource:
    kind, _, after = rest.partition(",")
    return FaultySource(kind, int(after) if after else AFTER, options)


def main() -> int:
    module = types.ModuleType("appliance.capture.sources.fault")
    module.create = create  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    sources.SCHEMES["fault"] = "fault"
    opened = Outlet.__init__

    def remember(self: Outlet, descriptor: int) -> None:
        _outlets.append(self)
        opened(self, descriptor)

    Outlet.__init__ = remember  # type: ignore[method-assign]
    return program.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
