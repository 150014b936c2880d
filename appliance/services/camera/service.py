"""The camera service: a feed for every configured stream whose source is local."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from appliance.errors import ConfigError
from appliance.net.worker_process import watch_children_by_pidfd
from appliance.services.camera.camera import LocalCamera
from appliance.services.camera.feed import Feed
from appliance.services.camera.led import Led, open_led
from appliance.services.camera.settings import Settings
from appliance.services.camera.slate import SlatePress
from appliance.services.camera.switches import Switches
from appliance.services.contract import Context, StreamSettings

log = logging.getLogger(__name__)

SCHEMES = frozenset({"pattern", "v4l2", "picamera2", "file", "av"})
SUB_SCHEME = "camera"

Wanted = dict[str, tuple[StreamSettings, StreamSettings | None]]


class CameraService:
    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._feeds: dict[str, Feed] = {}
        self._cameras: dict[str, LocalCamera] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._press = SlatePress(context.device_name, settings.nice)
        self._switches = Switches(context.state_dir)
        self._leds: dict[str, Led | None] = {}  # every one that was ever configured

    async def start(self) -> None:
        watch_children_by_pidfd()
        for stream, sub in paired(self._context.streams).values():
            self._add(stream, sub)

    async def stop(self) -> None:
        """Every worker is dead when it returns: at once, or 2 s after its SIGTERM."""
        tasks = list(self._tasks.values())
        for camera in self._cameras.values():
            self._context.cameras.remove(camera)
        self._tasks.clear()
        self._feeds.clear()
        self._cameras.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def reload(self, settings: Any, streams: tuple[StreamSettings, ...]) -> list[str]:
        """Cameras that changed get a new worker, their viewers stay; others go on untouched."""
        if settings != self._settings:
            return ["camera"]
        try:
            wanted = paired(streams)
        except ConfigError as error:
            log.error("the cameras stay as they are: %s", error)  # noqa: TRY400
            return ["camera"]
        named = {stream.name for stream in streams if stream.enabled}
        ending: dict[str, asyncio.Task[None]] = {}
        for name, feed in list(self._feeds.items()):
            if wanted.get(name) != (feed.settings, feed.sub):
                ending[name] = self._remove(name, named)
        for name, (stream, sub) in wanted.items():
            if name not in self._feeds:
                self._add(stream, sub, ending.get(name))
        return []

    def _add(
        self,
        stream: StreamSettings,
        sub: StreamSettings | None,
        predecessor: asyncio.Task[None] | None = None,
    ) -> None:
        if stream.led not in self._leds:
            self._leds[stream.led] = open_led(stream.led)
        feed = self._feeds[stream.name] = Feed(
            self._context,
            stream,
            sub,
            self._settings,
            self._press,
            self._switches,
            self._leds[stream.led],
            predecessor,
        )
        camera = self._cameras[stream.name] = LocalCamera(feed, self._context.counters)
        self._context.cameras.add(camera)
        self._tasks[stream.name] = self._context.supervisor.keep(f"camera {stream.name}", feed.run)

    def _remove(self, name: str, named: set[str]) -> asyncio.Task[None]:
        """named: streams that are still configured, by whichever service."""
        feed = self._feeds.pop(name)
        self._context.cameras.remove(self._cameras.pop(name))
        self._context.watchdog.hope(f"camera {name}")
        task = self._tasks.pop(name)
        task.cancel()  # the supervisor awaits it; the worker dies meanwhile
        for stream in filter(None, (feed.settings, feed.sub)):
            if stream.name not in named:
                self._context.hub.remove(stream.name)
        return task


def paired(streams: tuple[StreamSettings, ...]) -> Wanted:
    """Every camera that is enabled with its second stream, by stream name.

    Raises: ConfigError if a second stream has no camera, or a camera has two.
    """
    cameras = {one.name: one for one in streams if one.enabled and _scheme(one) in SCHEMES}
    subs: dict[str, StreamSettings] = {}
    for stream in streams:
        if not stream.enabled or _scheme(stream) != SUB_SCHEME:
            continue
        wanted = stream.source.partition(":")[2].removesuffix("/sub")
        found = [name for name in cameras if name == wanted]
        found = found or [name for name in cameras if name.rpartition("/")[2] == wanted]
        if not found:
            if any(one.name == wanted or one.name.rpartition("/")[2] == wanted for one in streams):
                continue  # its camera is off: so is its second stream
            raise ConfigError(f"stream {stream.name}: there is no camera {wanted}")
        if found[0] in subs:
            raise ConfigError(f"stream {stream.name}: {wanted} has a second stream already")
        subs[found[0]] = stream
    return {name: (stream, subs.get(name)) for name, stream in cameras.items()}


def _scheme(stream: StreamSettings) -> str:
    return stream.source.partition(":")[0]


def create(settings: Settings, context: Context) -> CameraService:
    return CameraService(settings, context)
