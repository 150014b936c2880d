"""The worker's way in: commands from the appliance on standard input, read by a thread.

A thread, because a source may block in libav for long, and the end of the input must end the
worker even then.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from appliance.errors import PeerError
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.connection import Pipe, Role
from appliance.wire.pipe.messages import (
    Change,
    Event,
    Recover,
    RequestKeyframe,
    RequestPicture,
    Rung,
    SetBitrate,
    Tracks,
)

READ_BYTES = 4096
MAX_MEDIA = 256  # tracks and units to encode anew; then what follows waits in the pipe
MAX_WAITING = 64  # of a kind, against an appliance that asks faster than a blocked source looks
EXIT_OK, EXIT_PROTOCOL = 0, 76  # sysexits(3)

T = TypeVar("T")


class Commands:
    """What the appliance asked for since the source last looked.

    media: for a source that encodes anew what it is given.
    on_command: called in the reading thread after something came, to wake a source that waits.
    """

    def __init__(self) -> None:
        self.on_command: Callable[[], None] | None = None
        self.media: queue.Queue[Tracks | AccessUnit] = queue.Queue(MAX_MEDIA)
        self._keyframe = threading.Event()
        self._bitrate_bps: int | None = None
        self._rung: Rung | None = None
        self._changes: deque[Change] = deque(maxlen=MAX_WAITING)
        self._pictures: deque[RequestPicture] = deque(maxlen=MAX_WAITING)

    def take_keyframe(self) -> bool:
        """Whether the next picture shall be a keyframe; asking clears it."""
        if not self._keyframe.is_set():
            return False
        self._keyframe.clear()
        return True

    def take_bitrate_bps(self) -> int | None:
        """A new target for the video encoder, once."""
        bitrate_bps, self._bitrate_bps = self._bitrate_bps, None
        return bitrate_bps

    def take_recover(self) -> Rung | None:
        """What to restart, once; of several the highest."""
        rung, self._rung = self._rung, None
        return rung

    def take_changes(self) -> list[Change]:
        return _drain(self._changes)

    @property
    def has_pictures(self) -> bool:
        return bool(self._pictures)

    def take_pictures(self) -> list[RequestPicture]:
        return _drain(self._pictures)

    def handle(self, event: Event) -> None:
        match event:
            case AccessUnit() | tuple():
                self.media.put(event)
            case RequestKeyframe():
                self._keyframe.set()
            case SetBitrate():
                self._bitrate_bps = event.bitrate_bps
            case Change():
                self._changes.append(event)
            case RequestPicture():
                self._pictures.append(event)
            case Recover():
                self._rung = max(self._rung or event.rung, event.rung)
        if self.on_command is not None:
            self.on_command()

    def listen(self, descriptor: int) -> None:
        """Start reading; the end of the input, or nonsense on it, ends the process."""
        threading.Thread(target=self._read, args=(descriptor,), daemon=True).start()

    def _read(self, descriptor: int) -> None:
        pipe = Pipe(Role.WORKER)
        status = EXIT_OK
        try:
            while data := os.read(descriptor, READ_BYTES):
                for event in pipe.receive(data):
                    self.handle(event)
        except (PeerError, OSError) as error:
            sys.stderr.write(f"<3>commands: {error}\n")
            sys.stderr.flush()
            status = EXIT_PROTOCOL
        os._exit(status)  # the source may be blocked in C, where no exception reaches it


def _drain(queue: deque[T]) -> list[T]:
    """Everything in it; another thread may append meanwhile."""
    taken: list[T] = []
    while queue:
        taken.append(queue.popleft())
    return taken
