"""What one RTSP connection looks at and plays: from the first question about a stream to the end.

Theory of operation: a stream is viewed, of which tracks are described and set up, and then played,
with pauses, until that is torn down. Packets are sent by fan-outs (see `Playing`), and begin once
the answer to PLAY is sent.
"""

from __future__ import annotations

from appliance.errors import ApplianceError
from appliance.net.fanout import End
from appliance.net.fanout_sink import cut_off
from appliance.net.tcp import TcpConnection
from appliance.services.contract import Context
from appliance.services.rtsp.core import CoreEvent, RtspCore
from appliance.services.rtsp.groups import GroupPlaying
from appliance.services.rtsp.outlets import Outlets
from appliance.services.rtsp.playing import Playing
from appliance.services.rtsp.viewing import Viewing
from appliance.wire.rtsp.server import State


class Player:
    """viewing: of what was asked about last. playing: since the first PLAY, paused or not.

    why: what ended it, if it was not the connection.
    """

    __slots__ = (
        *("_connection", "_context", "_core", "_outlets"),
        *("has_played", "playing", "viewing", "why"),
    )

    def __init__(
        self, connection: TcpConnection[CoreEvent], context: Context, outlets: Outlets
    ) -> None:
        assert isinstance(connection.core, RtspCore)
        self.viewing: Viewing | None = None
        self.playing: Playing | GroupPlaying | None = None
        self.has_played = False
        self.why = ""
        self._connection = connection
        self._core = connection.core
        self._context = context
        self._outlets = outlets

    @property
    def is_running(self) -> bool:
        return self.playing is not None and self.playing.is_running

    async def view(self, name: str, wait_us: int) -> Viewing:
        """Raises: StreamNotFound, CodecUnsupported, LimitExceeded."""
        stream = await self._context.hub.wait_published(name, wait_us)
        way = self._connection, self._core, self._outlets
        viewing = Viewing(stream, *way, self._note_sign)
        if self.viewing is not None:
            self.viewing.close()
        self.viewing = viewing
        return viewing

    def _note_sign(self) -> None:
        self._core.rtsp.heard(self._context.hub.clock.monotonic_us())

    def begin(self, playing: Playing | GroupPlaying) -> None:
        """Its first PLAY."""
        self.playing = playing
        self.has_played = True

    async def start(self) -> bool:
        """Once the answer to PLAY is sent; whether there was something to start."""
        playing, server = self.playing, self._core.rtsp
        if playing is None or playing.is_running:
            return False
        try:
            await self._connection.drain()
            if self.playing is not playing or server.state is not State.PLAYING:
                return False  # a TEARDOWN or PAUSE, by the POST of a tunnel
            playing.start(self._on_end)
        except (ApplianceError, OSError) as error:
            self._count_fault(str(error))
            self.why = str(error)
            self._connection.abort()
        return True

    def _on_end(self, end: End) -> None:
        """The stream is over, or the player has gone or is too slow: the connection ends."""
        playing = self.playing
        if playing is not None:
            playing.stop()
            if end is End.STREAM:
                playing.say_goodbye()
        self.why = end.value
        if end is End.STREAM:
            self._connection.flush()
            if self._connection.transport is not None:
                self._connection.transport.close()
            return
        if end is not End.GONE:
            self._count_fault(end.value)
        if self._connection.transport is not None:
            cut_off(self._connection.transport)

    def _count_fault(self, why: str) -> None:
        name = self.viewing.stream.name if self.viewing is not None else ""
        detail = f"{self._connection.peer_ip} {name} {why}"
        self._context.faults.count("rtsp", "play failed", detail)

    def stop(self) -> bool:
        """Nothing is viewed any more; whether something was played. Safe to call again."""
        playing, self.playing = self.playing, None
        viewing, self.viewing = self.viewing, None
        if playing is not None:
            playing.stop()
        if viewing is not None:
            viewing.close()
        return playing is not None
