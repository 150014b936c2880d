"""One other form of one stream's sound: a worker while somebody listens, none otherwise.

Theory of operation: a cursor of its own reads the native units from the stream's ring, beginning
where the form's newest unit ends, so that neither the first listener nor a new worker after one
that died leaves a hole within what the ring holds: a worker is many times faster than the sound.
What it makes has the stamps of what it was given and goes into the stream as it comes. A worker
that dies, says nonsense, or makes nothing of what it is given is replaced, with back-off; when
there was no sound for `MISSING_S` viewers go on without it until there is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import MutableMapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from appliance.errors import PeerError
from appliance.hub.alternatives import Alternative
from appliance.hub.stream import Stream
from appliance.media.track import Codec
from appliance.media.unit import AccessUnit
from appliance.net.supervisor import Backoff
from appliance.net.worker_log import ErrorLog
from appliance.net.worker_process import WorkerFault, WorkerProcess
from appliance.redact import redact
from appliance.services.contract import Context
from appliance.wire.pipe.connection import Pipe, Role
from appliance.wire.pipe.messages import AUDIO_ID, Event, Fault, Health

if TYPE_CHECKING:
    from appliance.services.transcode.service import Transcode

TICK_S = 0.25
OPEN_S = 15.0  # until its first sound: a small board loads libav in some seconds
STALL_S = 3.0  # and from one to the next while there is something to make it of
MISSING_S = 8.0  # longer than it takes to replace a worker, on a fast machine
BEHIND_US = 1_000_000  # encoders hold back less
OVERLAP_US = 100_000  # what a new worker is given besides, for its encoder to begin with
MIN_STEP_US = 15_000  # frames last 20 ms and more: one nearer is that of the worker before
MAX_AHEAD_US = 1_000_000  # of what the worker was given
MAX_UNIT_BYTES = 8192  # AAC's largest frame, and more than Opus'

STALLED = "stalled"
GARBAGE = "garbage"
BUSY = "busy"


class Feed:
    """`run` is its task; cancelling it is its end."""

    def __init__(
        self, service: Transcode, context: Context, stream: Stream, alternative: Alternative
    ) -> None:
        self.stream = stream
        self.alternative = alternative
        self.name = f"{stream.name} {alternative.track.codec}"
        self.workers = 0  # so far
        self.is_working = False
        self._service = service
        self._context = context
        self._log = FeedLog(self.name)
        self._failed: asyncio.Future[None] | None = None
        self._pipe = Pipe(Role.APPLIANCE)
        self._sent_us = 0  # the newest stamp that the worker was given
        self._seen_units = 0
        self._silent_s = 0.0  # since the last sound, while there should be some
        self._stuck_s = 0.0  # the same of this worker

    def report(self) -> dict[str, Any]:
        alternative = self.alternative
        return {
            "stream": self.stream.name,
            "from": str(alternative.native.codec),
            "to": str(alternative.track.codec),
            "listeners": alternative.demand.viewers,
            "working": self.is_working,
            "missing": alternative.is_missing,
            "workers": self.workers,
            "units": alternative.stats.units,
        }

    async def run(self) -> None:
        """Until cancelled."""
        loop, backoff = asyncio.get_running_loop(), Backoff()
        while True:
            await self.alternative.demand.wait_wanted()
            began_s = loop.time()
            try:
                await self._work()
                self._silent_s = 0.0
            except WorkerFault as fault:
                text = f"{self.name}: {fault}"
                self._context.faults.count("transcode", fault.reason, text)
                await self._pause(backoff.next_s(loop.time() - began_s))

    async def _pause(self, seconds: float) -> None:
        while seconds > 0:
            await asyncio.sleep(min(seconds, TICK_S))
            seconds -= TICK_S
            self._tick()

    # -- one worker ----------------------------------------------------------------------------

    async def _work(self) -> None:
        """Until nobody has listened for a while. Raises: WorkerFault."""
        service = self._service
        if service.working >= service.settings.workers:
            raise WorkerFault(BUSY, "all workers that [transcode] allows are busy")
        service.working += 1
        self.is_working = True
        try:
            await self._run_worker()
        finally:
            self.is_working = False
            service.working -= 1

    async def _run_worker(self) -> None:
        settings, clock = self._service.settings, self.stream.clock
        self._pipe, self._stuck_s = Pipe(Role.APPLIANCE), STALL_S - OPEN_S
        self._failed = asyncio.get_running_loop().create_future()
        errors = ErrorLog(self._log)
        worker = await WorkerProcess.spawn(
            f"transcode:{self.alternative.track.codec}",
            self._options(),
            nice=settings.nice,
            on_output=self._receive,
            on_error_output=lambda data: errors.receive(data, clock.monotonic_us()),
        )
        self.workers += 1
        try:
            await self._attend(worker)
        finally:
            await worker.end(gently=False)
            errors.receive_eof(clock.monotonic_us())

    def _options(self) -> dict[str, str | int]:
        """What `appliance.capture.options` reads, for `transcode:`."""
        settings, track = self._service.settings, self.alternative.track
        config: Any = track.config
        bps = settings.aac_bps if track.codec is Codec.AAC else settings.opus_bps
        return {
            "stream": self.stream.name,
            "audio_rate_hz": config.sample_rate_hz,
            "audio_channels": config.channels,
            "audio_bitrate_bps": bps * config.channels,
        }

    async def _attend(self, worker: WorkerProcess) -> None:
        close_us = self._service.settings.close_us
        idle = asyncio.ensure_future(self.alternative.demand.wait_idle(close_us))
        ended = asyncio.ensure_future(worker.ended.wait())
        sending = asyncio.ensure_future(self._send(worker))
        assert self._failed is not None
        endings: set[asyncio.Future[Any]] = {idle, ended, sending, self._failed}
        try:
            while not idle.done():
                await asyncio.wait(endings, timeout=TICK_S, return_when=asyncio.FIRST_COMPLETED)
                for future in (self._failed, sending):
                    if future.done():
                        future.result()
                if ended.done():
                    raise await worker.describe_end()
                self._tick()
                if self._stuck_s >= STALL_S:
                    raise WorkerFault(STALLED, "the worker makes nothing of what it is given")
        finally:
            for future in endings:
                future.cancel()
            await asyncio.gather(*endings, return_exceptions=True)

    # -- to the worker -------------------------------------------------------------------------

    async def _send(self, worker: WorkerProcess) -> None:
        """Native units as they come. Returns never."""
        ring, native = self.stream.units, self.alternative.native
        track = replace(native, id=AUDIO_ID)
        self._pipe.send((track,))
        position = self._begin()
        while True:
            batch, position = ring.since(position), ring.next
            for unit in batch:
                if unit.track.id == native.id and unit.size_bytes:
                    await worker.writable.wait()
                    self._sent_us = max(self._sent_us, unit.dts_us)
                    self._pipe.send(replace(unit, track=track, pts_us=unit.dts_us))
                    worker.write(self._pipe.take_output())
            if position == ring.next:
                await ring.signal.wait()

    def _begin(self) -> int:
        """In the stream's ring: at the end of what there is of this form."""
        ring, newest_us = self.stream.units, self.alternative.newest_us
        position = max(ring.first, ring.fresh)
        if newest_us is None:
            return position
        for unit in ring.since(position):
            if unit.dts_us > newest_us - OVERLAP_US:
                break
            position += 1
        return position

    # -- from the worker -----------------------------------------------------------------------

    def _receive(self, data: bytes) -> None:
        """The outermost frame of what a worker can cause."""
        if self._failed is None or self._failed.done():
            return
        try:
            for event in self._pipe.receive(data):
                self._handle(event)
        except PeerError as error:
            self._failed.set_exception(WorkerFault(GARBAGE, f"the worker sent nonsense: {error}"))
        except Exception as error:
            self._failed.set_exception(error)

    def _handle(self, event: Event) -> None:
        match event:
            case AccessUnit():
                self._publish(event)
            case tuple():
                if [track.config for track in event] != [self.alternative.track.config]:
                    raise PeerError("it makes another sound than was asked for")
            case Fault():
                raise WorkerFault(event.reason.value, redact(event.text))
            case Health():
                pass
            case _:
                raise PeerError(f"{type(event).__name__} from a worker without a camera")

    def _publish(self, unit: AccessUnit) -> None:
        newest_us = self.alternative.newest_us
        if unit.size_bytes > MAX_UNIT_BYTES:
            raise PeerError(f"a frame of sound of {unit.size_bytes} bytes")
        if unit.dts_us > self._sent_us + MAX_AHEAD_US:
            raise PeerError("sound from the future")
        if newest_us is not None and unit.dts_us < newest_us + MIN_STEP_US:
            return
        unit.track, unit.pts_us, unit.key = self.alternative.track, unit.dts_us, True
        self.stream.append_alternative(self.alternative, unit)

    # -- whether there is sound ----------------------------------------------------------------

    def _tick(self) -> None:
        """Called every TICK_S while there is demand: counted so, time in which we ourselves stood
        still is nobody's fault."""
        alternative = self.alternative
        units, self._seen_units = self._seen_units, alternative.stats.units
        if units != self._seen_units:
            self._silent_s = self._stuck_s = 0.0
            self.stream.tell_missing(alternative, is_missing=False)
        elif self._is_behind():
            self._silent_s += TICK_S
            self._stuck_s += TICK_S
            if self._silent_s >= MISSING_S:
                self.stream.tell_missing(alternative, is_missing=True)

    def _is_behind(self) -> bool:
        native, newest_us = self.alternative.native, self.alternative.newest_us or 0
        for unit in reversed(self.stream.units.items):
            if unit.track.id == native.id:
                return unit.dts_us > newest_us + BEHIND_US
        return False


class FeedLog(logging.LoggerAdapter[logging.Logger]):
    """Puts ``live/cam aac`` in front of every line."""

    def __init__(self, name: str) -> None:
        super().__init__(logging.getLogger(__name__))
        self._name = name

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[str, MutableMapping[str, Any]]:
        return f"{self._name} {msg}", kwargs
