"""Keeps one stream fed from one of several servers, with back-off, and only while wanted.

Theory of operation: an attempt is one connection. When it ends, the next server of the list has its
turn, at once, until as many have failed in a row as there are; only then is waited. A server that
was well for some time starts that count anew, so its viewers go on from the next one without delay.

Who was not there at all is waited for otherwise: it is looked for every second, and asked as soon
as it listens. The back-off is for those that listen, and fail.

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
from appliance.services.pull.faults import LOGIN, Away, PullFault
from appliance.services.pull.knock import KNOCK_S, first_listening
from appliance.services.pull.refusal import Patience
from appliance.services.pull.remote import Address, HttpAddress, door, scrub, shown
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
    fault: the reason of it, until there is media again.
    away: of the servers, those that took no connection when they were asked last.
    """

    def __init__(
        self, context: Context, stream: Stream, plan: Plan, *, first: int = 0, quiet: bool = False
    ) -> None:
        """first: the server of the list to begin with. quiet: tell no faults before there was
        media, for the stream's name is a stranger's."""
        self.stream = stream
        self.plan = plan
        self.last_error = ""
        self.fault = ""
        self.rounds = 0
        self.away: set[Address] = set()
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
        self._was_told = False  # of the outage that lasts
        self._lost_us = self._clock.monotonic_us()  # when there was media last, or nothing yet
        self._called: Address | None = None  # was away, listens, and is asked next

    async def run(self) -> None:
        while True:
            await self._wait_turn()
            self._hurry.clear()
            await self.pause(await self.attempt() or 0.0)

    def retry(self) -> None:
        """Somebody may have mended what was wrong: it is tried at once."""
        self._hurry.set()

    async def pause(self, delay_s: float) -> None:
        """Between two attempts; shorter by `retry`, or if a server that was away listens."""
        self._called = None
        if not delay_s:
            return
        self._due_us = self._clock.monotonic_us() + int(delay_s * 1_000_000)
        ends = {asyncio.create_task(one) for one in (self._hurry.wait(), self._listen_for_away())}
        try:
            done, _ = await asyncio.wait(ends, timeout=delay_s, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
        finally:
            self._due_us = None
            for one in ends:
                one.cancel()
            await asyncio.gather(*ends, return_exceptions=True)

    async def _listen_for_away(self) -> None:
        """Until one of them listens, whose turn it is then."""
        addresses = self.plan.addresses
        doors = {one: door(one) for one in addresses if one in self.away}
        self._called = await first_listening(doors)
        self._turn = addresses.index(self._called)

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
        self.fault = ""
        for connection, run in self._connections.items():
            if connection is not winner and run is not None:
                run.cancel()
        if self._was_told:
            away_s = (self._clock.monotonic_us() - self._lost_us) / 1_000_000
            winner.session.log.info("is back after %.0f s", away_s)
            self._was_told = False

    def _after_fault(self, connection: Connection, fault: PullFault) -> float:
        now_us = self._clock.monotonic_us()
        began_us = connection.first_unit_us
        ran_s = 0.0 if began_us is None else (now_us - began_us) / 1_000_000
        if began_us is not None:
            self._lost_us = now_us
            self._patience.let_in()
        if ran_s >= HEALTHY_S:
            self._telling.heal()
            self._failures = self.rounds = 0
        self._note_absence(connection.address, fault)
        self._failures += 1
        delay_s = 0.0
        if self._failures % len(self.plan.addresses) == 0:
            self.rounds += 1
            delay_s = self._backoff.next_s(ran_s)
            if fault.reason == LOGIN:
                delay_s = self._patience.next_s()
        self._tell(connection, fault, delay_s)
        return delay_s

    def _note_absence(self, address: Address, fault: PullFault) -> None:
        was_away = address in self.away
        self.away.discard(address)
        if not isinstance(fault, Away):
            if was_away:
                self._backoff.failures = 0  # it starts: what it cannot do yet it may do soon
        elif address != self._called:  # else it hears us, and does not; so knocking says nothing
            self.away.add(address)

    def _tell(self, connection: Connection, fault: PullFault, delay_s: float) -> None:
        self.last_error = f"{fault.reason}: {fault}"[:MAX_ERROR_CHARS]
        self.fault = fault.reason
        level, text = self._telling.tell(self.last_error, self._clock.monotonic_us())
        if self._is_quiet and not self.stream.has_run:
            level = logging.DEBUG
        self._was_told |= level >= logging.WARNING
        # Told here and not by `faults`, which tells one of a kind a second: each stream counts.
        self._context.faults.counts["pull", fault.reason] += 1
        again = f"trying again in {_seconds(delay_s)} s" if delay_s else "on to the next"
        if delay_s and connection.address in self.away:
            again = "looking for it every second"
        connection.session.log.log(level, "%s; %s", text, again)

    def report(self) -> dict[str, Any]:
        """For the API; nothing in it is secret."""
        newest = next(reversed(self._connections), None)
        return {
            "stream": self.stream.name,
            "from": shown(self._next_address if newest is None else newest.address),
            "state": "waiting" if newest is None else "pulling",
            "client": None if newest is None else newest.session.slug,
            "last_error": self.last_error,
            "fault": self.fault,
            "retry_s": self._retry_s(),
        }

    def _retry_s(self) -> float | None:
        """In how many seconds it is tried again; None unless it waits for that."""
        if self._due_us is None:
            return None
        left_s = max(0, self._due_us - self._clock.monotonic_us()) / 1_000_000
        return min(left_s, KNOCK_S) if self.away else left_s


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
