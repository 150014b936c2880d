"""Edge mode: what somebody wants to watch and is not here is fetched from the origins.

One connection to an origin for each stream, whatever the number of viewers, from the first viewer
until some time after the last. A name that no origin has is remembered for a moment, so that
asking for it again does not reach them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from appliance.errors import ConfigError, LimitExceeded, StreamNotFound
from appliance.net.tls import client_context
from appliance.services.contract import Context, HandOn, StreamSettings
from appliance.services.pull.feed import Plan, PullFeed
from appliance.services.pull.remote import on_origin
from appliance.wire.rtmp.address import DEFAULT_PORTS

MAX_ABSENT = 1024  # against viewers of ever new names


def check_origin(origin: str) -> None:
    """Raises: ConfigError."""
    if not origin.partition("?")[0].endswith("/"):
        raise ConfigError('write "rtmp://origin/", or "http://origin:8080/", with a slash')
    try:
        on_origin(origin, "app/stream")
    except ConfigError as error:
        raise ConfigError(f'write "rtmp://origin/" or "http://origin:8080/": {error}') from None


@dataclass(frozen=True, slots=True)
class Settings:
    """`[edge]`. origins: none is no edge. push: whether what begins here is handed on to them.

    streams: at once. open_us: from asking an origin to its first media; silence_us: without media,
    and the next one has its turn. close_us: after the last viewer. linger_us: a stream that has had
    no media for so long is over. absent_us: how long it is remembered that nobody has a stream.
    """

    origins: tuple[str, ...] = field(default=(), repr=False, metadata={"check": check_origin})
    push: bool = True
    streams: int = field(default=32, metadata={"min": 1, "max": 1024})
    open_us: int = field(
        default=4_000_000, metadata={"key": "open", "unit": "duration", "min": 500_000}
    )
    silence_us: int = field(
        default=2_500_000, metadata={"key": "silence", "unit": "duration", "min": 500_000}
    )
    close_us: int = field(
        default=10_000_000, metadata={"key": "on_demand_close", "unit": "duration"}
    )
    linger_us: int = field(default=15_000_000, metadata={"key": "linger", "unit": "duration"})
    absent_us: int = field(default=3_000_000, metadata={"key": "absent", "unit": "duration"})
    ca: str = ""
    insecure: bool = False

    @property
    def hand_on(self) -> HandOn:
        """To every origin, so that any of them may fail."""
        if not self.push:
            return HandOn()
        origins = [one for one in self.origins if one.partition(":")[0].lower() in DEFAULT_PORTS]
        return HandOn(tuple(map(_template, origins)), self.ca, self.insecure)


def _template(origin: str) -> str:
    base, mark, query = origin.partition("?")
    return f"{base}{{app}}/{{stream}}{mark}{query}"


class EdgeService:
    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._hub = context.hub
        self._tls = client_context(settings.ca, insecure=settings.insecure)
        self._pulls: dict[str, tuple[PullFeed, asyncio.Task[None]]] = {}  # bounded: streams
        self._absent: OrderedDict[str, int] = OrderedDict()  # until when, the oldest first
        self._turn = 0  # the origin that the next stream begins with
        context.hand_on = settings.hand_on

    async def start(self) -> None:
        if self._settings.origins:
            self._hub.on_wanted = self._want
            self._context.reports["edge"] = self.report

    async def stop(self) -> None:
        self._hub.on_wanted = None
        tasks = [task for _, task in self._pulls.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def reload(self, settings: Any, streams: tuple[StreamSettings, ...]) -> list[str]:
        return ["edge"] if settings != self._settings else []

    def report(self) -> list[dict[str, Any]]:
        return [feed.report() for feed, _ in self._pulls.values()]

    def _want(self, name: str) -> None:
        """Raises: StreamNotFound, LimitExceeded."""
        if self._absent.get(name, 0) > self._hub.clock.monotonic_us() or name in self._pulls:
            raise StreamNotFound(f"no origin has {name}")
        if len(self._pulls) >= self._settings.streams:
            raise LimitExceeded(f"{len(self._pulls)} streams are fetched from the origins already")
        plan = self._plan(name)
        stream = self._hub.declare(name)
        stream.borrowed = True
        feed = PullFeed(self._context, stream, plan, first=self._turn, quiet=True)
        self._turn += 1
        task = self._context.supervisor.spawn(f"edge {name}", self._serve(feed))
        self._pulls[name] = feed, task

    def _plan(self, name: str) -> Plan:
        settings = self._settings
        try:
            addresses = tuple(on_origin(origin, name) for origin in settings.origins)
        except ConfigError:
            raise StreamNotFound(f"{name} is no name that an origin can have") from None
        return Plan(addresses, self._tls, settings.open_us, settings.silence_us, settings.close_us)

    async def _serve(self, feed: PullFeed) -> None:
        """Until nobody watches, no origin has it any more, or somebody publishes it here."""
        try:
            while not feed.stream.is_live:
                delay_s = await feed.attempt()
                if delay_s is None:
                    return
                left_us = self._left_us(feed)
                if left_us <= 0:
                    name = feed.stream.name
                    self._context.faults.count("edge", "absent", f"{name} {feed.last_error}")
                    self._remember_absent(name)
                    return
                await asyncio.sleep(min(delay_s, left_us / 1_000_000))
        finally:
            self._end(feed)

    def _left_us(self, feed: PullFeed) -> int:
        """How long it may still be tried to get it."""
        newest_us = feed.stream.last_unit_us()
        if newest_us is None:
            return 0 if feed.rounds else 1
        return newest_us + self._settings.linger_us - self._hub.clock.monotonic_us()

    def _remember_absent(self, name: str) -> None:
        self._absent[name] = self._hub.clock.monotonic_us() + self._settings.absent_us
        self._absent.move_to_end(name)
        if len(self._absent) > MAX_ABSENT:
            self._absent.popitem(last=False)

    def _end(self, feed: PullFeed) -> None:
        """What is configured, or published here, by now is not ours any more."""
        stream = feed.stream
        del self._pulls[stream.name]
        stream.borrowed = False
        stream.permanent = any(
            one.name == stream.name and one.enabled and bool(one.source)
            for one in self._context.streams
        )
        if not stream.permanent and not stream.is_live:
            self._hub.remove(stream.name)
        self._hub.changed.fire()


def create(settings: Settings, context: Context) -> EdgeService:
    return EdgeService(settings, context)
