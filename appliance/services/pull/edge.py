"""Edge mode: what somebody wants to watch and is not here is fetched from the origins.

One connection to an origin for each stream, whatever the number of viewers, from the first viewer
until some time after the last. A name that no origin has is remembered for a moment, so that
asking for it again does not reach them; who waits for it is woken then, and asks again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from appliance.errors import ConfigError, LimitExceeded, StreamNotFound
from appliance.hub.telling import RETELL_US
from appliance.net.tls import ClientTls
from appliance.services.contract import Context, HandOn, StreamSettings
from appliance.services.pull.connection import Plan
from appliance.services.pull.feed import PullFeed
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
        """To one origin, and to the next when it fails."""
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
        self._tls = ClientTls(settings.ca, insecure=settings.insecure)
        self._pulls: dict[str, tuple[PullFeed, asyncio.Task[None]]] = {}  # bounded: streams
        self._absent: dict[str, asyncio.TimerHandle] = {}  # until it is forgotten, the oldest first
        self._told_us: dict[str, int] = {}  # of absent names, no more than MAX_ABSENT
        self._turn = 0  # the origin that the next stream begins with
        context.hand_on = settings.hand_on

    async def start(self) -> None:
        self._context.reports["edge"] = self.report
        self._open()

    def _open(self) -> None:
        self._hub.on_wanted = self._want if self._settings.origins else None

    async def stop(self) -> None:
        self._hub.on_wanted = None
        for name in list(self._absent):
            self._forget_absent(name)
        tasks = [task for _, task in self._pulls.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def reload(self, settings: Any, streams: tuple[StreamSettings, ...]) -> list[str]:
        """All at once; what is being fetched goes on from where it comes, if there is an edge."""
        if settings == self._settings:
            return []
        try:
            self._tls = ClientTls(settings.ca, insecure=settings.insecure)
        except ConfigError as error:
            self._context.faults.count("edge", "not reloaded", str(error))
            return ["edge"]
        self._settings = settings
        self._context.hand_on = settings.hand_on  # the forward service looks at it after us
        self._open()
        for name in list(self._absent):
            self._forget_absent(name)
        for name, (feed, task) in self._pulls.items():
            try:
                feed.plan = self._plan(name)
            except StreamNotFound:
                task.cancel()
        return []

    def report(self) -> list[dict[str, Any]]:
        return [feed.report() for feed, _ in self._pulls.values()]

    def _want(self, name: str) -> None:
        """Raises: StreamNotFound, LimitExceeded."""
        if name in self._absent or name in self._pulls:
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
        if not addresses:
            raise StreamNotFound("this is no edge any more")
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
                    self._tell_absent(feed)
                    self._remember_absent(feed.stream.name)
                    return
                await feed.pause(min(delay_s, left_us / 1_000_000))
        finally:
            self._end(feed)

    def _left_us(self, feed: PullFeed) -> int:
        """How long it may still be tried to get it."""
        newest_us = feed.stream.last_unit_us()
        if newest_us is None:
            return 0 if feed.rounds else 1
        return newest_us + self._settings.linger_us - self._hub.clock.monotonic_us()

    def _tell_absent(self, feed: PullFeed) -> None:
        """A name that somebody goes on waiting for is told once in a long time."""
        name, now_us = feed.stream.name, self._hub.clock.monotonic_us()
        told_us = self._told_us.get(name)
        if told_us is not None and now_us - told_us < RETELL_US and not feed.stream.has_run:
            self._context.faults.counts["edge", "absent"] += 1
            return
        self._told_us.pop(name, None)
        if len(self._told_us) >= MAX_ABSENT:
            del self._told_us[next(iter(self._told_us))]
        self._told_us[name] = now_us
        self._context.faults.count("edge", "absent", f"{name} {feed.last_error}")

    def _remember_absent(self, name: str) -> None:
        if len(self._absent) >= MAX_ABSENT:
            self._forget_absent(next(iter(self._absent)))
        delay_s = self._settings.absent_us / 1_000_000
        loop = asyncio.get_running_loop()
        self._absent[name] = loop.call_later(delay_s, self._forget_absent, name)

    def _forget_absent(self, name: str) -> None:
        self._absent.pop(name).cancel()
        self._hub.changed.fire()

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
