"""One worker's life as its streams see it: its units published, its media watched, its end told.

Theory of operation: everything the worker writes is handled in the callback of its pipe, so
nothing piles up. The session wakes some times a second to ask the ladders what is due; a ladder's
last step ends the session, as do the worker's death, a fault it tells, more than any camera
delivers, or a byte on the pipe that has no place there. Whatever ends it, the worker is dead and
the leases given back when `run` returns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from appliance.errors import PeerError, StreamError
from appliance.hub.sessions import Session
from appliance.media.unit import AccessUnit
from appliance.net.worker_log import ErrorLog
from appliance.net.worker_process import WorkerFault, WorkerProcess
from appliance.redact import redact
from appliance.services.camera.allowance import Allowance
from appliance.services.camera.asks import Asks
from appliance.services.camera.faults import (
    FLOOD,
    GARBAGE,
    KICKED,
    STALLED,
    TAKEN_OVER,
)
from appliance.services.camera.ladder import Step
from appliance.services.camera.led import Led
from appliance.services.camera.output import Output, main_tracks, sub_tracks
from appliance.services.camera.player import SlatePlayer
from appliance.services.camera.recovery import Recovery
from appliance.services.camera.settings import Settings
from appliance.services.contract import Context, StreamSettings
from appliance.wire.pipe.connection import Pipe, Role
from appliance.wire.pipe.messages import (
    SUB_VIDEO_ID,
    VIDEO_ID,
    Answer,
    Change,
    Command,
    Event,
    Fault,
    Health,
    Picture,
    Recover,
    RequestKeyframe,
    Rung,
    State,
    Tracks,
)

# Then it was this process that stood still (stopped, swapped out): that is no stall of a worker.
MAX_LATE_US = 500_000
MIN_WAKE_US, MAX_WAKE_US = 5_000, 500_000

PASSING_SCHEMES = frozenset({"file", "av"})  # what they read they mostly pass on as it is
COMMANDS: Mapping[Step, Command] = {
    Step.KEYFRAME: RequestKeyframe(),
    Step.ENCODER: Recover(Rung.ENCODER),
    Step.CAMERA: Recover(Rung.CAMERA),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What one worker is to do. options: as `appliance.capture.options` reads them.

    sub: the second stream, if there is one; players: each stream's slate, by its name.
    """

    settings: StreamSettings
    options: Mapping[str, Any]
    camera: Settings
    sub: StreamSettings | None
    players: Mapping[str, SlatePlayer]


class WorkerSession:
    """`run` once. state: the worker's newest word on itself."""

    def __init__(
        self,
        context: Context,
        plan: Plan,
        session: Session,
        recovery: Recovery,
        *,
        led: Led | None = None,
    ) -> None:
        self._context = context
        self._plan = plan
        self._session = session
        self._recovery = recovery
        self._led = led
        self._clock = context.hub.clock
        self._pipe = Pipe(Role.APPLIANCE)
        self._errors = ErrorLog(session.log)
        self._worker: WorkerProcess | None = None
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._dropped_frames = 0
        self._began_us = self._clock.monotonic_us()
        self._allowance = Allowance(self._clock)
        self._wants_sub = False
        self._tracks: Tracks = ()
        self.asks = Asks(self.send)
        self.state: dict[str, Any] = {}
        self.main = self._output(plan.settings, "")
        self.sub = self._output(plan.sub, f"{plan.sub.name} ") if plan.sub is not None else None

    def _output(self, settings: StreamSettings, label: str) -> Output:
        return Output(
            self._context.hub,
            self._context.hub.declare(settings.name),
            self._session,
            self._plan.camera.bounds,
            on_keyframe_request=self._request_keyframe,
            on_news=lambda news: self._recovery.tell_back(label + news, self._session.log),
            on_live=lambda gap_us: self._recovery.tell_live(gap_us, self._session.log),
            slate=self._plan.players.get(settings.name),
            label=label,
        )

    @property
    def first_unit_us(self) -> int | None:
        """Since when there is media."""
        return self.main.first_unit_us

    @property
    def units(self) -> int:
        return self.main.units

    async def run(self) -> None:
        """Until cancelled (the worker gets a SIGTERM) or a fault (it gets a SIGKILL).

        Raises: WorkerFault, always, unless cancelled.
        """
        self._began_us = self._clock.monotonic_us()
        self._session.kick = self._kick
        self._worker = worker = await self._spawn()
        gently = True
        try:
            worker.write(self._pipe.take_output())
            if self._wants_sub:
                self._tell_sub()
            await self._watch(worker)
        except WorkerFault:
            gently = False
            raise
        finally:
            self._close()
            await worker.end(gently=gently)
            self._errors.receive_eof(self._clock.monotonic_us())

    async def _spawn(self) -> WorkerProcess:
        """The light burns before there is a worker, and until there is none."""
        release = None if self._led is None else self._led.hold()
        try:
            return await WorkerProcess.spawn(
                self._plan.settings.source,
                self._plan.options,
                nice=self._plan.camera.nice,
                on_output=self._receive,
                on_error_output=self._receive_error_output,
                on_exit=release,
            )
        except BaseException:  # it is dead, should it have lived
            if release is not None:
                release()
            raise

    async def _watch(self, worker: WorkerProcess) -> None:
        ended = asyncio.ensure_future(worker.ended.wait())
        endings: set[asyncio.Future[Any]] = {ended, self._failed}
        try:
            while True:
                now_us = self._clock.monotonic_us()
                self._climb(now_us)
                wake_us = self._wake_us(now_us)
                await asyncio.wait(
                    endings, timeout=wake_us / 1_000_000, return_when=asyncio.FIRST_COMPLETED
                )
                late_us = self._clock.monotonic_us() - now_us - wake_us
                if late_us > MAX_LATE_US:
                    self._forgive(late_us)
                if self._failed.done():
                    self._failed.result()
                if ended.done():
                    raise await worker.describe_end()
        finally:
            ended.cancel()

    def _close(self) -> None:
        self.main.close()
        if self.sub is not None:
            self.sub.close()
        self.asks.close()
        if not self._failed.cancel() and not self._failed.cancelled():
            self._failed.exception()  # looked at, whichever of two ends came first

    # -- the ladders ---------------------------------------------------------------------------

    def _climb(self, now_us: int) -> None:
        """Everything that is due. Raises: WorkerFault, the last step."""
        if self.main.ladder is None:
            open_us = self._plan.camera.open_us
            if now_us - self._began_us >= open_us:
                raise WorkerFault(STALLED, f"no picture or sound within {open_us // 1_000_000} s")
            return
        if self.first_unit_us is not None:
            self._recovery.see_media(now_us - self.first_unit_us)
        for output in (self.main, self.sub):
            if output is None or output.ladder is None:
                continue
            while (due := output.ladder.next(now_us)) is not None:
                self._take(*due, output)
            if output.ladder.is_climbing:
                return  # the second stream cannot be better than the first

    def _wake_us(self, now_us: int) -> int:
        """Until something may be due: a picture's step on time, a keyframe's soon."""
        due_us = self._began_us + self._plan.camera.open_us
        if self.main.ladder is not None:
            due_us = self.main.ladder.deadline_us()
        return min(max(due_us - now_us, MIN_WAKE_US), MAX_WAKE_US)

    def _take(self, step: Step, why: str, output: Output) -> None:
        stream = "" if output is self.main else output.stream.name
        if step is Step.KILL:
            why = f"{stream}: {why}" if stream else why
            self._recovery.count(step, why)
            raise WorkerFault(STALLED, why)
        self._recovery.take(step, why, self._session.log, stream=stream)
        self.send(COMMANDS[step])

    def _forgive(self, late_us: int) -> None:
        self._began_us += late_us
        for output in (self.main, self.sub):
            if output is not None and output.ladder is not None:
                output.ladder.forgive(late_us)

    def _key_interval_us(self) -> int | None:
        """How far apart our encoder makes keyframes; None if nothing here encodes."""
        encoder = self.state.get("encoder")
        scheme = self._plan.settings.source.partition(":")[0]
        if encoder == "camera" or (not encoder and scheme in PASSING_SCHEMES):
            return None
        told_us = self.state.get("keyframe_us")
        if type(told_us) is int and 0 < told_us <= 60_000_000:
            return told_us
        return int(self._plan.options.get("keyframe_us", self._plan.settings.video.keyframe_us))

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
        if not self.asks.expects(event) and not self._allowance.take(event):
            raise WorkerFault(FLOOD, self._allowance.describe())
        match event:
            case AccessUnit():
                self._write(event)
            case tuple():
                self._describe(event)
            case Health():
                self._count_dropped(event)
            case State():
                self.state = event.document
                self._tell_intervals()
            case Answer():
                self.asks.answer(event)
            case Picture():
                self.asks.deliver(event)
            case Fault():
                raise_fault(event)

    def _describe(self, tracks: Tracks) -> None:
        mine = main_tracks(tracks, SUB_VIDEO_ID)
        if not mine:
            raise PeerError("a second stream without the first")
        self._tracks = tracks
        self.main.describe(mine)
        if self.sub is not None:
            self._describe_sub(self.sub)
        self._tell_intervals()

    def _describe_sub(self, sub: Output) -> None:
        """The second stream as the worker told its tracks last, if it makes one for somebody."""
        seconds = sub_tracks(self._tracks, SUB_VIDEO_ID, VIDEO_ID)
        if seconds and self._wants_sub:
            sub.describe(seconds)
        else:
            sub.forget()

    def _tell_intervals(self) -> None:
        self.main.key_interval_us = self._key_interval_us()
        if self.sub is not None and self._plan.sub is not None:
            self.sub.key_interval_us = self._plan.sub.video.keyframe_us

    def _write(self, unit: AccessUnit) -> None:
        if unit.track.id == SUB_VIDEO_ID:
            if self.sub is not None and self.sub.is_described:
                self._write_sub(self.sub, unit, VIDEO_ID)
            return
        if self.sub is not None and self.sub.is_described and unit.track.id != VIDEO_ID:
            twin = AccessUnit(unit.track, unit.dts_us, unit.pts_us, unit.key, unit.parts)
            self._write_sub(self.sub, twin, unit.track.id)
        self.main.write(unit, unit.track.id)

    def _write_sub(self, sub: Output, unit: AccessUnit, track_id: int) -> None:
        try:
            sub.write(unit, track_id)
        except StreamError as error:  # somebody else publishes under its name: the first goes on
            self._context.faults.count("camera", TAKEN_OVER, str(error), log=self._session.log)
            sub.pause()

    def _count_dropped(self, health: Health) -> None:
        new = health.dropped_frames - self._dropped_frames
        if new > 0:
            self._dropped_frames = health.dropped_frames
            self._context.counters.add(
                "camera_dropped_frames_total", new, stream=self._plan.settings.name
            )

    # -- to the worker -------------------------------------------------------------------------

    def send(self, command: Command) -> None:
        """Now, if there is a worker; one that reads nothing is at fault."""
        if self._worker is None or self._failed.done():
            return
        self._pipe.send(command)
        try:
            self._worker.write(self._pipe.take_output())
        except WorkerFault as fault:
            self._fail(fault)

    def want_sub(self, wanted: bool) -> None:
        """Whether anybody wants the second stream, from now on."""
        if wanted is self._wants_sub:
            return
        self._wants_sub = wanted
        if self._worker is not None:
            self._tell_sub()

    def _tell_sub(self) -> None:
        if self.sub is None:
            return
        self.send(Change(self.asks.next_serial(), {"sub": self._wants_sub}))
        self._describe_sub(self.sub)

    def _request_keyframe(self) -> None:
        self.send(RequestKeyframe())


def raise_fault(fault: Fault) -> None:
    """What the worker says of itself, as the error that ends the session.

    Viewers are shown it: it must not hold what opens the source.
    """
    raise WorkerFault(fault.reason.value, redact(fault.text))
