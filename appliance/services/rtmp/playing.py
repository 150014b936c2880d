"""What one player of a connection sees of a stream."""

from __future__ import annotations

from appliance.hub.rendition import Rendition
from appliance.hub.stream import Stream
from appliance.media.track import Kind
from appliance.net.fanout import End, FanOut, Viewer
from appliance.net.fanout_pool import FanOutPool, Latency
from appliance.net.fanout_sink import sink_of
from appliance.net.tcp import TcpConnection
from appliance.services.rtmp.core import RtmpCore
from appliance.services.rtmp.muxer import RtmpMuxer
from appliance.wire.rtmp.events import Event


class Playing:
    """`run` shows the stream until it is over or the run is cancelled, as for a pause.

    While it runs the fan-out writes to the connection's socket, past the connection; before and
    after that nothing of a message is left over, so that the connection may speak.
    """

    def __init__(
        self,
        stream: Stream,
        connection: TcpConnection[Event],
        core: RtmpCore,
        pool: FanOutPool,
        latency: Latency,
    ) -> None:
        self.kinds = frozenset(Kind)
        self.is_paused = False
        self.lost_units = 0
        self._stream = stream
        self._connection = connection
        self._core = core
        self._pool = pool
        self._latency = latency
        self._place: tuple[FanOut, Viewer] | None = None
        self._sent_bytes = 0  # not yet counted, of runs that are over
        self._counted_bytes = 0  # of this run

    def rendition(self) -> Rendition:
        """Raises: CodecUnsupported, LimitExceeded, StreamNotFound."""
        kinds = self.kinds
        name = "rtmp" if len(kinds) == len(Kind) else f"rtmp-{'-'.join(sorted(kinds))}"
        return self._stream.rendition(name, lambda: RtmpMuxer(kinds))

    async def run(self) -> End:
        """Raises: what `rendition` does; OSError if no descriptor is left."""
        rendition = self.rendition()
        await self._connection.drain()
        transport = self._connection.transport
        if transport is None or transport.is_closing():
            return End.GONE
        rest = b""
        self._core.is_muted = True
        self._connection.rest()
        try:
            with rendition.demand.viewer():
                fanout = self._pool.of(rendition.ring, self._latency)
                with fanout.viewing(sink_of(transport)) as viewer:
                    self._place = fanout, viewer
                    if viewer.needs_key:
                        self._stream.request_keyframe()
                    try:
                        return await viewer.wait()
                    finally:
                        rest = bytes(viewer.rest or b"")
        finally:
            self._leave()
            self._connection.resume()
            self._connection.write(rest)

    def _leave(self) -> None:
        self._sent_bytes = self.take_sent_bytes()
        self._counted_bytes = 0
        self._place = None
        self._core.is_muted = False

    def speak(self) -> None:
        """Lets the connection say what it has to, if the fan-out is between two messages."""
        if self._place is None:
            return
        fanout, viewer = self._place
        if viewer.end is None and viewer.rest is None and (said := self._core.take_said()):
            fanout.interject(viewer, said)

    def take_sent_bytes(self) -> int:
        """Since it was asked last."""
        sent, self._sent_bytes = self._sent_bytes, 0
        if self._place is not None:
            viewer = self._place[1]
            self.lost_units = viewer.lost_units
            sent += viewer.sent_bytes - self._counted_bytes
            self._counted_bytes = viewer.sent_bytes
        return sent
