"""One RTMP connection: what it asks for is allowed or refused, and then published or played.

Theory of operation: the connection's events are handled in order. Media is published as it comes.
A player is handed to the fan-out, which from then on writes to its socket past the connection, so
the connection says nothing until the fan-out is done with it. A ticker ends who is silent.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from appliance import __version__
from appliance.containers.flv_tag_reader import FlvTagReader
from appliance.errors import (
    ApplianceError,
    AuthError,
    CodecUnsupported,
    LimitExceeded,
    NameInvalid,
    PeerError,
    StreamBusy,
    StreamNotFound,
)
from appliance.hub.access import Action, Credentials
from appliance.hub.names import stream_name
from appliance.hub.publisher import Publisher
from appliance.hub.sessions import Session
from appliance.hub.stream import Stream
from appliance.media.track import Kind
from appliance.media.unit import AccessUnit
from appliance.net.fanout import End, Viewer
from appliance.net.fanout_pool import FanOutPool
from appliance.net.fanout_sink import sink_of
from appliance.net.tcp import TcpConnection
from appliance.services.contract import Context
from appliance.services.rtmp.core import RtmpCore
from appliance.services.rtmp.muxer import STREAM_ID, RtmpMuxer
from appliance.services.rtmp.settings import Settings
from appliance.wire.rtmp.message import Message, MessageType
from appliance.wire.rtmp.server import (
    ConnectAsked,
    Event,
    Media,
    Paused,
    PlayAsked,
    PublishAsked,
    Stopped,
    Switched,
)
from appliance.wire.rtmp.target import Target, resolve

TICK_S = 1.0
IDLE_US = 30_000_000  # a connection that neither publishes nor plays
KEY_FIELDS = ("key", "token", "secret", "pass", "password")
USER_FIELDS = ("user", "username")
SHOWN_CHARS = 200
_CODES = {
    Action.PUBLISH: "NetStream.Publish",
    Action.PLAY: "NetStream.Play",
}
_KINDS = {Media.AUDIO: Kind.AUDIO, Media.VIDEO: Kind.VIDEO}


@dataclass(slots=True)
class Publishing:
    stream_id: int
    publisher: Publisher
    reader: FlvTagReader
    newest_us: int
    has_media: bool = False


class Playing:
    """What one player sees. `run` until it is cancelled or the stream is over."""

    def __init__(self, stream: Stream, connection: TcpConnection[Event], pool: FanOutPool) -> None:
        self.stream = stream
        self.kinds = set(Kind)
        self.viewer: Viewer | None = None
        self.lost_units = 0
        self._connection = connection
        self._pool = pool
        self._counted_bytes = 0

    async def run(self) -> End:
        """Raises: CodecUnsupported, LimitExceeded, StreamNotFound before anything is sent."""
        name = "rtmp" if len(self.kinds) == 2 else f"rtmp-{'-'.join(sorted(self.kinds))}"
        rendition = self.stream.rendition(name, lambda: RtmpMuxer(frozenset(self.kinds)))
        transport = self._connection.transport
        if transport is None or transport.is_closing():
            return End.GONE
        with rendition.demand.viewer():
            fanout = self._pool.of(rendition.ring)
            self._counted_bytes = 0
            with fanout.viewing(sink_of(transport)) as self.viewer:
                if self.viewer.needs_key:
                    self.stream.request_keyframe()
                return await self.viewer.wait()

    def take_sent_bytes(self) -> int:
        """Since it was asked last."""
        if self.viewer is None:
            return 0
        sent = self.viewer.sent_bytes - self._counted_bytes
        self._counted_bytes = self.viewer.sent_bytes
        return sent

    @property
    def is_whole(self) -> bool:
        """Nothing of a message is left to be sent, so another one may begin."""
        return self.viewer is None or self.viewer.rest is None


class RtmpSession:
    """`run` until the connection ends. Raises what ended it."""

    def __init__(
        self,
        connection: TcpConnection[Event],
        context: Context,
        settings: Settings,
        pool: FanOutPool,
    ) -> None:
        assert isinstance(connection.core, RtmpCore)
        self._connection = connection
        self._core = connection.core
        self._server = connection.core.rtmp
        self._context = context
        self._settings = settings
        self._pool = pool
        self._asked = ConnectAsked("", "")
        self._session: Session | None = None
        self._publishing: Publishing | None = None
        self._playing: Playing | None = None
        self._play_task: asyncio.Task[None] | None = None
        self._counted_bytes = 0
        self._idle_since_us = self._now_us()

    def _now_us(self) -> int:
        return self._context.hub.clock.monotonic_us()

    async def run(self) -> None:
        ticker = asyncio.create_task(self._tick())
        try:
            async for events in self._connection:
                for event in events:
                    await self._handle(event)
                self._connection.flush()
        finally:
            ticker.cancel()
            await self._end_play()
            self._end_publish("the connection ended")
            if self._session is not None:
                self._context.sessions.close(self._session)

    # -- what the peer asks -----------------------------------------------------------------------

    async def _handle(self, event: Event) -> None:
        match event:
            case Message():
                self._receive(event)
            case ConnectAsked():
                self._asked = event
                self._server.accept_connect(self._info())
            case PublishAsked():
                await self._publish(event)
            case PlayAsked():
                await self._play(event)
            case Stopped():
                self._end_publish("the publisher stopped")
                await self._end_play()
            case Paused():
                await self._pause(event.paused)
            case Switched():
                await self._switch(_KINDS[event.media], wanted=event.wanted)

    def _info(self) -> dict[str, float | str]:
        """What SRS's tools read of the answer to connect."""
        return {
            "version": __version__,
            "srs_sig": "Porthole",
            "srs_server": f"Porthole/{__version__}",
            "srs_version": __version__,
            "srs_id": self._open_session("rtmp-play").slug,
        }

    def _open_session(self, kind: str) -> Session:
        session = self._session
        if session is None:
            session = self._context.sessions.open("rtmp", kind, self._connection.peer_ip)
            session.kick = self._connection.abort
            session.user_agent = self._asked.flash_version[:SHOWN_CHARS]
            session.page_url = self._asked.page_url[:SHOWN_CHARS]
            self._session = session
        session.kind = kind
        return session

    async def _admit(self, action: Action, target: Target) -> str:
        """The stream's name. Raises: NameInvalid, AuthError, LimitExceeded."""
        name = stream_name(target.name if target.stream else "")
        query = target.query
        key = next((query[field] for field in KEY_FIELDS if query.get(field)), "")
        user = next((query[field] for field in USER_FIELDS if query.get(field)), "")
        credentials = Credentials(user, key) if user else Credentials(key=key)
        await self._context.access.check(action, name, self._connection.peer_ip, credentials)
        return name

    def _refuse(self, action: Action, stream_id: int, error: Exception) -> None:
        """In words that encoders show, and counted."""
        word = {
            StreamBusy: "BadName",
            NameInvalid: "BadName",
            AuthError: "Denied" if action is Action.PUBLISH else "Failed",
            StreamNotFound: "StreamNotFound",
        }.get(type(error), "Failed")
        code = f"{_CODES[action]}.{word}"
        self._server.refuse(stream_id, code, str(error) or type(error).__name__)
        self._connection.flush()
        detail = f"{self._connection.peer_ip} {error}"
        self._context.faults.count("rtmp", f"{action.value} refused", detail)

    # -- publishing -------------------------------------------------------------------------------

    async def _publish(self, event: PublishAsked) -> None:
        target = resolve(self._asked.tc_url, self._asked.app, event.name)
        try:
            if self._publishing is not None or self._playing is not None:
                raise LimitExceeded("this connection publishes or plays already")
            name = await self._admit(Action.PUBLISH, target)
            session = self._open_session("fmle-publish" if event.is_fmle else "flash-publish")
            takeover = any(s.name == name and s.takeover for s in self._context.streams)
            publisher = self._context.hub.publish(name, session.id, takeover=takeover)
        except (AuthError, LimitExceeded, NameInvalid, StreamBusy) as error:
            self._refuse(Action.PUBLISH, event.stream_id, error)
            return
        session.stream, session.is_publisher = name, True
        session.url = f"/{name}"
        self._connection.established()
        self._publishing = Publishing(
            event.stream_id, publisher, FlvTagReader(), newest_us=self._now_us()
        )
        self._server.accept_publish(event.stream_id)
        session.log.info("publishes from %s", self._connection.peer_ip)

    def _receive(self, message: Message) -> None:
        """Media of a publisher. Raises: PeerError for what cannot be carried, StreamBusy."""
        publishing = self._publishing
        if publishing is None or message.stream_id != publishing.stream_id:
            return
        for event in publishing.reader.receive(message.kind, message.timestamp_ms, message.payload):
            if isinstance(event, AccessUnit):
                publishing.publisher.write(event)
            else:
                publishing.publisher.describe(event)
        if message.kind != MessageType.DATA:
            publishing.has_media = True
            publishing.newest_us = self._now_us()

    def _end_publish(self, why: str) -> None:
        publishing, self._publishing = self._publishing, None
        if publishing is None:
            return
        self._idle_since_us = self._now_us()
        publishing.publisher.close()
        if self._session is not None:
            self._count_received()
            session = self._session
            seconds = (self._now_us() - publishing.publisher.since_us) / 1_000_000
            session.log.info(
                "ended after %.1f s, %d bytes: %s", seconds, session.received.total_bytes, why
            )
            session.is_publisher = False

    # -- playing ----------------------------------------------------------------------------------

    async def _play(self, event: PlayAsked) -> None:
        target = resolve(self._asked.tc_url, self._asked.app, event.name)
        try:
            if self._publishing is not None or self._play_task is not None:
                raise LimitExceeded("this connection publishes or plays already")
            if event.stream_id != STREAM_ID:
                raise LimitExceeded("play on the first message stream that was created")
            name = await self._admit(Action.PLAY, target)
            session = self._open_session("rtmp-play")
        except (AuthError, LimitExceeded, NameInvalid) as error:
            self._refuse(Action.PLAY, event.stream_id, error)
            return
        session.stream, session.url = name, f"/{name}"
        self._connection.established()
        self._play_task = asyncio.create_task(self._run_play(event.stream_id, name))

    async def _run_play(self, stream_id: int, name: str) -> None:
        """The outermost frame of playing; ends the connection with the stream."""
        try:
            stream = await self._wait_for(name)
            self._playing = Playing(stream, self._connection, self._pool)
            self._server.accept_play(stream_id)
            self._connection.flush()
            await self._show(self._playing)
            self._server.end_play(stream_id)
            self._connection.flush()
        except (CodecUnsupported, LimitExceeded, StreamNotFound) as error:
            self._core.is_muted = False
            self._refuse(Action.PLAY, stream_id, error)
        except (ApplianceError, OSError) as error:
            self._context.faults.count("rtmp", "play failed", f"{name} {error}")
        await self._connection.close()

    async def _wait_for(self, name: str) -> Stream:
        """Raises: StreamNotFound if nobody publishes it within the time that players may wait."""
        try:
            async with asyncio.timeout(self._settings.wait_us / 1_000_000):
                stream = await self._context.hub.wait_for(name)
                with stream.demand.viewer():
                    await stream.wait_tracks()
                return stream
        except TimeoutError:
            raise StreamNotFound(f"nobody publishes {name}") from None

    async def _show(self, playing: Playing) -> None:
        await self._connection.drain()
        self._core.is_muted = True
        try:
            end = await playing.run()
        finally:
            self._count_sent(playing)
            self._core.is_muted = False
        if end is not End.STREAM:
            raise PeerError(end.value)

    async def _pause(self, paused: bool) -> None:
        if self._playing is None or not self._playing.is_whole:
            return
        playing = self._playing
        await self._cancel_play()
        self._connection.flush()  # the answer, which waited
        if not paused:
            self._playing = playing
            self._play_task = asyncio.create_task(self._go_on(playing))
        else:
            self._playing = playing

    async def _switch(self, kind: Kind, *, wanted: bool) -> None:
        """receiveAudio, receiveVideo: another rendition, if there is something left of it."""
        playing = self._playing
        if playing is None or not playing.is_whole:
            return
        kinds = playing.kinds | {kind} if wanted else playing.kinds - {kind}
        if not kinds or kinds == playing.kinds:
            return
        await self._cancel_play()
        playing.kinds = kinds
        self._playing = playing
        self._play_task = asyncio.create_task(self._go_on(playing))

    async def _go_on(self, playing: Playing) -> None:
        try:
            await self._show(playing)
            self._server.end_play(STREAM_ID)
            self._connection.flush()
        except (ApplianceError, OSError) as error:
            self._context.faults.count("rtmp", "play failed", str(error))
        await self._connection.close()

    async def _cancel_play(self) -> None:
        task, self._play_task = self._play_task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _end_play(self) -> None:
        await self._cancel_play()
        self._playing = None
        self._idle_since_us = self._now_us()

    # -- once a second ----------------------------------------------------------------------------

    async def _tick(self) -> None:
        """Ends who is silent, and keeps the figures."""
        while True:
            await asyncio.sleep(TICK_S)
            if self._session is not None:
                self._count_received()
            if self._playing is not None:
                self._count_sent(self._playing)
            reason = self._overdue(self._now_us())
            if reason is not None:
                self._context.faults.count(
                    "rtmp", reason, self._session.id if self._session is not None else ""
                )
                self._connection.abort()

    def _overdue(self, now_us: int) -> str | None:
        settings, publishing = self._settings, self._publishing
        if publishing is None:
            is_idle = self._play_task is None and self._playing is None
            return "idle" if is_idle and now_us - self._idle_since_us > IDLE_US else None
        limit_us = settings.silence_us if publishing.has_media else settings.first_packet_us
        if now_us - publishing.newest_us > limit_us:
            return "publisher is silent"
        demand = publishing.publisher.stream.demand
        since_us = max(demand.idle_since_us, publishing.publisher.since_us)
        if settings.idle_publisher_us and not demand.viewers:
            return "nobody watches" if now_us - since_us > settings.idle_publisher_us else None
        return None

    def _count_received(self) -> None:
        received = self._server.received_bytes
        assert self._session is not None
        self._session.received.add(received - self._counted_bytes, self._now_us())
        self._counted_bytes = received

    def _count_sent(self, playing: Playing) -> None:
        if self._session is not None:
            self._session.sent.add(playing.take_sent_bytes(), self._now_us())
            self._session.lost_units = playing.viewer.lost_units if playing.viewer else 0
