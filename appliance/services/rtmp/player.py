"""What one RTMP connection plays, from its question to the end.

Theory of operation: what leads to playing, or away from it, is one task at a time, as it waits: for
a publisher, for the socket to be empty. While it plays there is no task, and the fan-out writes to
the socket past the connection (see `Playing`). A pause ends that until it goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from appliance.errors import ApplianceError, CodecUnsupported, LimitExceeded, StreamNotFound
from appliance.media.track import Kind
from appliance.net.fanout import End
from appliance.net.fanout_pool import FanOutPool, Latency
from appliance.net.fanout_sink import cut_off
from appliance.net.tcp import TcpConnection
from appliance.services.contract import Context
from appliance.services.rtmp.core import RtmpCore
from appliance.services.rtmp.muxer import STREAM_ID
from appliance.services.rtmp.playing import ALL_KINDS, Playing
from appliance.services.rtmp.settings import Settings
from appliance.wire.rtmp.events import Event


class Player:
    """name: of the stream. latency: as the player asked. refuse: tells it why not.

    playing: once there is something to play. why: what ended it, if it was not the connection.
    """

    __slots__ = (
        *("_connection", "_context", "_core", "_kinds", "_latency", "_name", "_pool", "_refuse"),
        *("_settings", "_task", "playing", "why"),
    )

    def __init__(
        self,
        name: str,
        connection: TcpConnection[Event],
        context: Context,
        settings: Settings,
        pool: FanOutPool,
        refuse: Callable[[Exception], None],
        *,
        latency: Latency | None = None,
        kinds: frozenset[Kind] = ALL_KINDS,
    ) -> None:
        assert isinstance(connection.core, RtmpCore)
        self.playing: Playing | None = None
        self.why = ""
        self._name = name
        self._connection = connection
        self._core = connection.core
        self._context = context
        self._settings = settings
        self._pool = pool
        self._refuse = refuse
        self._latency = latency
        self._kinds = kinds
        self._task: asyncio.Task[None] | None = asyncio.create_task(self._run())

    @property
    def is_at_rest(self) -> bool:
        """It neither plays nor is about to: it pauses."""
        return self._task is None and not self._is_running

    @property
    def has_failed(self) -> bool:
        """By a fault of ours, or the connection would be closed."""
        return self._task is not None and self._task.done() and not self._is_running

    @property
    def _is_running(self) -> bool:
        return self.playing is not None and self.playing.is_running

    # -- from the question to the media -----------------------------------------------------------

    async def _run(self) -> None:
        """The outermost frame of what leads to playing."""
        try:
            playing = self.playing or await self._prepare()
            await self._connection.drain()
            self._task = None
            playing.start(self._on_end)
        except (CodecUnsupported, LimitExceeded, StreamNotFound) as error:
            self._refuse(error)
            await self._connection.close()
        except (ApplianceError, OSError) as error:
            await self._fail(str(error))

    async def _prepare(self) -> Playing:
        """Raises: StreamNotFound, CodecUnsupported, LimitExceeded; then nothing was promised."""
        name, settings = self._name, self._settings
        stream = await self._context.hub.wait_published(name, settings.wait_us)
        latency = self._latency or self._context.latency_of(name, settings.latency)
        playing = Playing(stream, self._connection, self._core, self._pool, latency)
        playing.kinds = self._kinds
        await playing.prepare()
        self.playing = playing
        self._core.rtmp.accept_play(STREAM_ID)
        self._connection.flush()
        return playing

    # -- what it asks meanwhile -------------------------------------------------------------------

    async def pause(self, paused: bool) -> bool:
        """Whether that is news."""
        playing = self.playing
        if playing is None or playing.is_paused == paused:
            return False
        playing.is_paused = paused
        await self.stop()
        self._go_on(playing)
        return True

    async def switch(self, kind: Kind, *, wanted: bool) -> None:
        """receiveAudio, receiveVideo: another rendition, if there is something left of it."""
        playing = self.playing
        if playing is None:
            return
        kinds = playing.kinds | {kind} if wanted else playing.kinds - {kind}
        if not kinds or kinds == playing.kinds:
            return
        await self.stop()
        playing.kinds = kinds
        self._go_on(playing)

    def _go_on(self, playing: Playing) -> None:
        self._connection.flush()  # answers that waited for the end of a message
        if not playing.is_paused:
            self._task = asyncio.create_task(self._run())

    # -- the end ----------------------------------------------------------------------------------

    def _on_end(self, end: End) -> None:
        self._task = asyncio.create_task(self._finish(end))

    async def _finish(self, end: End) -> None:
        """The stream is over, or the player has gone or is too slow: the connection ends."""
        if self.playing is not None:
            self.playing.stop()
        self.why = end.value
        if end in {End.GONE, End.STREAM}:
            if end is End.STREAM:
                self._core.rtmp.end_play(STREAM_ID)
            await self._connection.close()
        else:
            await self._fail(end.value)

    async def _fail(self, why: str) -> None:
        self._context.faults.count("rtmp", "play failed", f"{self._name} {why}")
        if self._connection.transport is not None:
            cut_off(self._connection.transport)
        await self._connection.close()

    async def stop(self) -> None:
        """Safe to call again. Raises: a fault of ours in what led to playing."""
        task, self._task = self._task, None
        if self.playing is not None:
            self.playing.stop()
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and (fault := task.exception()) is not None:
            raise fault

    async def see_off(self) -> None:
        """Returns when a player whose stream has ended was told so."""
        if self._task is not None and self.playing is not None:
            await asyncio.wait([self._task])
