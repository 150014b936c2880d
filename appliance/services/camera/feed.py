"""Keeps one camera's streams fed: worker after worker, with back-off, and only while wanted.

Theory of operation: a worker runs while the camera is switched on, within its hours, wanted by
somebody (or always), and nobody else publishes under its name. It ends at once when the camera is
switched off or its hours end, some time after the last viewer left, or by a fault, after which
the next one waits. Beside the workers there are one player of slates for each stream, and a clock
that looks at the hours.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from appliance.errors import ApplianceError
from appliance.hub.hours import is_hour, parse_hours
from appliance.hub.sessions import Session
from appliance.hub.signal import Signal
from appliance.hub.stream import Stream
from appliance.hub.telling import Telling
from appliance.net.supervisor import Backoff
from appliance.net.worker_process import WorkerFault
from appliance.services.camera.knobs import Knobs, worker_options
from appliance.services.camera.led import Led
from appliance.services.camera.player import Absence, SlatePlayer
from appliance.services.camera.recovery import Recovery
from appliance.services.camera.session import Plan, WorkerSession
from appliance.services.camera.settings import Settings
from appliance.services.camera.slate import SlatePress
from appliance.services.camera.switches import Switches
from appliance.services.contract import Context, StreamSettings

log = logging.getLogger(__name__)

CLOCK_S = 15.0  # how often the hours are looked at
MIN_BACKOFF_S, MAX_BACKOFF_S = 1.0, 30.0
UNSET_BEFORE_US = 1_704_067_200_000_000  # 2024: a clock that says less has not been set yet
MAX_MIND_S = 1.0


class Feed:
    """`run` until cancelled. The streams and their viewers stay while workers come and go.

    session: the worker's, while there is one.
    """

    def __init__(
        self,
        context: Context,
        settings: StreamSettings,
        sub: StreamSettings | None,
        camera: Settings,
        press: SlatePress,
        switches: Switches,
        led: Led | None = None,
        predecessor: asyncio.Task[None] | None = None,
    ) -> None:
        """led: shared by all feeds that name it. predecessor: the feed this one replaces, whose
        worker may still hold the camera.
        """
        self.settings = settings
        self.sub = sub
        self.stream: Stream = context.hub.declare(settings.name)
        self.sub_stream = None if sub is None else context.hub.declare(sub.name)
        self.knobs = Knobs(settings)
        self.session: WorkerSession | None = None
        self._fault: str | None = None
        self.last_fault: str | None = None  # though it may have healed
        self.last_state: dict[str, Any] = {}
        self.changed = Signal()  # switched on or off, hours began or ended, a worker came or went
        self.is_open = True  # within its hours
        self.recovery = Recovery(
            settings.name, context.hub.clock, context.counters, context.watchdog, camera.rounds
        )
        self._predecessor = predecessor
        self._context = context
        self._camera = camera
        self._switches = switches
        self._clock = context.hub.clock
        self._hours = [parse_hours(text) for text in settings.hours]
        self._preset_hours = {
            preset.name: [parse_hours(text) for text in preset.hours] for preset in settings.preset
        }
        self._timed_preset = ""  # the one whose hours these are
        self._led = led
        self._players = self._make_players(press)
        self._sub_wanted = False
        self._backoff = Backoff(MIN_BACKOFF_S, MAX_BACKOFF_S)
        self._telling = Telling()

    def _make_players(self, press: SlatePress) -> dict[str, SlatePlayer]:
        players = {}
        for settings in filter(None, (self.settings, self.sub)):
            if settings.slate:
                is_sub = settings is self.sub
                players[settings.name] = SlatePlayer(
                    self._context.hub,
                    settings,
                    press,
                    self._sub_absence if is_sub else self._absence,
                )
        return players

    # -- what the camera's owner sees and does ---------------------------------------------------

    @property
    def enabled(self) -> bool:
        return self._switches.is_on(self.settings.name)

    @property
    def is_on(self) -> bool:
        """Whether its sensor may run at all."""
        return self.enabled and self.is_open

    @property
    def fault(self) -> str | None:
        """Why there is no media, as far as that is known; None once there is again."""
        if self.session is not None and self.session.first_unit_us is not None:
            self._fault = None
        return self._fault

    def switch(self, on: bool) -> None:
        if on is self.enabled:
            return
        self._switches.set(self.settings.name, on)
        log.info("%s: the camera is switched %s", self.settings.name, "on" if on else "off")
        self._backoff.failures = 0
        self._wake()

    async def wait_off(self) -> None:
        """Returns when no worker holds the sensor."""
        while self.session is not None:
            await self.changed.wait()

    async def wait_news(self) -> None:
        """Returns when a worker came or went, or the stream's media did."""
        await self._wait_any(None, self.stream)

    def _wake(self) -> None:
        self.changed.fire()
        for player in self._players.values():
            player.wake()

    def _absence(self) -> Absence:
        if not self.is_on:
            return Absence("camera off", at_once=True)
        if self.fault is not None:
            return Absence(f"camera lost, retrying: {self.fault.partition(' (')[0]}")
        return Absence("camera lost, retrying" if self.stream.has_run else "camera starting")

    def _sub_absence(self) -> Absence:
        absence = self._absence()
        return absence if self._sub_wanted or absence.at_once else Absence()

    # -- the loop --------------------------------------------------------------------------------

    async def run(self) -> None:
        if self._predecessor is not None:
            await asyncio.wait({self._predecessor})
            self._predecessor = None
        if self._led is not None:
            self._led.reset()
        self._look_at_clock()
        beside = [asyncio.create_task(player.run()) for player in self._players.values()]
        beside.append(asyncio.create_task(self._keep_hours()))
        try:
            while True:
                await self._wait_turn()
                delay_s = await self._run_worker()
                await self._wait_any(delay_s)
        finally:
            for task in beside:
                await end_task(task)

    async def _wait_turn(self) -> None:
        """Returns when a worker is wanted and nobody else publishes under this name."""
        while not (self.is_on and self._is_wanted() and not self.stream.is_live):
            await self._wait_any(None, self.stream, self.sub_stream)

    async def _wait_any(self, timeout_s: float | None, *streams: Stream | None) -> None:
        """Until the camera is switched, its hours begin or end, or something about the streams."""
        waits = [asyncio.ensure_future(self.changed.wait())]
        for stream in filter(None, streams):
            waits.append(asyncio.ensure_future(stream.changed.wait()))
            waits.append(asyncio.ensure_future(stream.demand.wait_changed()))
        try:
            await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _is_wanted(self, *, running: bool = False) -> bool:
        """running: for a while after the last viewer left it still is."""
        return _is_wanted(self.settings, self.stream, running=running) or (
            self.sub is not None
            and self.sub_stream is not None
            and _is_wanted(self.sub, self.sub_stream, running=running)
        )

    async def _run_worker(self) -> float:
        """One worker to its end; how many seconds to wait before the next."""
        sessions = self._context.sessions
        session = sessions.open("camera", "camera-publish", "127.0.0.1", ours=True)
        session.stream, session.is_publisher = self.stream.name, True
        self.session = worker = WorkerSession(
            self._context, self._plan(), session, self.recovery, led=self._led
        )
        level = (
            logging.DEBUG if self._telling.is_failing else logging.INFO
        )  # repeated attempts are not news
        session.log.log(level, "worker starts for %s:", self.settings.source.partition(":")[0])
        self.changed.fire()
        try:
            await self._run_while_wanted(worker, session)
        except WorkerFault as fault:
            return self._after_fault(worker, session, fault)
        finally:
            self.session = None
            self.last_state = worker.state or self.last_state
            self._wake()
            seconds = (self._clock.monotonic_us() - session.since_us) / 1_000_000
            session.log.log(
                logging.INFO if worker.units else level,
                "worker ended after %.1f s: %d units, %d bytes",
                seconds,
                worker.units,
                session.received.total_bytes,
            )
            sessions.close(session)
        self._fault = None
        self.recovery.hope()
        return 0.0

    def _plan(self) -> Plan:
        options = worker_options(
            self.settings, self._context.device_name, self.knobs.values(), self.sub
        )
        return Plan(self.settings, options, self._camera, self.sub, self._players)

    async def _run_while_wanted(self, worker: WorkerSession, session: Session) -> None:
        running = asyncio.create_task(worker.run())
        minding = asyncio.create_task(self._mind(worker))
        try:
            await asyncio.wait({running, minding}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
            session.log.info("%s", minding.result())
        finally:
            minding.cancel()
            await end_task(running)

    async def _mind(self, worker: WorkerSession) -> str:
        """Returns when the worker is not wanted any more, with the reason."""
        while True:
            if not self.is_on:
                return "the camera is off" if not self.enabled else "its hours are over"
            if not self._is_wanted(running=True):
                return "nobody watches any more"
            if self.sub is not None and self.sub_stream is not None:
                is_wanted = _is_wanted(self.sub, self.sub_stream, running=self._sub_wanted)
                self._sub_wanted = is_wanted
                worker.want_sub(is_wanted)
            await self._wait_any(self._next_look_s(), self.stream, self.sub_stream)

    def _next_look_s(self) -> float:
        """Soon enough to end when nobody has watched for long enough."""
        closes_us = [
            settings.on_demand_close_us
            for settings in filter(None, (self.settings, self.sub))
            if settings.on_demand
        ]
        return min(MAX_MIND_S, max(0.05, min(closes_us, default=1_000_000) / 4_000_000))

    # -- faults ----------------------------------------------------------------------------------

    def _after_fault(self, worker: WorkerSession, session: Session, fault: WorkerFault) -> float:
        now_us = self._clock.monotonic_us()
        ran_us = 0 if worker.first_unit_us is None else now_us - worker.first_unit_us
        delay_s = self._backoff.next_s(ran_us / 1_000_000)
        self._context.counters.add(
            "camera_restarts_total", stream=self.stream.name, reason=fault.reason
        )
        if worker.first_unit_us is not None:
            self._telling.heal()
        self._fault = self.last_fault = str(fault)[:200]
        level, detail = self._telling.tell(self._fault, now_us)
        # Told here and not by `faults`, which tells one of a kind a second: each camera counts.
        self._context.faults.counts["camera", fault.reason] += 1
        session.log.log(level, "%s: %s; trying again in %.1f s", fault.reason, detail, delay_s)
        self.recovery.end_worker(fault.reason, ran_us, session.log)
        return delay_s

    # -- hours -----------------------------------------------------------------------------------

    async def _keep_hours(self) -> None:
        while True:
            before, preset = self.is_open, self._timed_preset
            values = self.knobs.values()
            self._look_at_clock()
            if self.is_open is not before:
                state = "begin" if self.is_open else "are over"
                log.info("%s: the camera's hours %s", self.settings.name, state)
                self._wake()
            if self._timed_preset != preset:
                name = self._timed_preset or "none"
                log.info("%s: the preset is now %s", self.settings.name, name)
                await self.tell_worker(values)
            await asyncio.sleep(CLOCK_S)

    def _look_at_clock(self) -> None:
        """What the hours say now; a clock that has not been set yet says nothing."""
        unix_us = self._clock.unix_us()
        if unix_us < UNSET_BEFORE_US:
            self.is_open = True
            return
        now = time.localtime(unix_us // 1_000_000)
        minute, day = now.tm_hour * 60 + now.tm_min, now.tm_wday
        self.is_open = not self._hours or is_hour(self._hours, minute, day)
        presets = (n for n, hours in self._preset_hours.items() if is_hour(hours, minute, day))
        preset = next(presets, "")
        if preset != self._timed_preset:
            self._timed_preset = preset
            self.knobs.switch(preset)

    async def tell_worker(self, before: Mapping[str, Any]) -> None:
        """What is different from `before`; a fault is the log's, the next worker gets it anyway."""
        worker = self.session
        values = self.knobs.step(before, self.controls)
        if worker is None or not values:
            return
        try:
            await worker.asks.change(values)
        except (ApplianceError, TimeoutError) as error:
            log.warning("%s: not taken over: %s", self.settings.name, str(error) or "no answer")

    @property
    def state(self) -> dict[str, Any]:
        """The newest word of the camera on itself, be it of a worker that is gone."""
        return (self.session.state if self.session is not None else {}) or self.last_state

    @property
    def controls(self) -> Mapping[str, Any]:
        """Those of the device by its names, as it told them last; empty if it did not."""
        told = self.state.get("controls")
        return told if isinstance(told, Mapping) else {}


def _is_wanted(settings: StreamSettings, stream: Stream, *, running: bool) -> bool:
    if not settings.on_demand or stream.demand.viewers:
        return True
    return running and not stream.demand.is_idle_for(settings.on_demand_close_us)


async def end_task(task: asyncio.Task[Any]) -> None:
    """Cancel it and see it through, even when we are cancelled meanwhile: it owns a process."""
    task.cancel()
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if not task.cancelled():
        task.exception()  # whatever it was, nobody waits for this worker any more
    if cancelled is not None:
        raise cancelled
