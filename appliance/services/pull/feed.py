"""Keeps one stream fed from one of several servers, with back-off, and only while wanted.

Theory of operation: an attempt is one connection. When it ends, the next server of the list has its
turn, at once, until as many have failed in a row as there are; only then is waited. A server that
was well for some time starts that count anew, so its viewers go on from the next one without delay.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from dataclasses import dataclass
from typing import Any

from appliance.errors import ApplianceError
from appliance.hub.sessions import Session
from appliance.hub.stream import Stream
from appliance.hub.telling import Telling
from appliance.net.supervisor import Backoff
from appliance.services.contract import Context
from appliance.services.pull.faults import (
    GARBAGE,
    KICKED,
    SILENT,
    UNREACHABLE,
    PullFault,
)
from appliance.services.pull.flv_fetch import fetch_flv
from appliance.services.pull.intake import Intake
from appliance.services.pull.remote import Address, scrub, shown
from appliance.services.pull.rtmp_fetch import fetch_rtmp
from appliance.wire.rtmp.address import RtmpAddress

MIN_BACKOFF_S, MAX_BACKOFF_S = 0.5, 30.0
HEALTHY_S = 10.0
MAX_ERROR_CHARS = 200


@dataclass(frozen=True, slots=True)
class Plan:
    """What is fetched, from which servers, and how patiently.

    open_us: from connecting to the first media; silence_us: from then on without any.
    close_us: on demand, and ended so long after the last viewer; None is always.
    """

    addresses: tuple[Address, ...]
    tls: ssl.SSLContext
    open_us: int
    silence_us: int
    close_us: int | None = None


class PullFeed:
    """`run` until cancelled. The stream and its viewers stay while connections come and go.

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
        self.session: Session | None = None
        self._context = context
        self._clock = context.hub.clock
        self._turn = first
        self._is_quiet = quiet
        self._failures = 0  # in a row
        self._backoff = Backoff(MIN_BACKOFF_S, MAX_BACKOFF_S, HEALTHY_S)
        self._telling = Telling()

    async def run(self) -> None:
        while True:
            await self._wait_turn()
            await asyncio.sleep(await self.attempt() or 0.0)

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
        """One connection to its end; how many seconds to wait before the next, None if nobody
        watches any more."""
        address = self.plan.addresses[self._turn % len(self.plan.addresses)]
        sessions = self._context.sessions
        kind = "rtmp-pull" if isinstance(address, RtmpAddress) else "flv-pull"
        session = sessions.open("pull", kind, host_of(address), ours=True)
        session.stream, session.is_publisher = self.stream.name, True
        session.url = shown(address)
        self.session = session
        session.log.debug("asks %s", session.url)
        connection = Connection(self._context, self.stream, self.plan, address, session)
        try:
            await connection.run_while_wanted()
        except PullFault as fault:
            return self._after_fault(
                connection, PullFault(fault.reason, scrub(address, str(fault)))
            )
        finally:
            self.session = None
            seconds = (self._clock.monotonic_us() - session.since_us) / 1_000_000
            size_bytes = session.received.total_bytes
            if connection.first_unit_us is not None:
                session.log.info("ended after %.1f s, %d bytes", seconds, size_bytes)
            sessions.close(session)
        session.log.info("nobody watches any more")
        return None

    def _after_fault(self, connection: Connection, fault: PullFault) -> float:
        now_us = self._clock.monotonic_us()
        began_us = connection.first_unit_us
        ran_s = 0.0 if began_us is None else (now_us - began_us) / 1_000_000
        if began_us is not None:
            self._telling.heal()
        if ran_s >= HEALTHY_S:
            self._failures = self.rounds = 0
        self._failures += 1
        self._turn += 1
        delay_s = 0.0
        if self._failures % len(self.plan.addresses) == 0:
            self.rounds += 1
            delay_s = self._backoff.next_s(ran_s)
        self.last_error = f"{fault.reason}: {fault}"[:MAX_ERROR_CHARS]
        level, text = self._telling.tell(self.last_error, now_us)
        if self._is_quiet and not self.stream.has_run:
            level = logging.DEBUG
        # Told here and not by `faults`, which tells one of a kind a second: each stream counts.
        self._context.faults.counts["pull", fault.reason] += 1
        again = f"trying again in {delay_s:.1f} s" if delay_s else "on to the next"
        connection.session.log.log(level, "%s; %s", text, again)
        return delay_s

    def report(self) -> dict[str, Any]:
        """For the API; nothing in it is secret."""
        address = self.plan.addresses[self._turn % len(self.plan.addresses)]
        return {
            "stream": self.stream.name,
            "from": shown(address),
            "state": "waiting" if self.session is None else "pulling",
            "client": None if self.session is None else self.session.slug,
            "last_error": self.last_error,
        }


class Connection:
    """One attempt. first_unit_us: when media came, None before."""

    def __init__(
        self, context: Context, stream: Stream, plan: Plan, address: Address, session: Session
    ) -> None:
        self.session = session
        self._context = context
        self._stream = stream
        self._plan = plan
        self._address = address
        self._intake: Intake | None = None

    @property
    def first_unit_us(self) -> int | None:
        return None if self._intake is None else self._intake.first_unit_us

    async def run_while_wanted(self) -> None:
        """Returns when nobody has watched for long enough. Raises: PullFault."""
        running = asyncio.create_task(self._run())
        unwanted = asyncio.create_task(self._wait_unwanted())
        is_kicked = False

        def kick() -> None:
            nonlocal is_kicked
            is_kicked = True
            running.cancel()

        self.session.kick = kick
        try:
            await asyncio.wait({running, unwanted}, return_when=asyncio.FIRST_COMPLETED)
            if is_kicked:
                raise PullFault(KICKED, "ended by the operator")
            if running.done():
                running.result()
        finally:
            for task in (running, unwanted):
                task.cancel()
            await asyncio.gather(running, unwanted, return_exceptions=True)

    async def _wait_unwanted(self) -> None:
        if self._plan.close_us is None:
            await asyncio.get_running_loop().create_future()
        else:
            await self._stream.demand.wait_idle(self._plan.close_us)

    async def _run(self) -> None:
        """Raises: PullFault, whatever goes wrong."""
        limit_s = self._plan.open_us / 1_000_000
        deadline = asyncio.timeout(limit_s)
        try:
            async with deadline:
                await self._fetch(deadline, limit_s)
        except PullFault:
            raise
        except TimeoutError:
            seconds = limit_s if self.first_unit_us is None else self._plan.silence_us / 1_000_000
            what = SILENT if deadline.expired() else UNREACHABLE
            raise PullFault(what, f"no media for {seconds:g} s") from None
        except ApplianceError as error:
            raise PullFault(GARBAGE, str(error)) from error
        except OSError as error:
            raise PullFault(UNREACHABLE, error.strerror or str(error)) from error

    async def _fetch(self, deadline: asyncio.Timeout, limit_s: float) -> None:
        self._intake = Intake(
            self._context.hub, self._stream.name, self.session, deadline, self._plan.silence_us
        )
        try:
            if isinstance(self._address, RtmpAddress):
                await fetch_rtmp(self._address, self._plan.tls, self._intake, limit_s)
            else:
                await fetch_flv(self._address, self._plan.tls, self._intake, limit_s)
        finally:
            self._intake.close()


def host_of(address: Address) -> str:
    return address.host if isinstance(address, RtmpAddress) else address.endpoint[1]
