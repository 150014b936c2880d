"""Keeps one stream fed: worker after worker, with back-off, and only while wanted if so set."""

from __future__ import annotations

import asyncio
import logging

from appliance.hub.sessions import Session
from appliance.hub.stream import Stream
from appliance.net.supervisor import Backoff
from appliance.services.camera.faults import WorkerFault
from appliance.services.camera.session import Patience, WorkerSession
from appliance.services.contract import Context, StreamSettings

RETELL_US = 10 * 60_000_000  # a source that stays away is told again, for who reads the log late


class Feed:
    """`run` until cancelled. The stream and its viewers stay while workers come and go."""

    def __init__(
        self,
        context: Context,
        settings: StreamSettings,
        patience: Patience,
        predecessor: asyncio.Task[None] | None = None,
    ) -> None:
        """predecessor: the feed this one replaces, whose worker may still hold the camera."""
        self._predecessor = predecessor
        self.settings = settings
        self.stream: Stream = context.hub.declare(settings.name)
        self._context = context
        self._patience = patience
        self._backoff = Backoff()
        self._told = ""  # the fault that was told last and has not healed
        self._told_us = 0
        self._untold = 0  # the same one since, attempt after attempt

    async def run(self) -> None:
        if self._predecessor is not None:
            await asyncio.wait({self._predecessor})
            self._predecessor = None
        while True:
            await self._wait_turn()
            delay_s = await self._run_worker()
            await asyncio.sleep(delay_s)

    async def _wait_turn(self) -> None:
        """Returns when a worker is wanted and nobody else publishes under this name."""
        while True:
            if self.settings.on_demand:
                await self.stream.demand.wait_wanted()
            if self.stream.publisher is None:
                return
            await self.stream.changed.wait()

    async def _run_worker(self) -> float:
        """One worker to its end; how many seconds to wait before the next."""
        sessions = self._context.sessions
        session = sessions.open("camera", "camera-publish", "127.0.0.1", ours=True)
        session.stream, session.is_publisher = self.stream.name, True
        worker = WorkerSession(self._context, self.stream, self.settings, session, self._patience)
        level = logging.DEBUG if self._told else logging.INFO  # repeated attempts are not news
        session.log.log(level, "worker starts for %s:", self.settings.source.partition(":")[0])
        try:
            await self._run_while_wanted(worker, session)
        except WorkerFault as fault:
            return self._after_fault(worker, session, fault)
        finally:
            seconds = (self.stream.clock.monotonic_us() - session.since_us) / 1_000_000
            session.log.log(
                logging.INFO if worker.units else level,
                "worker ended after %.1f s: %d units, %d bytes",
                seconds,
                worker.units,
                session.received.total_bytes,
            )
            sessions.close(session)
        return 0.0

    async def _run_while_wanted(self, worker: WorkerSession, session: Session) -> None:
        if not self.settings.on_demand:
            await worker.run()
            return
        running = asyncio.create_task(worker.run())
        idle = asyncio.create_task(self.stream.demand.wait_idle(self.settings.on_demand_close_us))
        try:
            await asyncio.wait({running, idle}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
            session.log.info("nobody watches any more")
        finally:
            idle.cancel()
            await end_task(running)

    def _after_fault(self, worker: WorkerSession, session: Session, fault: WorkerFault) -> float:
        now_us = self.stream.clock.monotonic_us()
        ran_us = 0 if worker.first_unit_us is None else now_us - worker.first_unit_us
        delay_s = self._backoff.next_s(ran_us / 1_000_000)
        self._context.counters.add(
            "camera_restarts_total", stream=self.stream.name, reason=fault.reason
        )
        if worker.first_unit_us is not None:
            self._told = ""
        level, detail = self._tell(str(fault)[:200], now_us)
        # Told here and not by `faults`, which tells one of a kind a second: each camera counts.
        self._context.faults.counts["camera", fault.reason] += 1
        session.log.log(level, "%s: %s; trying again in %.1f s", fault.reason, detail, delay_s)
        return delay_s

    def _tell(self, text: str, now_us: int) -> tuple[int, str]:
        """The level and the words for a fault; attempts that fail the same way are not news."""
        if text != self._told:
            self._told, self._told_us, self._untold = text, now_us, 0
            return logging.WARNING, text
        self._untold += 1
        if now_us - self._told_us < RETELL_US:
            return logging.DEBUG, text
        text += f" (still, after {self._untold} more attempts)"
        self._told_us, self._untold = now_us, 0
        return logging.WARNING, text


async def end_task(task: asyncio.Task[None]) -> None:
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
