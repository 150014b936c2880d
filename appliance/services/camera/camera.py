"""One camera as the API and the picture service see it (hub/cameras.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from appliance.errors import CodecUnsupported, LimitExceeded, StreamNotFound
from appliance.hub.cameras import PictureAsk, StillPicture
from appliance.hub.stats import Counters
from appliance.hub.stream import Stream
from appliance.media.track import Kind
from appliance.redact import redact
from appliance.services.camera.feed import Feed
from appliance.services.camera.ladder import Step
from appliance.services.camera.session import WorkerSession

START_S = 10.0  # an ask may wait so long for a camera that starts because of it
OFF_S = 10.0  # a worker is dead within 7 s, or its driver is stuck
MAX_CHANGING = 32  # who wait for a worker's answers, against a crowd
MAX_STARTING = 32  # asks that wait for it, against a crowd

# What a worker tells of itself and everybody may know; anything else it says stays here.
STATE_KEYS = (
    "device", "driver", "format", "why", "encoder", "width", "height", "fps", "measured_fps",
    "bitrate_bps", "keyframe_us", "rotation", "encode_ms_p95", "threads", "ladder", "sound",
    "controls", "overlay", "masks", "sub",
)  # fmt: skip


class LocalCamera:
    """Implements `Camera` for one feed."""

    def __init__(self, feed: Feed, counters: Counters) -> None:
        self._feed = feed
        self._counters = counters
        self._changing = asyncio.Lock()
        self._starting = 0
        self._waiting = 0

    @property
    def name(self) -> str:
        return self.stream_name.rpartition("/")[2]

    @property
    def stream_name(self) -> str:
        return self._feed.settings.name

    # -- describe --------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """settings: as they are set now; the rest is what the worker tells, and its health."""
        feed = self._feed
        told = feed.state
        values = feed.knobs.values()
        described = {key: _without_secrets(told[key]) for key in STATE_KEYS if key in told}
        described["device_name"] = _without_secrets(told.get("name"))
        return described | {
            "state": self._state(),
            "placeholder": feed.stream.placeholder or None,
            "source": feed.settings.source.partition(":")[0],
            "enabled": feed.enabled,
            "hours": list(feed.settings.hours),
            "within_hours": feed.is_open,
            "on_demand": feed.settings.on_demand,
            "preset": feed.knobs.preset or None,
            "presets": feed.knobs.presets,
            "settings": values,
            "health": _health(feed.stream),
            "sub_stream": None if feed.sub is None else feed.sub.name,
            "sub_health": None if feed.sub_stream is None else _health(feed.sub_stream),
            "recovery": feed.recovery.describe(),
            "recoveries": self._recoveries(),
            "last_fault": feed.last_fault,
        }

    def _state(self) -> str:
        feed = self._feed
        if not feed.is_on:
            return "off"
        if feed.stream.is_live:
            return "live"
        if feed.fault is not None:
            return "lost"
        if feed.session is None and feed.settings.on_demand:
            return "idle"
        has_begun = feed.session is not None and feed.session.first_unit_us is not None
        return "lost" if has_begun else "starting"

    def _recoveries(self) -> dict[str, int]:
        return {
            step.value: self._counters.values[
                "camera_recoveries_total", (("rung", step.value), ("stream", self.stream_name))
            ]
            for step in Step
        }

    # -- change ----------------------------------------------------------------------------------

    async def change(self, values: Mapping[str, Any]) -> None:
        """Checked here, then by the worker if there is one; kept for the workers after it.

        Off waits for nobody: neither for a worker that hangs nor for who waits for its answer.
        Raises: LimitExceeded, and as `Camera.change`.
        """
        feed = self._feed
        feed.knobs.check(values, feed.controls)
        on = values.get("enabled", feed.enabled)
        if not on or not feed.enabled:  # there is no worker to ask, or soon none
            feed.knobs.change(values)
            await self._switch(on)
            return
        if self._waiting >= MAX_CHANGING:
            raise LimitExceeded(f"{MAX_CHANGING} changes wait for this camera already")
        self._waiting += 1
        try:
            async with self._changing:
                told = feed.knobs.preview(values, feed.knobs.values(), feed.controls)
                if told and feed.session is not None:
                    await feed.session.asks.change(told)
                feed.knobs.change(values)
        finally:
            self._waiting -= 1

    async def _switch(self, on: bool) -> None:
        """Off is off: the sensor has stopped when this returns."""
        self._feed.switch(on)
        if not on:
            async with asyncio.timeout(OFF_S):
                await self._feed.wait_off()

    # -- picture ---------------------------------------------------------------------------------

    async def picture(self, ask: PictureAsk) -> StillPicture:
        """See `Camera.picture`. An on-demand camera is started for it."""
        feed = self._feed
        if not feed.is_on:
            raise StreamNotFound("the camera is off")
        if ask.sub and feed.sub is None:
            raise CodecUnsupported("this camera has no second stream")
        if feed.session is not None and feed.session.first_unit_us is not None:
            return await feed.session.asks.picture(ask)
        if not feed.settings.on_demand:
            raise StreamNotFound(feed.fault or "the camera is starting")
        if self._starting >= MAX_STARTING:
            raise LimitExceeded("too many wait for this camera to start")
        self._starting += 1
        try:
            with feed.stream.demand.viewer():
                async with asyncio.timeout(START_S):
                    session = await self._wait_live()
                return await session.asks.picture(ask)
        finally:
            self._starting -= 1

    async def _wait_live(self) -> WorkerSession:
        feed = self._feed
        while feed.session is None or feed.session.first_unit_us is None:
            if not feed.is_on:
                raise StreamNotFound("the camera is off")
            await feed.wait_news()
        return feed.session


def _without_secrets(value: Any) -> Any:
    """A source may call itself by its address."""
    return redact(value) if isinstance(value, str) else value


def _health(stream: Stream) -> dict[str, Any]:
    """Ages of the newest frame of each track, in milliseconds; None before the first."""
    now_us = stream.clock.monotonic_us()
    health: dict[str, Any] = {
        "live": stream.is_live,
        "placeholder": stream.placeholder or None,
        "restarts": stream.restarts,
        "viewers": stream.demand.viewers,
        "frame_age_ms": None,
        "key_age_ms": None,
        "sound_age_ms": None,
    }
    for track in stream.tracks:
        stats = stream.stats[track.id]
        if track.kind is Kind.AUDIO:
            health["sound_age_ms"] = _age_ms(now_us, stats.last_unit_us)
        else:
            health["frame_age_ms"] = _age_ms(now_us, stats.last_unit_us)
            health["key_age_ms"] = _age_ms(now_us, stats.last_key_us)
    return health


def _age_ms(now_us: int, then_us: int | None) -> int | None:
    return None if then_us is None else (now_us - then_us) // 1000
