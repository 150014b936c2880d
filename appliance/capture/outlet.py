"""The worker's way out: tracks, units, health and faults as frames on the pipe.

Sound waits a moment for the next picture, so that both wake the appliance once: waking costs it
more than the frames do. Writing blocks while the appliance does not read; a source notices by the
clock, not here.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any, Protocol

from appliance.capture.clock import monotonic_us
from appliance.media.track import Kind, Track
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.connection import Pipe, Role
from appliance.wire.pipe.frames import MAX_PICTURE_BYTES, MAX_UNIT_BYTES
from appliance.wire.pipe.messages import Answer, Event, Fault, Health, Picture, State

HEALTH_INTERVAL_US = 5_000_000
HOLD_US = 40_000  # sound older than this goes without a picture
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Sink(Protocol):
    """Where a source puts what it makes; of several threads at once, if it has them."""

    def describe(self, tracks: tuple[Track, ...]) -> None:
        """All tracks of what follows; again whenever one of them changes."""
        ...

    def write(self, unit: AccessUnit) -> None: ...

    def drop(self, count: int) -> None:
        """Count pictures that were left out."""
        ...

    def state(self, document: dict[str, Any]) -> None:
        """What the camera is and does now."""
        ...

    def answer(self, serial: int, error: str = "") -> None:
        """To a change: done, or why not."""
        ...

    def picture(self, picture: Picture) -> None:
        """To a request for one."""
        ...


class Outlet:
    """A `Sink` that writes frames to a file descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pipe = Pipe(Role.WORKER)
        self._dropped_frames = 0
        self._health_us = monotonic_us()
        self._has_video = False
        self._held_us: int | None = None  # since when something waits to be written
        self._lock = threading.Lock()  # sound and picture may come from two threads
        self._flush()

    def describe(self, tracks: tuple[Track, ...]) -> None:
        self._has_video = any(track.kind is Kind.VIDEO for track in tracks)
        self._send(tracks)

    def write(self, unit: AccessUnit) -> None:
        with self._lock:
            self._write(unit)

    def _write(self, unit: AccessUnit) -> None:
        if unit.size_bytes > MAX_UNIT_BYTES:
            self.drop(1)
            return
        self._pipe.send(unit)
        now_us = monotonic_us()
        if now_us - self._health_us >= HEALTH_INTERVAL_US:
            self._health_us = now_us
            late_us = max(0, now_us - unit.dts_us)
            self._pipe.send(Health(self._dropped_frames, late_us, rss_bytes()))
        if self._held_us is None:
            self._held_us = now_us
        waits = self._has_video and unit.track.kind is Kind.AUDIO
        if not waits or now_us - self._held_us >= HOLD_US:
            self._flush()

    def drop(self, count: int) -> None:
        self._dropped_frames += count

    def state(self, document: dict[str, Any]) -> None:
        self._send(State(document))

    def answer(self, serial: int, error: str = "") -> None:
        self._send(Answer(serial, error))

    def picture(self, picture: Picture) -> None:
        if len(picture.jpeg) > MAX_PICTURE_BYTES:
            picture = Picture(picture.serial, error="the picture is too large: ask for less width")
        self._send(picture)

    def fault(self, fault: Fault) -> None:
        self._send(fault)

    def _send(self, event: Event) -> None:
        with self._lock:
            self._pipe.send(event)
            self._flush()

    def _flush(self) -> None:
        self._held_us = None
        left = memoryview(self._pipe.take_output())
        while left:
            left = left[os.write(self._descriptor, left) :]


def rss_bytes() -> int:
    """Resident memory of this process (proc(5), statm)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
