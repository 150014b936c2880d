"""The pull service: a feed for every configured stream whose source is another server."""

from __future__ import annotations

import asyncio
from typing import Any

from appliance.net.tls import client_context
from appliance.services.contract import Context, StreamSettings
from appliance.services.pull.feed import Plan, PullFeed
from appliance.services.pull.remote import parse_remote
from appliance.services.pull.settings import Settings

SCHEMES = frozenset({"rtmp", "rtmps", "http", "https"})


class PullService:
    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._tls = client_context(settings.ca, insecure=settings.insecure)
        self._feeds: dict[str, tuple[StreamSettings, PullFeed]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self) -> None:
        self._context.reports["pull"] = self.report
        for stream in self._context.streams:
            if is_pulled(stream):
                self._add(stream)

    async def stop(self) -> None:
        tasks = list(self._tasks.values())
        self._tasks.clear()
        self._feeds.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def reload(self, settings: Any, streams: tuple[StreamSettings, ...]) -> list[str]:
        """Streams that changed are fetched anew, their viewers stay; others go on untouched."""
        wanted = {stream.name: stream for stream in streams if is_pulled(stream)}
        named = {stream.name for stream in streams if stream.enabled}
        for name, (stream, _) in list(self._feeds.items()):
            if wanted.get(name) != stream:
                self._remove(name, named)
        for name, stream in wanted.items():
            if name not in self._feeds:
                self._add(stream)
        return ["pull"] if settings != self._settings else []

    def _add(self, settings: StreamSettings) -> None:
        plan = Plan(
            (parse_remote(settings.source),),
            self._tls,
            self._settings.open_us,
            self._settings.silence_us,
            settings.on_demand_close_us if settings.on_demand else None,
        )
        feed = PullFeed(self._context, self._context.hub.declare(settings.name), plan)
        self._feeds[settings.name] = settings, feed
        task = self._context.supervisor.keep(f"pull {settings.name}", feed.run)
        self._tasks[settings.name] = task

    def _remove(self, name: str, named: set[str]) -> None:
        """named: streams that are still configured, by whichever service."""
        del self._feeds[name]
        self._tasks.pop(name).cancel()
        if name not in named:
            self._context.hub.remove(name)

    def report(self) -> list[dict[str, Any]]:
        return [feed.report() for _, feed in self._feeds.values()]


def is_pulled(stream: StreamSettings) -> bool:
    return stream.enabled and stream.source.partition(":")[0].lower() in SCHEMES


def create(settings: Settings, context: Context) -> PullService:
    return PullService(settings, context)
