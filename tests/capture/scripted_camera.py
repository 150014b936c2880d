"""A camera that does what a test says: the protocol `Device`, and a sink that keeps everything."""

from __future__ import annotations

import errno
import os
import select
import threading
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from appliance.capture.clock import monotonic_us
from appliance.capture.commands import Commands
from appliance.capture.fault import SourceFault
from appliance.capture.options import Options
from appliance.capture.sources.v4l2 import V4l2Source
from appliance.capture.v4l2.device import (
    CAP_CAPTURE,
    CAP_STREAMING,
    Capability,
    ControlInfo,
    ControlType,
    Mode,
    Offer,
    Shape,
    Shot,
    Wanted,
)
from appliance.media.track import Track
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.messages import Picture

WIDTH, HEIGHT, FPS = 64, 64, 120
MODE = Mode(WIDTH, HEIGHT, (Fraction(FPS),))
RAW = [Offer("YU12", "Planar YUV 4:2:0", (MODE,))]
OPTIONS = Options(width=WIDTH, height=HEIGHT, fps=FPS, audio="none", adapt=False, encoder="libx264")
WEBCAM = Capability("uvcvideo", "Test Camera", "usb-0000:01:00.0-1.2", CAP_CAPTURE | CAP_STREAMING)
EXPOSURES = {1: "Manual Mode", 3: "Aperture Priority Mode"}
CONTROLS = [
    ControlInfo(1, "Brightness", ControlType.INT, -64, 64, 1, 0),
    ControlInfo(2, "Auto Exposure", ControlType.MENU, 0, 3, 1, 3, choices=EXPOSURES),
    ControlInfo(3, "Exposure Time, Absolute", ControlType.INT, 1, 5000, 1, 157),
    ControlInfo(4, "Exposure, Dynamic Framerate", ControlType.BOOL, 0, 1, 1, 0),
    ControlInfo(5, "Name", ControlType.TEXT, 0, 8),
    ControlInfo(6, "Pan Speed", ControlType.BUTTON),
    ControlInfo(7, "Temperature", ControlType.INT, 0, 100, 1, 0, is_read_only=True),
    ControlInfo(8, "Brightness", ControlType.INT, 0, 10, 1, 0),
]  # fmt: skip
GREY = bytes([128]) * (WIDTH * HEIGHT * 3 // 2)

Step = bytes | OSError | Callable[[], None]


class Exposures:
    """Times of pictures at the camera's rate, though a test plays them all at once: they lie in
    the moment before now, in which a source believes them and finds none too late."""

    def __init__(self) -> None:
        self._last_us = 0

    def next_us(self) -> int:
        self._last_us = max(self._last_us + 1_000_000 // FPS, monotonic_us() - 200_000)
        return self._last_us


exposures = Exposures()


class ScriptedDevice:
    """steps: what each picture is: bytes, an error to raise, or something to do first."""

    def __init__(
        self,
        path: str,
        steps: deque[Any],
        *,
        offers: list[Offer] | None = None,
        capability: Capability = WEBCAM,
        controls: list[ControlInfo] | None = None,
        refusals: dict[int, int] | None = None,
    ) -> None:
        self.path = path
        self.capability = capability
        self.steps = steps
        self.written: list[tuple[int, int | str]] = []
        self.values: dict[int, int | str] = {}
        self.log: list[str] = []
        self.stamps: deque[int | None] = deque()
        self.is_closed = False
        self.give_back_errors: deque[OSError] = deque()
        self.start_error: OSError | None = None
        self.held = 0
        self._offers = RAW if offers is None else offers
        self._controls = controls or []
        self._refusals = refusals or {}
        self._sequence = 0

    def offers(self, wanted: Wanted) -> list[Offer]:
        return self._offers

    def start(self, fourcc: str, width: int, height: int, rate_hz: Fraction) -> Shape:
        self.log.append(f"start {fourcc} {width}x{height}")
        if self.start_error is not None:
            raise self.start_error
        return Shape(fourcc, width, height, rate_hz, (width,), (len(GREY),))

    def restart(self) -> None:
        self.log.append("restart")

    def wait(self, timeout_s: float, waker: int) -> bool:
        if self.steps:
            return True
        poll = select.poll()
        poll.register(waker, select.POLLIN)
        poll.poll(timeout_s * 1000)
        return bool(self.steps)

    def take(self) -> Shot | None:
        step = self.steps.popleft()
        if isinstance(step, OSError):
            raise step
        if callable(step):
            step()
            return None
        sequence, damaged, data = self._sequence, False, step
        if isinstance(step, tuple):
            data, damaged, skipped = step
            sequence += skipped
        self._sequence = sequence + 1
        stamp = self.stamps.popleft() if self.stamps else exposures.next_us()
        self.held += 1
        return Shot(0, (memoryview(data),), stamp, sequence, damaged)

    def give_back(self, shot: Shot) -> None:
        self.held -= 1
        if self.give_back_errors:
            raise self.give_back_errors.popleft()

    def controls(self) -> list[ControlInfo]:
        return self._controls

    def read_control(self, control: ControlInfo) -> int | str:
        return self.values.get(control.number, control.default)

    def write_controls(self, values: list[tuple[ControlInfo, int | str]]) -> None:
        for control, _ in values:
            if control.number in self._refusals:
                number = self._refusals[control.number]
                raise OSError(number, os.strerror(number))
        self.written += [(control.number, value) for control, value in values]
        self.values.update({control.number: value for control, value in values})

    def close(self) -> None:
        self.is_closed = True


class KeepingSink:
    """Everything a source sends. on_write: called with the number of units so far."""

    def __init__(self) -> None:
        self.tracks: list[tuple[Track, ...]] = []
        self.units: list[AccessUnit] = []
        self.states: list[dict[str, Any]] = []
        self.answers: dict[int, str] = {}
        self.pictures: list[Picture] = []
        self.dropped = 0
        self.on_write: Callable[[int], None] = lambda count: None

    def describe(self, tracks: tuple[Track, ...]) -> None:
        self.tracks.append(tracks)

    def write(self, unit: AccessUnit) -> None:
        self.units.append(unit)
        self.on_write(len(self.units))

    def drop(self, count: int) -> None:
        self.dropped += count

    def state(self, document: dict[str, Any]) -> None:
        self.states.append(document)

    def answer(self, serial: int, error: str = "") -> None:
        self.answers[serial] = error

    def picture(self, picture: Picture) -> None:
        self.pictures.append(picture)


class Stage:
    """A /dev of its own, in which cameras are plugged in and out.

    plug(name, device factory): what opening that node gives from now on.
    """

    def __init__(self, folder: Path) -> None:
        self.dev = folder
        self.opened: list[ScriptedDevice] = []
        self._nodes: dict[str, Callable[[str], ScriptedDevice]] = {}

    def plug(
        self,
        node: str,
        make: Callable[[str], ScriptedDevice],
        *,
        by_id: str = "",
        by_path: str = "",
    ) -> str:
        path = self.dev / node
        path.touch()
        self._nodes[str(path)] = make
        for folder, name in (("by-id", by_id), ("by-path", by_path)):
            if name:
                link = self.dev / "v4l" / folder / name
                link.parent.mkdir(parents=True, exist_ok=True)
                link.unlink(missing_ok=True)
                link.symlink_to(Path("..") / ".." / node)
        return str(path)

    def unplug(self, node: str) -> None:
        path = self.dev / node
        for link in (self.dev / "v4l").glob("*/*"):
            if link.resolve() == path.resolve():
                link.unlink()
        path.unlink()
        del self._nodes[str(path)]

    def open(self, path: str) -> ScriptedDevice:
        if path not in self._nodes:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        device = self._nodes[path](path)
        self.opened.append(device)
        return device

    def source(self, name: str, options: Options = OPTIONS) -> V4l2Source:
        return V4l2Source(name, options, open_device=self.open, dev=self.dev)


class Stopped(Exception):
    """A test has seen enough."""


def lost() -> OSError:
    return OSError(errno.ENODEV, os.strerror(errno.ENODEV))


def stop() -> None:
    raise Stopped


def play(source: V4l2Source, sink: KeepingSink, commands: Commands | None = None) -> str:
    """Until a step stops it, or the source gives up: its words."""
    try:
        source.run(sink, commands or Commands())
    except Stopped:
        return ""
    except SourceFault as fault:
        return f"{fault.reason}: {fault}"
    raise AssertionError("a source does not return")


def in_thread(function: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread
