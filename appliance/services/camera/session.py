"""One worker's life as its stream sees it: its units published, its media watched, its end told.

Theory of operation: everything the worker writes is handled in the callback of its pipe, so
nothing piles up. The session sleeps until the deadline of the next unit, which every unit moves;
a deadline that passes ends the session, as do the worker's death, a fault it tells, or a byte on
the pipe that has no place there. Whatever ends it, the worker is dead and the lease given back
when `run` returns.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from appliance.errors import PeerError, StreamError
from appliance.hub.publisher import Publisher
from appliance.hub.sessions import Session
from appliance.hub.stream import Stream
from appliance.media.track import Kind
from appliance.media.unit import AccessUnit
from appliance.services.camera.faults import GARBAGE, KICKED, STALLED, TAKEN_OVER, WorkerFault
from appliance.services.camera.process import WorkerProcess
from appliance.services.camera.stderr import ErrorLog
from appliance.services.contract import Context, StreamSettings
from appliance.wire.pipe.connection import Pipe, Role
from appliance.wire.pipe.messages import Event, Fault, Health, RequestKeyframe, Tracks

MAX_AHEAD_US = 10_000_000  # a unit from further in the future is not from a sane worker
MAX_SLOW_US = 60_000_000  # against a track that describes itself as slower than any camera
MAX_GAP_US = 5_000_000  # a longer one is time in which we ourselves were stopped

# Then it was this process that stood still (stopped, swapped out): that is no stall of a worker.
MAX_LATE_US = 500_000


@dataclass(frozen=True, slots=True)
class Patience:
    """open_us: until the first unit; nice: the worker's priority.

    stall_us: between pictures; between sounds if that is all there is.
    """

    open_us: int
    stall_us: int
    nice: int


class WorkerSession:
    """`run` once; `first_unit_us` tells whether, and since when, there was media."""

    def __init__(
        self,
        context: Context,
        stream: Stream,
        settings: StreamSettings,
        session: Session,
        patience: Patience,
    ) -> None:
        self._context = context
        self._stream = stream
        self._settings = settings
        self._session = session
        self._patience = patience
        self._clock = stream.clock
        self._pipe = Pipe(Role.APPLIANCE)
        self._errors = ErrorLog(session.log)
        self._worker: WorkerProcess | None = None
        self._publisher: Publisher | None = None
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._deadline_us = 0
        self._dropped_frames = 0
        self._tracks: Tracks = ()
        self._newest_us: int | None = None
        self.first_unit_us: int | None = None
        self.units = 0

    async def run(self) -> None:
        """Until cancelled (the worker gets a SIGTERM) or a fault (it gets a SIGKILL).

        Raises: WorkerFault, always, unless cancelled.
        """
        self._deadline_us = self._clock.monotonic_us() + self._patience.open_us
        self._session.kick = self._kick
        self._worker = await WorkerProcess.spawn(
            self._settings.source,
            options(self._settings, self._context.device_name),
            nice=self._patience.nice,
            on_output=self._receive,
            on_error_output=self._receive_error_output,
        )
        gently = True
        try:
            self._worker.write(self._pipe.take_output())
            await self._watch(self._worker)
        except WorkerFault:
            gently = False
            raise
        finally:
            self._close()
            await self._worker.end(gently=gently)
            self._errors.receive_eof(self._clock.monotonic_us())

    async def _watch(self, worker: WorkerProcess) -> None:
        """Looks at least every `stall_us`, as the first unit brings the deadline nearer."""
        ended = asyncio.ensure_future(worker.ended.wait())
        endings: set[asyncio.Future[Any]] = {ended, self._failed}
        try:
            while (left_us := self._deadline_us - (now_us := self._clock.monotonic_us())) > 0:
                wait_us = min(left_us, self._patience.stall_us)
                await asyncio.wait(
                    endings, timeout=wait_us / 1_000_000, return_when=asyncio.FIRST_COMPLETED
                )
                late_us = self._clock.monotonic_us() - now_us - wait_us
                if late_us > MAX_LATE_US:
                    self._deadline_us += late_us
                if self._failed.done():
                    self._failed.result()
                if ended.done():
                    raise await worker.describe_end()
        finally:
            ended.cancel()
        raise WorkerFault(STALLED, self._describe_stall())

    def _describe_stall(self) -> str:
        if self.first_unit_us is None:
            return f"no picture or sound within {self._patience.open_us // 1_000_000} s"
        missing = "picture" if self._stream.has_video else "sound"
        return f"no {missing} for {self._patience.stall_us / 1_000_000:g} s"

    def _close(self) -> None:
        if self._publisher is not None:
            self._publisher.close()
            self._publisher = None
        if not self._failed.cancel() and not self._failed.cancelled():
            self._failed.exception()  # looked at, whichever of two ends came first

    # -- from the worker -----------------------------------------------------------------------

    def _receive(self, data: bytes) -> None:
        """The outermost frame of what a worker can cause."""
        if self._failed.done():
            return
        try:
            for event in self._pipe.receive(data):
                self._handle(event)
        except PeerError as error:
            self._fail(WorkerFault(GARBAGE, f"the worker sent nonsense: {error}"))
        except StreamError as error:
            self._fail(WorkerFault(TAKEN_OVER, str(error)))
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if not self._failed.done():
            self._failed.set_exception(error)

    def _kick(self) -> None:
        """Somebody at the API ends this session: the feed begins another."""
        self._fail(WorkerFault(KICKED, "ended through the API"))

    def _receive_error_output(self, data: bytes) -> None:
        self._errors.receive(data, self._clock.monotonic_us())

    def _handle(self, event: Event) -> None:
        match event:
            case AccessUnit():
                self._publish(event)
            case tuple():
                self._describe(event)
            case Health():
                self._count_dropped(event)
            case Fault():
                raise_fault(event)

    def _describe(self, tracks: Tracks) -> None:
        if self._publisher is None:
            publisher = self._context.hub.publish(self._stream.name, self._session.id, stamped=True)
            publisher.on_keyframe_request = self._request_keyframe
            self._publisher = publisher
        self._publisher.describe(tracks)
        self._tracks = tracks

    def _begin_anew(self) -> None:
        """A lease of its own for what follows a gap, so that stamps stay those of the clock and
        are not moved together as those of a source that jumps would be."""
        if self._publisher is not None:
            self._publisher.close()
            self._publisher = None
        self._describe(self._tracks)

    def _publish(self, unit: AccessUnit) -> None:
        now_us = self._clock.monotonic_us()
        if unit.dts_us > now_us + MAX_AHEAD_US:
            raise PeerError("a unit from the future")
        if self._newest_us is not None and unit.dts_us > self._newest_us + MAX_GAP_US:
            self._begin_anew()
        self._newest_us = unit.dts_us
        assert self._publisher is not None  # the pipe refuses units before tracks
        self._session.received.add(unit.size_bytes, now_us)
        self._publisher.write(unit)
        if unit.track.kind is Kind.VIDEO or not self._stream.has_video:
            self._deadline_us = now_us + max(self._patience.stall_us, self._slow_us(unit))
        self.units += 1
        if self.first_unit_us is None:
            self.first_unit_us = now_us
            names = ", ".join(track.config.rfc6381 for track in self._stream.tracks)
            self._session.log.info("is live: %s", names)

    def _slow_us(self, unit: AccessUnit) -> int:
        """The patience that a track of few pictures a minute needs, by its own description."""
        fps = getattr(unit.track.config, "fps", None)
        return int(min(3_000_000 / fps, MAX_SLOW_US)) if fps else 0

    def _count_dropped(self, health: Health) -> None:
        new = health.dropped_frames - self._dropped_frames
        if new > 0:
            self._dropped_frames = health.dropped_frames
            self._context.counters.add("camera_dropped_frames_total", new, stream=self._stream.name)

    # -- to the worker -------------------------------------------------------------------------

    def _request_keyframe(self) -> None:
        if self._worker is not None:
            self._pipe.send(RequestKeyframe())
            self._worker.write(self._pipe.take_output())


def raise_fault(fault: Fault) -> None:
    """What the worker says of itself, as the error that ends the session."""
    raise WorkerFault(fault.reason.value, fault.text)


def options(settings: StreamSettings, device_name: str) -> dict[str, str | int]:
    """What `appliance.capture.options` reads."""
    video, audio = settings.video, settings.audio
    return {
        "stream": settings.name,
        "device": device_name,
        "width": video.width,
        "height": video.height,
        "fps": video.fps,
        "bitrate_bps": video.bitrate_bps,
        "keyframe_us": video.keyframe_us,
        "encoder": video.encoder,
        "audio": audio.device,
        "audio_bitrate_bps": audio.bitrate_bps,
    }
