"""What one player of a connection sees of a stream."""

from __future__ import annotations

from collections.abc import Callable

from appliance.hub.rendition import MuxerFactory, Rendition
from appliance.hub.stream import Stream
from appliance.media.track import Kind
from appliance.net.fanout import End, FanOut, Viewer
from appliance.net.fanout_pool import FanOutPool, Latency
from appliance.net.fanout_sink import sink_of
from appliance.net.tcp import TcpConnection
from appliance.services.rtmp.core import RtmpCore
from appliance.services.rtmp.muxer import RtmpMuxer
from appliance.wire.rtmp.events import Event

ALL_KINDS = frozenset(Kind)


class Playing:
    """What is shown from `start` until the stream ends it, or `stop`, as for a pause.

    Meanwhile the fan-out writes to the connection's socket, past the connection; before and
    after that nothing of a message is left over, so that the connection may speak. No task waits
    for it, as there may be a thousand.
    """

    __slots__ = (
        *("_connection", "_core", "_latency", "_past_bytes", "_past_units", "_place", "_pool"),
        *("_stream", "is_paused", "kinds"),
    )

    def __init__(
        self,
        stream: Stream,
        connection: TcpConnection[Event],
        core: RtmpCore,
        pool: FanOutPool,
        latency: Latency,
    ) -> None:
        self.kinds = ALL_KINDS
        self.is_paused = False
        self._stream = stream
        self._connection = connection
        self._core = core
        self._pool = pool
        self._latency = latency
        self._place: tuple[Rendition, FanOut, Viewer] | None = None
        self._past_bytes = self._past_units = 0  # sent and lost in runs that are over

    async def prepare(self) -> None:
        """What `start` shows. Raises: CodecUnsupported, LimitExceeded, StreamNotFound."""
        await self._stream.open_rendition(*self._form())

    def _form(self) -> tuple[str, MuxerFactory]:
        kinds = self.kinds
        name = "rtmp" if kinds == ALL_KINDS else f"rtmp-{'-'.join(sorted(kinds))}"
        return name, lambda: RtmpMuxer(kinds)

    @property
    def is_running(self) -> bool:
        return self._place is not None

    def start(self, on_end: Callable[[End], object]) -> None:
        """on_end: called once unless `stop` is; then call that. The connection must be drained.

        Raises: what `prepare` does; OSError if no descriptor is left.
        """
        rendition = self._stream.rendition(*self._form())
        transport = self._connection.transport
        if transport is None or transport.is_closing():
            on_end(End.GONE)
            return
        sink = sink_of(transport)
        fanout = self._pool.of(rendition.ring, self._latency)
        self._core.is_muted = True
        self._connection.rest()
        ring, pool = rendition.ring, self._pool
        rendition.patience_us = lambda: pool.patience_us(ring)
        rendition.demand.join()
        viewer = fanout.add(sink, self._stream.place_to_join(ring))
        self._place = rendition, fanout, viewer
        if viewer.end is not None:
            on_end(viewer.end)
            return
        viewer.on_end = on_end
        if viewer.needs_key:
            self._stream.request_keyframe()

    def stop(self) -> None:
        """Safe to call again."""
        if self._place is None:
            return
        rendition, fanout, viewer = self._place
        rest = bytes(viewer.rest or b"")
        viewer.on_end = None
        fanout.remove(viewer)
        rendition.demand.leave()
        self._past_bytes, self._past_units = self.sent_bytes, self.lost_units
        self._place = None
        self._core.is_muted = False
        self._connection.resume()
        self._connection.write(rest)

    def speak(self) -> None:
        """Lets the connection say what it has to, if the fan-out is between two messages."""
        if self._place is None:
            return
        _, fanout, viewer = self._place
        if viewer.end is None and viewer.rest is None and (said := self._core.take_said()):
            fanout.interject(viewer, said)

    @property
    def sent_bytes(self) -> int:
        return self._past_bytes + (self._place[2].sent_bytes if self._place is not None else 0)

    @property
    def lost_units(self) -> int:
        """What it was too slow for."""
        return self._past_units + (self._place[2].lost_units if self._place is not None else 0)
