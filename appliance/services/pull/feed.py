"""Keeps one stream fed from one of several servers, with back-off, and only while wanted.

Theory of operation: an attempt is one connection. When it ends, the next server of the list has its
turn, at once, until as many have failed in a row as there are; only then is waited. A server that
was well for some time starts that count anew, so its viewers go on from the next one without delay.

A server that has brought no media after a second is not given up, but the next one is asked beside
it; who brings media first goes on alone. So one that swallows everything costs viewers a second.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

from appliance.hub.stream import Stream
from appliance.hub.telling import Telling
from appliance.net.supervisor import Backoff
from appliance.services.contract import Context
from appliance.services.pull.connection import Connection, Plan
from appliance.services.pull.faults import LOGIN, PullFault
from appliance.services.pull.refusal import Patience
from appliance.services.pull.remote import Address, HttpAddress, scrub, shown
from appliance.wire.rtmp.address import RtmpAddress
from appliance.wire.rtsp.target import RtspAddress

MIN_BACKOFF_S, MAX_BACKOFF_S = 0.5, 30.0
HEALTHY_S = 10.0
MAX_ERROR_CHARS = 200
RACE_S = 1.0


class PullFeed:
    """`run` until cancelled. The stream and its viewers stay while connections come and go.

    plan: may be replaced; holds for connections from then on.
    rounds: how often in a row all servers have failed. last_error: fit for anybody's eyes.
    """

    def __init__(
        self, context: Context, stream: Stream, plan: Plan, *, first: int = 0, quiet: bool = False
    ) -> None:
        """first: the server of the list to begin with. quiet: tell no faults before there was
        media, for the stream's name is a stranger's."""
        self.stream = stream
        self.plan = plan
        self.last_error = ""
        self.rounds = 0
        self._context = context
        self._clock = context.hub.clock
        self._turn = first  # the one that is asked next
        # Those of one attempt: no more than there are servers.
        self._connections: dict[Connection, asyncio.Task[Any] | None] = {}
        self._is_quiet = quiet
        self._failures = 0  # in a row
        self._backoff = Backoff(MIN_BACKOFF_S, MAX_BACKOFF_S, HEALTHY_S)
        self._patience = Patience()
        self._hurry = asyncio.Event()
        self._due_us: int | None = None  # while waiting: when it is tried again
        self._telling = Telling()

    async def run(self) -> None:
        while True:
            await self._wait_turn()
            self._hurry.clear()
            await self._pause(await self.attempt() or 0.0)

    def retry(self) -> None:
        """Somebody may have mended what was wrong: it is tried at once."""
        self._hurry.set()

    async def _pause(self, seconds: float) -> None:
        self._due_us = self._clock.monotonic_us() + int(seconds * 1_000_000)
        try:
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        except TimeoutError:
            return
        finally:
            self._due_us = None

    async def _wait_turn(self) -> None:
        """Returns when it is wanted and nobody else publishes under this name."""
        while True:
            if self.stream.is_live:
                await self.stream.changed.wait()
            elif self.plan.close_us is not None and not self.stream.demand.viewers:
                await self.stream.demand.wait_wanted()
            else:
                return

    async def attempt(self) -> float | None:
        """Until a connection that brought media has ended, or all that were tried have.

        Returns how many seconds to wait before the next attempt, None if nobody watches any more.
        """
        runs = [self._ask_next()]
        try:
            while unfinished := [run for run in runs if not run.done()]:
                may_race = len(runs) < len(self.plan.addresses) and not self._has_media
                done, _ = await asyncio.wait(
                    unfinished,
                    timeout=RACE_S if may_race else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if not done and not self._has_media:
                    runs.append(self._ask_next())
        finally:
            for run in runs:
                run.cancel()
            await asyncio.gather(*runs, return_exceptions=True)
        delays_s = [run.result() for run in runs if not run.cancelled()]
        return None if None in delays_s else max(filter(None, delays_s), default=0.0)

    @property
    def _has_media(self) -> bool:
        return any(one.first_unit_us is not None for one in self._connections)

    def _ask_next(self) -> asyncio.Task[float | None]:
        address = self._next_address
        self._turn += 1
        return asyncio.create_task(self._ask(address))

    @property
    def _next_address(self) -> Address:
        return self.plan.addresses[self._turn % len(self.plan.addresses)]

    async def _ask(self, address: Address) -> float | None:
        """One connection to its end; returns what `attempt` does."""
        sessions = self._context.sessions
        kind = kind_of(address)
        session = sessions.open("pull", kind, host_of(address), ours=True)
        session.stream, session.is_publisher = self.stream.name, True
        session.url = shown(address)
        session.log.debug("asks %s", session.url)
        connection = Connection(
            self._context, self.stream, self.plan, address, session, self._settle
        )
        self._connections[connection] = asyncio.current_task()
        try:
            await connection.run_while_wanted()
        except PullFault as fault:
            return self._after_fault(connection, fault.scrubbed(partial(scrub, address)))
        finally:
            del self._connections[connection]
            seconds = (self._clock.monotonic_us() - session.since_us) / 1_000_000
            size_bytes = session.received.total_bytes
            if connection.first_unit_us is not None:
                session.log.info("ended after %.1f s, %d bytes", seconds, size_bytes)
            sessions.close(session)
        session.log.info("nobody watches any more")
        return None

    def _settle(self, winner: Connection) -> None:
        """It brings media, so the others are not needed."""
        for connection, run in self._connections.items():
            if connection is not winner and run is not None:
                run.cancel()

    def _after_fault(self, connection: Connection, fault: PullFault) -> float:
        now_us = self._clock.monotonic_us()
        began_us = connection.first_unit_us
        ran_s = 0.0 if began_us is None else (now_us - began_us) / 1_000_000
        if began_us is not None:
            self._telling.heal()
            self._patience.let_in()
        if ran_s >= HEALTHY_S:
            self._failures = self.rounds = 0
        self._failures += 1
        delay_s = 0.0
        if self._failures % len(self.plan.addresses) == 0:
            self.rounds += 1
            delay_s = self._backoff.next_s(ran_s)
            if fault.reason == LOGIN:
                delay_s = self._patience.next_s()
        self.last_error = f"{fault.reason}: {fault}"[:MAX_ERROR_CHARS]
        level, text = self._telling.tell(self.last_error, now_us)
        if self._is_quiet and not self.stream.has_run:
            level = logging.DEBUG
        # Told here and not by `faults`, which tells one of a kind a second: each stream counts.
        self._context.faults.counts["pull", fault.reason] += 1
        again = f"trying again in {_seconds(delay_s)} s" if delay_s else "on to the next"
        connection.session.log.log(level, "%s; %s", text, again)
        return delay_s

    def report(self) -> dict[str, Any]:
        """For the API; nothing in it is secret."""
        newest = next(reversed(self._connections), None)
        return {
            "stream": self.stream.name,
            "from": shown(self._next_address if newest is None else newest.address),
            "state": "waiting" if newest is None else "pulling",
            "client": None if newest is None else newest.session.slug,
            "last_error": self.last_error,
            "retry_s": self._retry_s(),
        }

    def _retry_s(self) -> float | None:
        """In how many seconds it is tried again; None unless it waits for that."""
        if self._due_us is None:
            return None
        return max(0, self._due_us - self._clock.monotonic_us()) / 1_000_000


def _seconds(delay_s: float) -> str:
    return f"{delay_s:.1f}" if delay_s < 10 else f"{delay_s:.0f}"


def host_of(address: Address) -> str:
    return address.endpoint[1] if isinstance(address, HttpAddress) else address.host


def kind_of(address: Address) -> str:
    match address:
        case RtmpAddress():
            return "rtmp-pull"
        case RtspAddress():
            return "rtsp-pull"
    return "flv-pull"
