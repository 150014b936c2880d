"""One RTMP connection: what it asks for is allowed or refused, and then published or played.

Theory of operation: the connection's events are handled in order. Media is published as it comes.
What is played goes to the socket past the connection (see `Player`). The service calls `tick` once
a second, which ends who is silent or says too much.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from appliance import __version__
from appliance.errors import (
    AuthError,
    LimitExceeded,
    NameInvalid,
    PeerError,
    StreamBusy,
    StreamNotFound,
)
from appliance.hub.access import Action, Credentials
from appliance.hub.names import stream_name
from appliance.hub.sessions import Session
from appliance.media.track import Kind
from appliance.net.fanout_pool import FanOutPool, Latency
from appliance.net.tcp import TcpConnection
from appliance.services.contract import Context
from appliance.services.rtmp.core import RtmpCore
from appliance.services.rtmp.muxer import STREAM_ID
from appliance.services.rtmp.player import Player
from appliance.services.rtmp.publishing import Publishing
from appliance.services.rtmp.settings import Settings
from appliance.wire.rtmp.events import (
    ConnectAsked,
    Event,
    Media,
    Paused,
    PlayAsked,
    PublishAsked,
    Stopped,
    Switched,
)
from appliance.wire.rtmp.message import Message
from appliance.wire.rtmp.target import Target, resolve

IDLE_US = 30_000_000  # a connection that neither publishes nor plays
PAUSE_US = 600_000_000  # a player that forgot that it is one
GOODBYE_US = 3_000_000  # an encoder whose media is refused, to read why
MAX_TALK_BYTES = 256 << 10  # of a player, between two ticks: it has next to nothing to say
LEAST_PAUSE_US = 20_000  # of reading; a shorter one spares too little
OFF = {"0", "false", "no", "off"}
_CODES = {
    Action.PUBLISH: "NetStream.Publish",
    Action.PLAY: "NetStream.Play",
}
_KINDS = {Media.AUDIO: Kind.AUDIO, Media.VIDEO: Kind.VIDEO}


class RtmpSession:
    """`run` until the connection ends. Raises what ended it.

    settings: may be replaced at any time.
    """

    __slots__ = (
        *("_asked", "_connection", "_context", "_core", "_idle_until_us"),
        *("_is_still_allowed", "_number", "_player", "_pool", "_publishing", "_received_bytes"),
        *("_server", "_session", "_why", "settings"),
    )

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
        self.settings = settings
        self._pool = pool
        self._asked = ConnectAsked("", "")
        self._number: int | None = None  # of our sessions, one after the other
        self._session: Session | None = None
        self._publishing: Publishing | None = None
        self._player: Player | None = None
        self._why = "the connection ended"
        self._received_bytes = 0  # as of the last tick
        self._idle_until_us = self._now_us() + IDLE_US
        self._is_still_allowed: Callable[[], bool] = lambda: True

    def _now_us(self) -> int:
        return self._context.hub.clock.monotonic_us()

    async def run(self) -> None:
        try:
            async for events in self._connection:
                for event in events:
                    if isinstance(event, Message):
                        self._receive(event)
                    else:
                        await self._handle(event)
                self._connection.flush()
        finally:
            self._end_publish(self._why)
            await self._end_play()

    # -- what the peer asks -----------------------------------------------------------------------

    async def _handle(self, event: Event) -> None:
        match event:
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
            case Paused() if self._player is not None:
                await self._pause(self._player, paused=event.paused)
            case Switched() if self._player is not None:
                await self._player.switch(_KINDS[event.media], wanted=event.wanted)

    def _info(self) -> dict[str, float | str]:
        """What SRS's tools read of the answer to connect."""
        self._number = self._context.sessions.take_number()
        return {
            "version": __version__,
            "srs_sig": "Porthole",
            "srs_server": f"Porthole/{__version__}",
            "srs_version": __version__,
            "srs_id": f"rtmp-{self._number}",
        }

    def _open_session(self, kind: str, name: str) -> Session:
        """Raises: LimitExceeded."""
        session = self._context.sessions.open(
            "rtmp",
            kind,
            self._connection.peer_ip,
            number=self._number,
            stream=name,
            url=f"/{name}",
            user_agent=self._asked.flash_version,
            page_url=self._asked.page_url,
        )
        session.kick = self._kick
        self._session = session
        return session

    def _kick(self) -> None:
        self.end("ended by the API")

    def end(self, why: str) -> None:
        self._why = why
        self._connection.abort()

    def _close_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            self._context.sessions.close(session)
            self._idle_until_us = self._now_us() + IDLE_US

    async def _admit(self, action: Action, target: Target) -> str:
        """The stream's name. Raises: NameInvalid, AuthError, LimitExceeded."""
        access, peer_ip = self._context.access, self._connection.peer_ip
        name = stream_name(target.name if target.stream else "")
        account = await access.check(action, name, peer_ip, Credentials.of_query(target.query))
        mark = access.mark_of(account) if account else None
        self._is_still_allowed = lambda: access.still_admits(mark, action, name, peer_ip)
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

    @property
    def is_playing(self) -> bool:
        """Or waits to, or pauses."""
        return self._player is not None

    @property
    def _is_busy(self) -> bool:
        return self._publishing is not None or self.is_playing

    # -- publishing -------------------------------------------------------------------------------

    async def _publish(self, event: PublishAsked) -> None:
        target = resolve(self._asked.tc_url, self._asked.app, event.name)
        try:
            if self._is_busy:
                raise LimitExceeded("this connection publishes or plays already")
            name = await self._admit(Action.PUBLISH, target)
            kind = "fmle-publish" if event.is_fmle else "flash-publish"
            session = self._open_session(kind, name)
            takeover = self._context.is_takeover(name)
            publisher = self._context.hub.publish(name, session.id, takeover=takeover)
        except (AuthError, LimitExceeded, NameInvalid, StreamBusy) as error:
            self._close_session()
            self._refuse(Action.PUBLISH, event.stream_id, error)
            return
        session.is_publisher = True
        self._connection.established()
        self._publishing = Publishing(event.stream_id, publisher)
        self._connection.on_events = self._take_media
        self._connection.pace = self._pace_s
        self._server.accept_publish(event.stream_id)
        self._context.sessions.tell_publishing(session)

    def _take_media(self, events: list[Event]) -> list[Event]:
        for index, event in enumerate(events):
            if not isinstance(event, Message):
                return events[index:]
            self._receive(event)
        return []

    def _pace_s(self) -> float:
        """How long media may wait in the kernel."""
        publishing = self._publishing
        if publishing is None:
            return 0.0
        patience_us = publishing.publisher.stream.patience_us()
        return patience_us / 1_000_000 if patience_us >= LEAST_PAUSE_US else 0.0

    def _receive(self, message: Message) -> None:
        """Media of a publisher; who sends what cannot be carried is told so and soon ended."""
        publishing = self._publishing
        if publishing is None or message.stream_id != publishing.stream_id:
            return
        try:
            publishing.receive(message, self._now_us())
        except (PeerError, StreamBusy) as error:
            self._end_publish(str(error))
            self._refuse(Action.PUBLISH, message.stream_id, error)
            self._idle_until_us = self._now_us() + GOODBYE_US

    def _end_publish(self, why: str) -> None:
        self._count_rejects()
        publishing, self._publishing = self._publishing, None
        self._connection.on_events = self._connection.pace = None
        if publishing is None:
            return
        publishing.publisher.close()
        self._count()
        if self._session is not None:
            self._context.sessions.tell_published(self._session, why)
        self._close_session()

    # -- playing ----------------------------------------------------------------------------------

    async def _play(self, event: PlayAsked) -> None:
        target = resolve(self._asked.tc_url, self._asked.app, event.name)
        try:
            if self._is_busy:
                raise LimitExceeded("this connection publishes or plays already")
            if event.stream_id != STREAM_ID:
                raise LimitExceeded("play on the first message stream that was created")
            latency, kinds = Latency.of_query(target.query), _read_kinds(target)
            name = await self._admit(Action.PLAY, target)
            self._open_session("rtmp-play", name)
        except (AuthError, LimitExceeded, NameInvalid, PeerError) as error:
            self._refuse(Action.PLAY, event.stream_id, error)
            return
        self._connection.established()
        self._player = Player(
            name,
            self._connection,
            self._context,
            self.settings,
            self._pool,
            partial(self._refuse, Action.PLAY, STREAM_ID),
            latency=latency,
            kinds=kinds,
        )

    async def _pause(self, player: Player, *, paused: bool) -> None:
        if await player.pause(paused) and paused:
            self._idle_until_us = self._now_us() + PAUSE_US

    async def _end_play(self) -> None:
        player = self._player
        if player is not None:
            await player.stop()
        self._count()
        if player is not None and player.playing is not None and self._session is not None:
            self._session.tell_watched(player.why or self._why, self._now_us())
        self._player = None
        self._close_session()

    async def see_off(self) -> None:
        """Returns when a player whose stream has ended was told so."""
        if self._player is not None:
            await self._player.see_off()

    # -- once a second ----------------------------------------------------------------------------

    def tick(self) -> None:
        """Ends who is silent or says too much, and keeps the figures."""
        talk_bytes = self._count()
        self._count_rejects()
        if self._player is not None and self._player.playing is not None:
            self._player.playing.speak()
        reason = self._overdue(self._now_us(), talk_bytes)
        if reason is not None:
            detail = self._session.id if self._session is not None else self._connection.peer_ip
            self._context.faults.count("rtmp", reason, detail)
            self.end(reason)

    def _overdue(self, now_us: int, talk_bytes: int) -> str | None:
        if not self._is_still_allowed():
            return "no longer allowed"
        publishing = self._publishing
        if publishing is not None:
            return publishing.overdue(self.settings, now_us)
        if self._session is not None and talk_bytes > MAX_TALK_BYTES:
            return "a player that talks"
        if self._player is None or self._player.is_at_rest:
            return "idle" if now_us > self._idle_until_us else None
        return "play failed" if self._player.has_failed else None

    def _count_rejects(self) -> None:
        """Counted for the metrics, and each kind told once."""
        publishing, session = self._publishing, self._session
        if publishing is None or session is None:
            return
        for reason, count, is_new in publishing.take_rejects():
            self._context.faults.counts["rtmp", reason] += count
            if is_new:
                session.log.warning("sends what is not carried: %s", reason)

    def _count(self) -> int:
        """What has come since the last time."""
        received = self._server.received_bytes
        fresh, self._received_bytes = received - self._received_bytes, received
        if self._session is not None:
            self._session.received.add(fresh, self._now_us())
            if self._player is not None and (playing := self._player.playing) is not None:
                self._session.count_sent(playing.sent_bytes, playing.lost_units, self._now_us())
        return fresh


def _read_kinds(target: Target) -> frozenset[Kind]:
    """Without what the player does not want. Raises: PeerError if that is all."""
    kinds = frozenset(kind for kind in Kind if target.query.get(kind.value, "1").lower() not in OFF)
    if not kinds:
        raise PeerError("neither sound nor picture was asked for")
    return kinds
