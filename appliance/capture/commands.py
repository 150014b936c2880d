"""The worker's way in: commands from the appliance on standard input, read by a thread.

A thread, because a source may block in libav for long, and the end of the input must end the
worker even then.
"""

from __future__ import annotations

import os
import sys
import threading

from appliance.errors import PeerError
from appliance.wire.pipe.connection import Pipe, Role
from appliance.wire.pipe.messages import Event, RequestKeyframe, SetBitrate

READ_BYTES = 4096
EXIT_OK, EXIT_PROTOCOL = 0, 76  # sysexits(3)


class Commands:
    """What the appliance asked for since the source last looked."""

    def __init__(self) -> None:
        self._keyframe = threading.Event()
        self._bitrate_bps: int | None = None

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

    def handle(self, event: Event) -> None:
        match event:
            case RequestKeyframe():
                self._keyframe.set()
            case SetBitrate():
                self._bitrate_bps = event.bitrate_bps

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
