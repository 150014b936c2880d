"""The forward service: a task per stream and matching rule, a task per destination under it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator
from functools import partial
from typing import Any

from appliance.errors import ApplianceError
from appliance.hub.stream import Stream
from appliance.net.address import parse_address
from appliance.net.supervisor import Backoff
from appliance.net.tls import client_context
from appliance.services.contract import Context, StreamSettings
from appliance.services.forward.backend import Backend
from appliance.services.forward.destination import Destination, fill
from appliance.services.forward.publication import first, until_published, until_unpublished
from appliance.services.forward.push import Push
from appliance.services.forward.settings import Rule, Settings, TlsOptions

log = logging.getLogger(__name__)

MAX_FORWARDINGS = 1024  # streams are bounded, rules are the operator's; this is against both


class Forwarding:
    """One stream by one rule. `run` until the stream is over.

    siblings: the pushes of this stream by other rules. first: of destinations that stand in for
    each other, to begin with.
    """

    def __init__(
        self,
        stream: Stream,
        rule: Rule,
        context: Context,
        backend: Backend,
        siblings: Callable[[], Iterable[Push]],
        first: int,
    ) -> None:
        self.stream = stream
        self.rule = rule
        self.pushes: list[Push] = []
        self._siblings = siblings
        self._first = first
        self._context = context
        self._backend = backend
        filled = (fill(url, context.device_name, stream.name) for url in rule.to)
        self._use([Destination.parse(url) for url in dict.fromkeys(filled)])

    def _use(self, destinations: list[Destination]) -> None:
        """Those that go on keep their figures."""
        before = {push.destinations: push for push in self.pushes}
        sets = [tuple(destinations)] if self.rule.fail_over else [(one,) for one in destinations]
        self.pushes = []
        for each in filter(None, sets):
            self.pushes.append(before.get(each) or self._make(each))

    def _make(self, destinations: tuple[Destination, ...]) -> Push:
        faults, first = self._context.faults, self._first
        name = self._name(destinations)
        return Push(name, self.stream, self.rule, destinations, faults, self._is_ours, first=first)

    def _name(self, destinations: tuple[Destination, ...]) -> str:
        """Where it goes; numbered from the second one of this stream that goes there, too."""
        taken = {push.name for push in (*self._siblings(), *self.pushes)}
        name = ", ".join(dict.fromkeys(one.label for one in destinations))
        numbered = (f"{name} #{number}" for number in itertools.count(2))
        return next(each for each in itertools.chain((name,), numbered) if each not in taken)

    async def run(self) -> None:
        """A stream with a source of its own is watched by this, so an on-demand one goes on."""
        with self.stream.demand.viewer() if self.stream.permanent else contextlib.nullcontext():
            if self.rule.backend:
                await self._run_asked()
            else:
                await self._run_all([push.keep() for push in self.pushes])

    async def _run_asked(self) -> None:
        while await until_published(self.stream):
            await first(self._ask(), until_unpublished(self.stream))
            await self._run_all([push.run() for push in self.pushes])
            if not self.pushes:
                await until_unpublished(self.stream)

    async def _ask(self) -> None:
        """Until the backend has answered well."""
        backoff = Backoff()
        self._use([])
        while True:
            try:
                self._use(await self._backend.ask(self.rule.backend, self.stream))
            except (ApplianceError, OSError, TimeoutError) as error:
                text = str(error) or "the backend does not answer"
                self._context.faults.count(
                    "forward", "backend", f"{self.stream.name}: {text}", log=log
                )
                await asyncio.sleep(backoff.next_s(0.0))
            else:
                return

    async def _run_all(self, runs: list[Coroutine[Any, Any, None]]) -> None:
        """Side by side, until each has ended."""
        spawn = self._context.supervisor.spawn
        tasks = [spawn(f"forward {self.stream.name} {n}", run) for n, run in enumerate(runs)]
        try:
            if tasks:
                await asyncio.wait(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _is_ours(self, port: int, name: str) -> bool:
        """Whether RTMP is served there by us, and a stream of that name would be handed on."""
        addresses = self._context.listening.get("rtmp", ())
        ports = {parse_address(address)[1] for address in addresses}
        return port in ports and (name == self.stream.name or self.rule.matches(name))


class ForwardService:
    def __init__(self, rules: Settings, context: Context) -> None:
        self._rules = rules + rules_of_edge(context)
        self._context = context
        self._backend = Backend(context)
        self._running: dict[tuple[Stream, Rule], tuple[Forwarding, asyncio.Task[None]]] = {}
        self._watching: asyncio.Task[None] | None = None
        self._turn = 0  # where the next stream begins whose destinations stand in for each other

    async def start(self) -> None:
        """Raises: ConfigError if a file of authorities cannot be read."""
        self._context.reports["forward"] = self.report
        for rule in self._rules:
            if rule.tls.ca:
                client_context(rule.tls.ca)
        self._watching = self._context.supervisor.keep("forward", self._watch)

    async def _watch(self) -> None:
        while True:
            self._settle()
            await self._context.hub.changed.wait()

    def _settle(self) -> None:
        """Begins what is to be forwarded and ends what is not any more."""
        for key, (_, task) in list(self._running.items()):
            if task.done() or key[0].closed or key[1] not in self._rules:
                task.cancel()
                del self._running[key]
        for stream in self._context.hub.streams.values():
            for rule in self._rules:
                if rule.enabled and rule.matches(stream.name) and not stream.borrowed:
                    self._begin(stream, rule)

    def _begin(self, stream: Stream, rule: Rule) -> None:
        if (stream, rule) in self._running:
            return
        if len(self._running) >= MAX_FORWARDINGS:
            self._context.faults.count("forward", "too many streams and rules", stream.name)
            return
        forwarding = Forwarding(
            stream, rule, self._context, self._backend, partial(self._pushes_of, stream), self._turn
        )
        self._turn += rule.fail_over
        task = self._context.supervisor.spawn(f"forward {stream.name}", forwarding.run())
        self._running[stream, rule] = forwarding, task

    def _pushes_of(self, stream: Stream) -> Iterator[Push]:
        for (each, _), (forwarding, _) in self._running.items():
            if each is stream:
                yield from forwarding.pushes

    def report(self) -> list[dict[str, Any]]:
        """Every destination, by stream and in the order of the configuration."""
        pushes = [push for forwarding, _ in self._running.values() for push in forwarding.pushes]
        return [push.report() for push in sorted(pushes, key=lambda push: push.stream.name)]

    async def stop(self) -> None:
        """Destinations are told that the stream is over."""
        tasks = [task for _, task in self._running.values()]
        if self._watching is not None:
            tasks.append(self._watching)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._backend.close()

    def reload(self, settings: Any, streams: tuple[StreamSettings, ...]) -> list[str]:
        """Rules that stay go on undisturbed."""
        self._rules = settings + rules_of_edge(self._context)
        if self._watching is not None:
            self._settle()
        return []


def rules_of_edge(context: Context) -> Settings:
    """In edge mode, all that begins here goes to an origin."""
    edge = context.hand_on
    tls = TlsOptions(edge.ca, edge.insecure)
    return (Rule("*", edge.to, tls=tls, fail_over=True),) if edge.to else ()


def create(settings: Settings, context: Context) -> ForwardService:
    return ForwardService(settings, context)
