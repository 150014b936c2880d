"""The transcode service: says which forms of a sound there could be, and makes those wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from appliance.hub.alternatives import Alternative
from appliance.hub.stream import Stream
from appliance.media.aac import AacConfig
from appliance.media.opus import CLOCK_HZ, OpusConfig
from appliance.media.track import Codec, CodecConfig, Track
from appliance.services.contract import Context, StreamSettings
from appliance.services.transcode.feed import Feed
from appliance.services.transcode.settings import Settings
from appliance.wire.pipe.messages import AAC_ID, OPUS_ID

SOUNDS = frozenset({Codec.PCMA, Codec.PCMU, Codec.L16, Codec.MP3, Codec.AAC, Codec.OPUS})
AAC_RATES_HZ = frozenset({32_000, 44_100, 48_000})  # which every player decodes
USUAL_RATE_HZ = 48_000


class Transcode:
    """The service (services/contract.py), and the hub's Bridge."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self.settings = settings
        self.working = 0
        self._context = context
        self._feeds: set[Feed] = set()  # bounded: one per stream and codec
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._context.reports["transcode"] = self.report
        self._context.hub.use_bridge(self)

    async def stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def reload(self, settings: Any, streams: tuple[StreamSettings, ...]) -> list[str]:
        """Workers that run keep what they began with."""
        changed, self.settings = settings != self.settings, settings
        return ["transcode (of sound being listened to)"] if changed and self.working else []

    def report(self) -> list[dict[str, Any]]:
        return [feed.report() for feed in sorted(self._feeds, key=lambda feed: feed.name)]

    # -- the bridge (hub/alternatives.py) ------------------------------------------------------

    def offers(self, native: Track) -> Sequence[Track]:
        """AAC first, which most can play."""
        if native.codec not in SOUNDS or not self.settings.workers:
            return ()
        made = (
            Track(AAC_ID, config := aac_of(native.config), config.sample_rate_hz),
            Track(OPUS_ID, OpusConfig(_channels(native.config)), CLOCK_HZ),
        )
        return tuple(track for track in made if track.codec is not native.codec)

    def begin(self, stream: Stream, alternative: Alternative) -> Callable[[], object]:
        feed = Feed(self, self._context, stream, alternative)
        task = self._context.supervisor.keep(f"transcode {feed.name}", feed.run)
        self._feeds.add(feed)
        self._tasks.add(task)

        def forget(ended: asyncio.Task[None]) -> None:
            self._tasks.discard(ended)
            self._feeds.discard(feed)

        task.add_done_callback(forget)
        return task.cancel


def aac_of(config: CodecConfig) -> AacConfig:
    rate_hz: int = getattr(config, "sample_rate_hz", USUAL_RATE_HZ)
    return AacConfig.lc(rate_hz if rate_hz in AAC_RATES_HZ else USUAL_RATE_HZ, _channels(config))


def _channels(config: CodecConfig) -> int:
    return min(2, max(1, getattr(config, "channels", 1)))


def create(settings: Settings, context: Context) -> Transcode:
    return Transcode(settings, context)
