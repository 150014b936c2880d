"""All streams of the device by name."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from appliance.errors import LimitExceeded, StreamBusy, StreamNotFound
from appliance.hub.alternatives import Bridge
from appliance.hub.clock import SYSTEM_CLOCK, Clock
from appliance.hub.names import stream_name
from appliance.hub.publisher import Publisher
from appliance.hub.signal import Signal
from appliance.hub.stream import Limits, Stream

log = logging.getLogger(__name__)

LEAST_KEEP_US = 50_000  # the newest keyframe and what follows it stay in any case


class Hub:
    """Finds streams, gives out write leases, forgets what is over.

    `changed` fires when a stream comes or goes; the streams' own changes are theirs to tell.
    on_wanted: called with the name of a stream that somebody wants to watch and that is not here:
        declares it if it can be fetched, else raises StreamNotFound or LimitExceeded.
    """

    def __init__(self, limits: Limits | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        self.limits = limits or Limits()
        self.clock = clock
        self.streams: dict[str, Stream] = {}
        self.changed = Signal()
        self.on_wanted: Callable[[str], None] | None = None
        self._bridge: Bridge | None = None
        self._keep_us = self.limits.units_keep_us  # of a stream while nobody watches it

    def use_bridge(self, bridge: Bridge) -> None:
        """Who makes other forms of sound, of all streams from now on."""
        self._bridge = bridge
        for stream in self.streams.values():
            stream.alternatives.bridge = bridge

    def declare(self, name: str) -> Stream:
        """A stream with a configured source: it exists before and between publishers."""
        stream = self._add(stream_name(name))
        stream.permanent = True
        return stream

    def publish(
        self,
        name: str,
        origin: str,
        *,
        takeover: bool = False,
        stamped: bool = False,
        placeholder: str = "",
    ) -> Publisher:
        """The write lease of a stream, to be used as an async context manager.

        A placeholder gives way to media, never the other way round. Raises: NameInvalid,
        LimitExceeded, StreamBusy if it is held and `takeover` is not set.
        """
        stream = self._add(stream_name(name))
        holder = stream.publisher
        if holder is not None:
            if not takeover and not (holder.placeholder and not placeholder):
                raise StreamBusy(f"{name} is already published by {holder.origin}")
            holder.revoke(origin)
            stream.release(holder)
        publisher = Publisher(stream, origin, stamped=stamped, placeholder=placeholder)
        stream.publisher = publisher
        stream.restarts += stream.has_run and not placeholder
        stream.changed.fire()
        return publisher

    def find(self, name: str) -> Stream:
        """The stream of this name. Raises: NameInvalid, StreamNotFound. Never makes one."""
        stream = self.streams.get(stream_name(name))
        if stream is None:
            raise StreamNotFound(f"there is no stream {name}")
        return stream

    def want(self, name: str) -> Stream:
        """As `find`, for who will watch it: it may be fetched for them, and have no media yet.

        Raises: NameInvalid, StreamNotFound, LimitExceeded.
        """
        self._fetch(stream_name(name))
        return self.find(name)

    async def wait_for(
        self, name: str, ready: Callable[[Stream], Awaitable[object]] = Stream.wait_tracks
    ) -> Stream:
        """The stream of this name, for who will watch it, once somebody publishes it.

        Where it may be fetched, it is asked for again whenever on_wanted is ready to; it fires
        `changed` when it is. ready: returns when there is enough of the stream, raises
        StreamNotFound when it has ended without. The caller bounds the wait. Raises: NameInvalid,
        LimitExceeded.
        """
        name = stream_name(name)
        while True:
            with suppress(StreamNotFound):
                self._fetch(name)
            if (stream := self.streams.get(name)) is None:
                await self.changed.wait()
                continue
            with suppress(StreamNotFound), stream.demand.viewer():
                await ready(stream)
                return stream

    async def wait_published(self, name: str, wait_us: int) -> Stream:
        """As `wait_for`, for so long. Raises: StreamNotFound if nobody publishes it meanwhile;
        NameInvalid, LimitExceeded."""
        try:
            async with asyncio.timeout(wait_us / 1_000_000):
                return await self.wait_for(name)
        except TimeoutError:
            raise StreamNotFound(f"nobody publishes {name}") from None

    def _fetch(self, name: str) -> None:
        if name not in self.streams and self.on_wanted is not None:
            self.on_wanted(name)

    def _add(self, name: str) -> Stream:
        stream = self.streams.get(name)
        if stream is None:
            if len(self.streams) >= self.limits.max_streams:
                raise LimitExceeded(f"there are already {len(self.streams)} streams")
            stream = self.streams[name] = Stream(name, self.clock, self.limits)
            stream.alternatives.bridge = self._bridge
            self.changed.fire()
        return stream

    def remove(self, name: str) -> None:
        """A configured stream is gone from the configuration."""
        stream = self.streams.pop(name, None)
        if stream is not None:
            stream.close()
            self.changed.fire()

    def sweep(self) -> None:
        """Housekeeping, once a second: unwatched renditions, streams that are over, memory."""
        for stream in list(self.streams.values()):
            stream.sweep()
            if stream.is_stale():
                log.info("%s is over", stream.name)
                self.remove(stream.name)

        self._bound_memory()

    def _bound_memory(self) -> None:
        """What unwatched streams hold for viewers to come, three segments of HLS, is a luxury:
        if it is too much, all have less of it, down to what begins with the newest keyframe."""
        limits = self.limits
        unwatched = [stream for stream in self.streams.values() if stream.is_unwatched]
        held_bytes = sum(stream.units.size_bytes for stream in unwatched)
        growth = limits.unwatched_bytes / max(1, held_bytes)
        if growth < 1:
            longest_us = max(stream.units.lag_us(stream.units.first) for stream in unwatched)
            self._keep_us = min(self._keep_us, longest_us)
        self._keep_us = min(limits.units_keep_us, max(LEAST_KEEP_US, int(self._keep_us * growth)))
        for stream in self.streams.values():
            is_bound = stream.is_unwatched
            stream.units.keep_us = self._keep_us if is_bound else limits.units_keep_us

    def close(self) -> None:
        for name in list(self.streams):
            self.remove(name)
