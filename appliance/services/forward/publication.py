"""One connection that publishes a stream elsewhere, from the handshake to the goodbye.

Media is read from the stream's own ring by a cursor, so a slow destination holds nothing but what
its socket has taken; when it is too far behind, the cursor jumps to the newest keyframe.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

from appliance import __version__
from appliance.errors import PeerError
from appliance.hub.clock import SYSTEM_CLOCK
from appliance.hub.stream import Stream
from appliance.hub.subscription import Start, Subscription
from appliance.media.unit import AccessUnit
from appliance.net.fanout_sink import set_streaming_options
from appliance.net.tcp import TcpConnection, TcpLimits
from appliance.net.tcp_client import connect_tcp
from appliance.services.forward.destination import Destination
from appliance.services.forward.tags import TagFeed
from appliance.wire.rtmp.client import Event, Purpose, Refused, RtmpClient, Started

GRACE_S = 2.0  # how long a publisher may be away (a camera gives way to its slate) without an end
STALE_US = 1_000_000  # a keyframe this much older than the publisher is another publisher's
LIMITS = TcpLimits(
    idle_s=None,  # servers have little to say to publishers
    unhandled_bytes=64 << 10,
    unsent_bytes=6 << 20,  # the largest unit that the hub takes, and what waits before it
)
SHORT_LIMITS = replace(LIMITS, deadline_s=4.0, stall_s=4.0)  # where another one stands ready


class Refusal(PeerError):
    """The destination will not have the stream. redirect: where to try instead, or empty."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(f"refused: {refused.code}: {refused.text}")
        self.redirect = refused.redirect


@dataclass(slots=True)
class Progress:
    """What has been sent on one connection. sent_dts_us: of the newest unit; position: of the next
    one in the ring, where the connection before this one ended, too."""

    position: int | None = None
    started_us: int | None = None
    sent_bytes: int = 0
    dropped_units: int = 0
    sent_dts_us: int | None = None


class ClientCore:
    """RTMP's client as the TCP pump drives it."""

    def __init__(self, destination: Destination) -> None:
        address = destination.address
        self.rtmp = RtmpClient(
            Purpose.PUBLISH,
            tc_url=address.tc_url,
            app=address.app,
            name=address.name,
            noise=os.urandom(1536),
            agent=f"FMLE/3.0 (compatible; Porthole/{__version__})",
        )

    def receive(self, data: bytes) -> list[Event]:
        return self.rtmp.receive(data, SYSTEM_CLOCK.monotonic_us())

    def receive_eof(self) -> list[Event]:
        raise PeerError("the destination closed the connection")

    def take_output(self) -> bytes:
        return self.rtmp.take_output()


class Publication:
    """`run` once. on_start: called when the destination has agreed. is_spare: others can take the
    stream, so this one is left sooner.
    """

    def __init__(
        self,
        stream: Stream,
        progress: Progress,
        max_backlog_us: int,
        on_start: Callable[[], None],
        *,
        is_spare: bool = False,
    ) -> None:
        self._stream = stream
        self._progress = progress
        self._max_backlog_us = max_backlog_us
        self._on_start = on_start
        self._is_spare = is_spare
        self._started = asyncio.Event()
        self._tags = TagFeed()

    async def run(
        self,
        destination: Destination,
        tls: ssl.SSLContext | None,
        check: Callable[[TcpConnection[Event]], None],
    ) -> None:
        """Returns when nobody publishes the stream any more. check: may refuse the connection.

        Raises: Refusal, PeerError, CodecUnsupported, OSError, TimeoutError.
        """
        core, address = ClientCore(destination), destination.address
        limits = SHORT_LIMITS if self._is_spare else LIMITS
        connection = await connect_tcp(address.host, address.port, core, limits, tls=tls)
        async with connection:
            check(connection)
            if connection.transport is not None:
                set_streaming_options(connection.transport.get_extra_info("socket"))
            try:
                await first(
                    self._listen(connection),
                    self._send(connection, core.rtmp),
                    until_unpublished(self._stream),
                )
            finally:
                core.rtmp.stop()
                connection.flush()

    async def _listen(self, connection: TcpConnection[Event]) -> None:
        async for events in connection:
            for event in events:
                if isinstance(event, Refused):
                    raise Refusal(event)
                if isinstance(event, Started):
                    connection.established()
                    self._started.set()
        raise PeerError("the destination closed the connection")

    async def _send(self, connection: TcpConnection[Event], client: RtmpClient) -> None:
        await self._started.wait()
        self._progress.started_us = self._stream.clock.monotonic_us()
        self._on_start()
        with self._stream.reading():
            await self._send_all(connection, client)

    async def _send_all(self, connection: TcpConnection[Event], client: RtmpClient) -> None:
        ring = self._stream.units
        cursor, resumed = self._begin(), self._progress.position
        while not ring.closed:
            if not (batch := cursor.take()):
                await ring.signal.wait()
                continue
            end = cursor.position
            if self._progress.sent_dts_us is None:  # what went by while it waited is not lost
                cursor.lost_units = max(0, end - len(batch) - resumed) if resumed else 0
            self._progress.dropped_units = cursor.lost_units
            for position, unit in enumerate(batch, end - len(batch) + 1):
                self._progress.position = position
                await self._write(connection, client, unit)
                if ring.lag_us(position) > self._max_backlog_us:
                    cursor.position = position  # look again whether to go on or to jump
                    break

    def _begin(self) -> Subscription[AccessUnit]:
        """At the newest keyframe, if it is of this publisher; else one is asked for."""
        stream = self._stream
        key, publisher = stream.units.last_key(), stream.publisher
        has_key = (
            key is not None
            and publisher is not None
            and stream.units[key].dts_us >= publisher.since_us - STALE_US
        )
        if not has_key:
            stream.request_keyframe()
        start = Start.LAST_KEY if has_key else Start.NEXT_KEY
        return stream.subscribe(start, max_lag_us=self._max_backlog_us)

    async def _write(
        self, connection: TcpConnection[Event], client: RtmpClient, unit: AccessUnit
    ) -> None:
        for tag in self._tags.feed(unit, self._stream.tracks):
            client.send_media(tag.kind, tag.timestamp_ms, tag.payload)
        connection.flush()
        self._progress.sent_bytes = connection.sent_bytes
        self._progress.sent_dts_us = unit.dts_us
        await connection.drain()


async def until_published(stream: Stream) -> bool:
    """Returns once somebody publishes it; False if it is over."""
    while not stream.closed:
        if stream.publisher is not None and stream.tracks:
            return True
        await stream.changed.wait()
    return False


async def until_unpublished(stream: Stream) -> None:
    """Returns once nobody has published it for a moment, or at its end."""
    while not stream.closed:
        if stream.publisher is not None:
            await stream.changed.wait()
            continue
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE_S):
                while stream.publisher is None and not stream.closed:
                    await stream.changed.wait()
        if stream.publisher is None:
            return


async def first(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Runs them until one returns or fails, which is the outcome; the others are cancelled."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if task in done:
            task.result()
