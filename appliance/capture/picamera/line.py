"""A stream of H.264 from picamera2's encoders, which goes on while they are exchanged.

Theory of operation: of picamera2's encoders only the hardware's bitrate can be changed while it
runs, so for everything else a second encoder is started beside the first. It begins with a keyframe
at some picture; from the moment it was started the units of the first are held, those from before
that picture are let go and the rest is thrown away. So no picture is missing and none comes twice.
The old encoder is stopped in a thread of its own, as that may take as long as the driver likes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from appliance.capture.clock import monotonic_us
from appliance.capture.fault import SourceFault
from appliance.capture.picamera.camera import Camera
from appliance.capture.picamera.deadline import DriverHangs, Errand
from appliance.capture.picamera.encoding import Chunk, Encoding, UnitReader, Wish
from appliance.capture.picamera.sensor_clock import SensorClock
from appliance.media.track import Track
from appliance.media.unit import AccessUnit

log = logging.getLogger(__name__)

MAX_HELD = 32  # units; against a second encoder that never delivers
EXCHANGE_US = 2_000_000
KEYFRAME_PAUSE_US = 1_000_000  # between exchanges for a keyframe; against viewers that ask and ask
STOP_US = 5_000_000


@dataclass(slots=True)
class Running:
    encoding: Encoding
    reader: UnitReader


class EncodedLine:
    """One of the camera's streams, encoded; for one thread.

    deliver: where encoders put their chunks, in threads of theirs; `take` wants them back.
    """

    def __init__(
        self,
        camera: Camera,
        stream: str,
        track_id: int,
        wish: Wish,
        deliver: Callable[[Chunk], bool],
        rotation_deg: int = 0,
    ) -> None:
        self.wish = wish
        self._damaged = 0
        self._camera = camera
        self._stream = stream
        self._track_id = track_id
        self._deliver = deliver
        self._rotation_deg = rotation_deg
        self._clock = SensorClock()
        self._current: Running | None = None
        self._next: Running | None = None
        self._held: list[AccessUnit] = []
        self._exchange_due_us = 0
        self._keyframe_due_us = 0
        self._stopping: list[Errand] = []

    @property
    def is_running(self) -> bool:
        return self._current is not None

    @property
    def track(self) -> Track | None:
        return None if self._current is None else self._current.reader.track

    def start(self) -> None:
        """Raises: SourceFault if there is no such encoder, or it refuses."""
        self._current = self._begin()

    def stop(self) -> None:
        for running in (self._current, self._next):
            if running is not None:
                self._end(running)
        self._current = self._next = None
        self._held.clear()

    def wait_stopped(self) -> None:
        """Raises: SourceFault if an encoder does not let itself be stopped."""
        for errand in self._stopping:
            errand.wait()
        self._stopping.clear()

    def take_damaged(self) -> int:
        """How many chunks were no whole picture, since the last call."""
        damaged, self._damaged = self._damaged, 0
        return damaged

    def restart(self) -> None:
        """With what is wished now: a keyframe follows. Raises: SourceFault, as `start`."""
        if self._current is None:
            return
        if self._next is not None:
            self._end(self._next)
            self._next = None
        try:
            self._next = self._begin()
        except DriverHangs:
            raise
        except SourceFault as fault:
            self._restart_alone(fault)
            return
        self._exchange_due_us = monotonic_us() + EXCHANGE_US

    def _restart_alone(self, fault: SourceFault) -> None:
        """The board has not the memory for two at a time: some pictures are lost."""
        log.info("no second encoder beside the first (%s): the first is stopped before", fault)
        self.stop()
        self.wait_stopped()
        self.start()

    def change(self, wish: Wish) -> None:
        """Raises: SourceFault, as `start`."""
        before, self.wish = self.wish, wish
        if wish == before or self._current is None:
            return
        only_bitrate = replace(before, bitrate_bps=wish.bitrate_bps) == wish
        if only_bitrate and self._current.encoding.set_bitrate(wish.bitrate_bps):
            return
        self.restart()

    def force_keyframe(self) -> None:
        """Raises: SourceFault, as `start`."""
        if self._current is None or self._next is not None:
            return  # one comes anyway
        if self._current.encoding.force_keyframe():
            return
        now_us = monotonic_us()
        if now_us >= self._keyframe_due_us:
            self._keyframe_due_us = now_us + KEYFRAME_PAUSE_US
            self.restart()

    def take(self, chunk: Chunk) -> list[AccessUnit]:
        """The units that may be sent now."""
        for running in (self._current, self._next):
            if running is not None and running.encoding is chunk.encoding:
                unit = self._read(running, chunk)
                return [] if unit is None else self._pass(running, unit)
        return []

    def check(self) -> list[AccessUnit]:
        """To be called now and then: gives up an encoder that was started and never delivered.

        Raises: SourceFault if an encoder does not let itself be stopped.
        """
        self._stopping = [errand for errand in self._stopping if not errand.is_done()]
        if self._next is None:
            return []
        if monotonic_us() < self._exchange_due_us and len(self._held) < MAX_HELD:
            return []
        log.warning("the encoder that was to take over delivers nothing; the old one goes on")
        self._end(self._next)
        self._next = None
        return self._release()

    def _begin(self) -> Running:
        encoding = Encoding(self._camera.system, self.wish, self._deliver)
        self._camera.start_encoding(encoding, self._stream)
        return Running(encoding, UnitReader(self._track_id, self._rotation_deg))

    def _end(self, running: Running) -> None:
        encoder = running.encoding.encoder
        self._stopping.append(
            Errand("an encoder's stop", lambda: self._camera.stop_encoder(encoder), STOP_US)
        )

    def _read(self, running: Running, chunk: Chunk) -> AccessUnit | None:
        reader = running.reader
        if chunk.follows_loss:
            reader.waits_for_key = True
        damaged = reader.damaged
        unit = reader.read(chunk.data, self._clock.monotonic_us(chunk.sensor_us))
        if reader.damaged > damaged:
            self._damaged += 1
            self.force_keyframe()
        return unit

    def _pass(self, running: Running, unit: AccessUnit) -> list[AccessUnit]:
        if running is self._next:
            self._held = [held for held in self._held if held.dts_us < unit.dts_us]
            if self._current is not None:
                self._end(self._current)
            self._current, self._next = self._next, None
            return [*self._release(), unit]
        if self._next is not None:
            self._held.append(unit)
            return []
        return [unit]

    def _release(self) -> list[AccessUnit]:
        held, self._held = self._held, []
        return held
