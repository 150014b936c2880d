"""One stream on its way to one destination, or to one of several that stand in for each other:
tries, waits, tries again, and tells how it goes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from appliance.errors import CodecUnsupported, ConfigError, PeerError
from appliance.hub.stats import Faults
from appliance.hub.stream import Stream
from appliance.net.address import is_loopback
from appliance.net.horizon import Horizon
from appliance.net.supervisor import Backoff
from appliance.net.tcp import TcpConnection
from appliance.net.tls import client_context
from appliance.services.forward.destination import Destination
from appliance.services.forward.publication import (
    Progress,
    Publication,
    Refusal,
    until_published,
    until_unpublished,
)
from appliance.services.forward.settings import Rule
from appliance.wire.rtmp.client import Event

log = logging.getLogger(__name__)

MAX_REDIRECTS = 3
MAX_ERROR_CHARS = 200
SECOND_US = 1_000_000

IsOurs = Callable[[int, str], bool]
"""Whether we listen for RTMP on this port, and the stream of that name would come round again."""


class State(StrEnum):
    CONNECTING = "connecting"
    LIVE = "live"
    WAITING = "waiting"  # for a publisher, or for the next try


class Push:
    """`run` whenever somebody publishes; the figures go on from run to run.

    name: tells it from the stream's others, and is fit for anybody's eyes.
    """

    def __init__(
        self,
        name: str,
        stream: Stream,
        rule: Rule,
        destinations: tuple[Destination, ...],
        faults: Faults,
        is_ours: IsOurs,
        *,
        first: int = 0,
    ) -> None:
        """first: of the destinations, to begin with."""
        self.name = name
        self.stream = stream
        self.destinations = destinations
        self.state = State.WAITING
        self.last_error = ""
        self.attempts = 0
        self._told = ""  # the error that the log has had a line about
        self._turn = first
        self._failures = 0  # in a row, of all destinations together
        self._rule = rule
        self._faults = faults
        self._is_ours = is_ours
        self._since_us = stream.clock.monotonic_us()
        self._backoff = Backoff()
        self._progress = Progress()
        self._past_bytes = 0
        self._past_dropped_units = 0

    @property
    def destination(self) -> Destination:
        """The one whose turn it is."""
        return self.destinations[self._turn % len(self.destinations)]

    @property
    def sent_bytes(self) -> int:
        return self._past_bytes + self._progress.sent_bytes

    @property
    def dropped_units(self) -> int:
        return self._past_dropped_units + self._progress.dropped_units

    def lag_us(self) -> int:
        """How far behind the stream the destination is; 0 unless it is live."""
        newest_us, sent_us = self.stream.newest_dts_us, self._progress.sent_dts_us
        if self.state is not State.LIVE or newest_us is None or sent_us is None:
            return 0
        return max(0, newest_us - sent_us)

    def report(self) -> dict[str, Any]:
        """For the API: nothing in it is secret. since_ms: of the state, Unix time."""
        clock = self.stream.clock
        age_us = clock.monotonic_us() - self._since_us
        return {
            "stream": self.stream.name,
            "name": self.name,
            "url": self.destination.shown,
            "state": self.state.value,
            "since_ms": (clock.unix_us() - age_us) // 1000,
            "bytes": self.sent_bytes,
            "lag_ms": self.lag_us() // 1000,
            "dropped_units": self.dropped_units,
            "attempts": self.attempts,
            "last_error": self.last_error,
        }

    async def keep(self) -> None:
        """Until the stream is over."""
        while await until_published(self.stream):
            await self.run()

    async def run(self) -> None:
        """Until nobody publishes the stream any more."""
        try:
            while await self._try():
                self._set(State.WAITING)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._next_delay_s()):
                        await until_unpublished(self.stream)
                        return
        finally:
            self._set(State.WAITING)

    def _next_delay_s(self) -> float:
        """On to the next destination, at once unless all have failed in a row."""
        live_s = self._live_s()
        if live_s >= self._backoff.reset_after_s:
            self._failures = 0
        self._failures += 1
        self._turn += 1
        if self._failures % len(self.destinations):
            return 0.0
        return self._backoff.next_s(live_s)

    async def _try(self) -> bool:
        """One attempt; whether it failed."""
        self.attempts += 1
        self._past_bytes, self._past_dropped_units = self.sent_bytes, self.dropped_units
        self._progress = Progress(self._progress.position)
        self._set(State.CONNECTING)
        try:
            await self._publish()
        except (PeerError, CodecUnsupported, ConfigError, OSError, TimeoutError) as error:
            self._tell(error)
            return True
        except Exception as error:  # the outermost frame of a session
            log.exception("forward %s: a fault of ours", self.stream.name)
            self._tell(error)
            return True
        log.info("forward %s ended, %d bytes", self._title, self._progress.sent_bytes)
        return False

    async def _publish(self) -> None:
        """Raises: what Publication.run does."""
        destination, horizon = self.destination, Horizon()
        for _ in range(MAX_REDIRECTS + 1):
            tls = await self._tls() if destination.address.is_tls else None
            publication = Publication(
                self.stream,
                self._progress,
                self._rule.max_backlog_us,
                self._started,
                is_spare=len(self.destinations) > 1,
            )
            try:
                await publication.run(destination, tls, self._check_for(destination, horizon))
            except Refusal as refusal:
                if not refusal.redirect:
                    raise
                destination = destination.redirected(refusal.redirect)
                horizon.move_on()
            else:
                return
        raise PeerError(f"redirected more than {MAX_REDIRECTS} times")

    async def _tls(self) -> ssl.SSLContext:
        """Made anew, because authorities are replaced; in a thread, because they are many."""
        options = self._rule.tls
        return await asyncio.to_thread(client_context, options.ca, insecure=options.insecure)

    def _check_for(
        self, destination: Destination, horizon: Horizon
    ) -> Callable[[TcpConnection[Event]], None]:
        def check(connection: TcpConnection[Event]) -> None:
            """Raises: PeerError for a loop, or where no redirect may lead."""
            if connection.transport is not None:
                horizon.admit(connection.transport.get_extra_info("peername")[0])
            port = _own_port(connection)
            if port is not None and self._is_ours(port, destination.stream_name):
                raise PeerError("this is the device itself; the stream would go round in a loop")

        return check

    def _started(self) -> None:
        self._set(State.LIVE)
        self._told = ""
        log.info("forward %s is live", self._title)

    @property
    def _title(self) -> str:
        """For the log."""
        also = f" ({self.destination.label})" if len(self.destinations) > 1 else ""
        return f"{self.stream.name} to {self.name}{also}"

    def _set(self, state: State) -> None:
        if state is not self.state:
            self.state = state
            self._since_us = self.stream.clock.monotonic_us()

    def _live_s(self) -> float:
        started_us = self._progress.started_us
        if started_us is None:
            return 0.0
        return (self.stream.clock.monotonic_us() - started_us) / SECOND_US

    def _tell(self, error: Exception) -> None:
        """The same error again and again is one line; every one is counted."""
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        text = self.destination.scrub(text)[:MAX_ERROR_CHARS]
        level = logging.DEBUG if text == self._told else logging.WARNING
        self.last_error = self._told = text
        # Told here: `faults` tells one of a kind a second, and each destination counts.
        self._faults.counts["forward", _reason(error)] += 1
        log.log(level, "forward %s failed: %s", self._title, text)


def _reason(error: Exception) -> str:
    match error:
        case Refusal():
            return "refused"
        case PeerError():
            return "peer"
        case CodecUnsupported():
            return "codec"
        case ConfigError():
            return "configuration"
        case ssl.SSLError():
            return "tls"
        case TimeoutError():
            return "timeout"
        case OSError():
            return "network"
    return "internal"


def _own_port(connection: TcpConnection[Event]) -> int | None:
    """The peer's port if it is this machine: then its address is our own end's too."""
    if connection.transport is None:
        return None
    peer = connection.transport.get_extra_info("peername")
    own = connection.transport.get_extra_info("sockname")
    if not peer or not own:
        return None
    is_own = peer[0] == own[0] or (is_loopback(peer[0]) and is_loopback(own[0]))
    return int(peer[1]) if is_own else None
