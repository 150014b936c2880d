"""The camera service: a feed for every configured stream whose source is local."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from appliance.services.camera.feed import Feed
from appliance.services.camera.process import watch_children_by_pidfd
from appliance.services.camera.session import Patience
from appliance.services.contract import Context, StreamSettings

SCHEMES = frozenset({"pattern", "v4l2", "picamera2", "file", "av"})


@dataclass(frozen=True, slots=True)
class Settings:
    """`[camera]`: for all local sources; what a stream shows is in its own `[[stream]]`."""

    open_us: int = field(
        default=15_000_000, metadata={"key": "open", "unit": "duration", "min": 1_000_000}
    )
    stall_us: int = field(
        default=5_000_000, metadata={"key": "stall", "unit": "duration", "min": 500_000}
    )
    nice: int = field(default=5, metadata={"max": 19})


class CameraService:
    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._feeds: dict[str, Feed] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self) -> None:
        watch_children_by_pidfd()
        for stream in filter(is_ours, self._context.streams):
            self._add(stream)

    async def stop(self) -> None:
        """Every worker is dead when it returns: at once, or 2 s after its SIGTERM."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        self._feeds.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def reload(self, settings: Any, streams: tuple[StreamSettings, ...]) -> list[str]:
        """Streams that changed get a new worker, their viewers stay; others go on untouched."""
        if settings != self._settings:
            return ["camera"]
        wanted = {stream.name: stream for stream in streams if is_ours(stream)}
        ending: dict[str, asyncio.Task[None]] = {}
        for name, feed in list(self._feeds.items()):
            if wanted.get(name) != feed.settings:
                ending[name] = self._remove(name, keep_stream=name in wanted)
        for name, stream in wanted.items():
            if name not in self._feeds:
                self._add(stream, ending.get(name))
        return []

    def _add(self, stream: StreamSettings, predecessor: asyncio.Task[None] | None = None) -> None:
        patience = Patience(self._settings.open_us, self._settings.stall_us, self._settings.nice)
        feed = self._feeds[stream.name] = Feed(self._context, stream, patience, predecessor)
        self._tasks[stream.name] = self._context.supervisor.keep(f"camera {stream.name}", feed.run)

    def _remove(self, name: str, *, keep_stream: bool) -> asyncio.Task[None]:
        del self._feeds[name]
        task = self._tasks.pop(name)
        task.cancel()  # the supervisor awaits it; the worker dies meanwhile
        if not keep_stream:
            self._context.hub.remove(name)
        return task


def is_ours(stream: StreamSettings) -> bool:
    return stream.enabled and stream.source.partition(":")[0] in SCHEMES


def create(settings: Settings, context: Context) -> CameraService:
    return CameraService(settings, context)
