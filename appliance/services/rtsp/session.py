"""One RTSP connection: what it asks for is allowed or refused, and then played or published.

Theory of operation: the core asks one question at a time. Each is answered by a task, as answers
may take time: a password to be hashed, a stream that nobody publishes yet. Media is taken as it
comes; what is played is for `Player`. Of a tunnel through HTTP, the GET's session does all
this; the POST's hands it what it hears. The service calls `tick` once a second, which ends who
is silent or says too much.
"""

from __future__ import annotations

import asyncio

from appliance.errors import (
    ApplianceError,
    AuthError,
    CodecUnsupported,
    ConfigError,
    LimitExceeded,
    NameInvalid,
    PeerError,
    StreamBusy,
    StreamNotFound,
)
from appliance.hub.access import Action
from appliance.hub.names import stream_name
from appliance.hub.sessions import Session
from appliance.net.fanout_pool import Latency
from appliance.net.tcp import TcpConnection
from appliance.services.contract import Context
from appliance.services.rtsp.admission import Admission, Challenged, Guest
from appliance.services.rtsp.announced import Announced
from appliance.services.rtsp.core import CoreEvent, PostData, RtspCore
from appliance.services.rtsp.outlets import Outlets
from appliance.services.rtsp.player import Player
from appliance.services.rtsp.publishing import Publishing
from appliance.services.rtsp.settings import Settings
from appliance.services.rtsp.viewing import NoTransport, Viewing
from appliance.wire.rtsp.events import (
    AnnounceAsked,
    Asked,
    DescribeAsked,
    Paused,
    PlayAsked,
    Question,
    RecordAsked,
    SetupAsked,
    TornDown,
)
from appliance.wire.rtsp.interleaved import Frames
from appliance.wire.rtsp.tunnel import GetOpened, PostOpened, Tunnels

REPORT_US = 5_000_000  # RFC 3550 §6.2
MAX_TALK_BYTES = 256 << 10  # between two ticks; who does not publish has next to nothing to say
_CODES: dict[type[ApplianceError], int] = {
    NameInvalid: 404,
    StreamNotFound: 404,
    StreamBusy: 409,
    CodecUnsupported: 415,
    LimitExceeded: 453,
    NoTransport: 461,
    ConfigError: 461,  # the ports of UDP cannot be had: players go on with TCP
    AuthError: 403,
    PeerError: 400,
}


class RtspSession:
    """`run` until the connection ends. Raises what ended it.

    settings: may be replaced at any time.
    """

    __slots__ = (
        *("_agent", "_announced", "_connection", "_context", "_cookie", "_core", "_getter"),
        *("_guest", "_heard_bytes", "_is_over", "_outlets", "_player", "_publishing"),
        *("_received_bytes", "_reported_us", "_server", "_session", "_task", "_tunnels"),
        *("_why", "settings"),
    )

    def __init__(
        self,
        connection: TcpConnection[CoreEvent],
        context: Context,
        settings: Settings,
        admission: Admission,
        outlets: Outlets,
        tunnels: Tunnels[RtspSession],
    ) -> None:
        assert isinstance(connection.core, RtspCore)
        self._connection = connection
        self._core = connection.core
        self._server = connection.core.rtsp
        self._context = context
        self.settings = settings
        self._guest = Guest(admission, connection.peer_ip)
        self._outlets = outlets
        self._tunnels = tunnels
        self._cookie = ""  # of our tunnel
        self._getter: RtspSession | None = None  # whom we hear for
        self._agent = ""
        self._announced: Announced | None = None
        self._publishing: Publishing | None = None
        self._player = Player(connection, context, outlets)
        self._session: Session | None = None
        self._task: asyncio.Task[None] | None = None  # that answers, begins or ends something
        self._is_over = False
        self._why = "the connection ended"
        self._heard_bytes = 0  # by the POST of our tunnel
        self._received_bytes = 0  # as of the last tick
        self._reported_us = 0

    def _now_us(self) -> int:
        return self._context.hub.clock.monotonic_us()

    async def run(self) -> None:
        try:
            async for events in self._connection:
                for event in events:
                    self._take(event)
                    if isinstance(event, Frames | PostData):
                        await asyncio.sleep(0)  # a read may hold thousands of them
                self._flush()
        except ConnectionError:
            if not self._player.has_played:
                raise  # a player closes with media unread, which is a reset, and no fault
        finally:
            await self._leave()

    async def _leave(self) -> None:
        self._is_over = True
        if self._getter is not None:
            self._tunnels.leave(self._cookie)
        elif self._cookie:
            self._tunnels.remove(self._cookie)
        task, self._task = self._task, None
        self._reset(self._player.why or self._why)
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])
        self._reset(self._player.why or self._why)  # what it has begun
        if not task.cancelled() and (fault := task.exception()) is not None:
            raise fault

    # -- what comes -------------------------------------------------------------------------------

    def _take(self, event: CoreEvent) -> None:
        """Raises: PeerError."""
        match event:
            case Frames():
                if self._publishing is not None:
                    self._publish(event)
            case Paused():
                if self._player.playing is not None:
                    self._player.playing.stop()
                self._end_publish("the publisher paused")
            case TornDown():
                self._reset("torn down")
            case GetOpened(cookie):
                self._tunnels.add(cookie, self._connection.peer_ip, self)
                self._cookie = cookie
            case PostOpened(cookie):
                self._getter = self._tunnels.join(cookie, self._connection.peer_ip)
                self._cookie = cookie
                self._connection.established()
            case PostData(data):
                if self._getter is not None:
                    self._getter.hear(data)
            case _:
                self._task = asyncio.create_task(self._answer(event))

    def hear(self, data: bytes) -> None:
        """What came by the POST of our tunnel. Raises: PeerError, and we are ended, too."""
        if self._is_over:  # nobody would end what is begun now
            raise PeerError("the tunnel's other half has gone")
        self._heard_bytes += len(data)
        try:
            for event in self._core.hear(data):
                self._take(event)
        except PeerError:
            self._connection.flush()
            self._connection.abort()
            raise
        self._flush()

    def _flush(self) -> None:
        playing = self._player.playing
        if playing is not None and playing.is_running:
            playing.speak()
        self._connection.flush()

    # -- questions --------------------------------------------------------------------------------

    async def _answer(self, question: Question) -> None:
        """A question's outermost frame."""
        try:
            await self._decide(question)
        except Challenged as challenged:
            self._server.challenge(challenged.lines)
            if challenged.why:
                self._count_fault(f"{question.method} refused", challenged.why)
        except ApplianceError as error:
            code = next((code for kind, code in _CODES.items() if type(error) is kind), 500)
            self._server.refuse(code)
            self._count_fault(f"{question.method} refused", str(error))
        except Exception:
            self._connection.abort()
            raise
        self._flush()
        if isinstance(question, PlayAsked) and await self._player.start():
            self._reported_us = self._now_us()
        if self._task is asyncio.current_task():  # another one may have come while PLAY waited
            self._task = None
        for event in self._server.proceed():
            self._take(event)
        self._flush()

    def _count_fault(self, what: str, why: str) -> None:
        self._context.faults.count("rtsp", what, f"{self._connection.peer_ip} {why}")

    async def _decide(self, question: Question) -> None:
        """Answers. Raises: Challenged, ApplianceError; then nothing was answered."""
        self._agent = question.agent or self._agent
        match question:
            case DescribeAsked():
                viewing = self._player.viewing if self._server.tracks else None
                viewing = viewing or await self._view(question)
                self._server.answer_describe(viewing.describe(question.target.query))
            case AnnounceAsked():
                await self._admit(Action.PUBLISH, question)
                self._announced = Announced(
                    question.sdp, self._connection, self._core, self._outlets
                )
                self._server.accept_announce()
            case SetupAsked() if self._announced is not None:
                self._announced.set_up(question)
            case SetupAsked():
                found = self._player.viewing  # of what was described, perhaps in vain
                if found is None or found.stream.name != stream_name(question.target.name):
                    found = await self._view(question)
                found.set_up(question)
            case PlayAsked():
                self._play(question)
            case RecordAsked():
                self._record()

    async def _admit(self, action: Action, asked: Asked) -> None:
        """Raises: NameInvalid, Challenged, AuthError, LimitExceeded."""
        name, now_us = stream_name(asked.target.name), self._now_us()
        basic = self._connection.is_tls or self.settings.basic
        if await self._guest.admit(action, name, asked, now_us, basic=basic):
            self._connection.established()

    def _open_session(self, kind: str) -> Session:
        """Raises: LimitExceeded."""
        name = self._guest.name
        session = self._context.sessions.open(
            "rtsp",
            kind,
            self._connection.peer_ip,
            stream=name,
            url=f"/{name}",
            user_agent=self._agent,
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

    def _reset(self, why: str) -> None:
        """Nothing is asked for any more. Safe to call again."""
        self._end_publish(why)
        self._count()
        if self._player.stop() and self._session is not None:
            self._session.tell_watched(why, self._now_us())
        if self._announced is not None:
            self._announced.close()
            self._announced = None
        self._close_session()

    # -- playing ----------------------------------------------------------------------------------

    @property
    def is_playing(self) -> bool:
        return self._player.playing is not None

    async def _view(self, asked: Asked) -> Viewing:
        """Raises: as `_admit`; StreamNotFound, CodecUnsupported."""
        await self._admit(Action.PLAY, asked)
        return await self._player.view(self._guest.name, self.settings.wait_us)

    def _play(self, question: PlayAsked) -> None:
        """Answers. Raises: PeerError, CodecUnsupported, LimitExceeded, StreamNotFound."""
        player = self._player
        if player.viewing is None:
            raise StreamNotFound("nothing is set up")
        if player.playing is None:
            latency = Latency.of_query(question.target.query) or self._context.latency_of(
                self._guest.name, self.settings.latency
            )
            playing = player.viewing.play(latency)
            self._open_session("rtsp-play")
            player.begin(playing)
        else:
            playing = player.playing
        if playing.is_running:
            self._server.accept_play()
        else:
            self._server.accept_play(playing.prepare(self._server.track_url))

    # -- publishing -------------------------------------------------------------------------------

    def _record(self) -> None:
        """Answers. Raises: LimitExceeded, StreamBusy, PeerError."""
        announced = self._announced
        if announced is None:
            raise PeerError("nothing was announced")
        session = self._open_session("rtsp-publish")
        takeover = self._context.is_takeover(self._guest.name)
        try:
            publisher = self._context.hub.publish(self._guest.name, session.id, takeover=takeover)
        except ApplianceError:
            self._close_session()
            raise
        session.is_publisher = True
        self._publishing = Publishing(publisher, announced, self._on_publish_fault)
        self._server.accept_record()
        self._context.sessions.tell_publishing(session)

    def _publish(self, frames: Frames) -> None:
        if self._publishing is not None:
            self._publishing.receive_frames(frames.frames, self._now_us())

    def _on_publish_fault(self, error: ApplianceError) -> None:
        """What was published cannot be carried, or somebody took over."""
        self._count_fault("publishing ended", str(error))
        self._end_publish(str(error))
        self.end(str(error))

    def _end_publish(self, why: str) -> None:
        publishing = self._publishing
        if publishing is None:
            return
        self._count()
        self._publishing = None
        self._received_bytes -= publishing.datagram_bytes
        publishing.close()
        if self._session is not None:
            self._context.sessions.tell_published(self._session, why)
        self._close_session()

    # -- once a second ----------------------------------------------------------------------------

    def tick(self) -> None:
        """Ends who is silent or says too much, reports, and keeps the figures."""
        now_us = self._now_us()
        talk_bytes = self._count()
        reason = self._overdue(now_us, talk_bytes)
        if reason is not None:
            detail = self._session.id if self._session is not None else self._connection.peer_ip
            self._context.faults.count("rtsp", reason, detail)
            self.end(reason)
            return
        if now_us - self._reported_us >= REPORT_US:
            self._reported_us = now_us
            if self._player.playing is not None and self._player.is_running:
                self._player.playing.report()
            if self._publishing is not None:
                self._publishing.report(now_us)
        self._flush()

    def _overdue(self, now_us: int, talk_bytes: int) -> str | None:
        if not self._guest.is_welcome:
            return "no longer allowed"
        publishing = self._publishing
        if publishing is not None:
            return publishing.overdue(self.settings, now_us)
        if self._getter is not None:
            return None if self._getter.is_open else "the tunnel's other half has gone"
        if talk_bytes > MAX_TALK_BYTES:
            return "a player that talks"
        try:
            self._server.tick(now_us)
        except PeerError as error:
            return str(error)
        return None

    @property
    def is_open(self) -> bool:
        transport = self._connection.transport
        return transport is not None and not transport.is_closing()

    async def see_off(self) -> None:
        """Returns when a player whose stream has ended was told so."""
        if self._player.playing is not None and not self._player.is_running:
            await self._connection.close()

    def _count(self) -> int:
        """What has come since the last time."""
        received = self._connection.received_bytes + self._heard_bytes
        if self._publishing is not None:
            received += self._publishing.datagram_bytes
        fresh, self._received_bytes = received - self._received_bytes, received
        if self._session is not None:
            self._session.received.add(fresh, self._now_us())
            if (playing := self._player.playing) is not None:
                self._session.sent.add(playing.take_sent_bytes(), self._now_us())
                self._session.lost_units = playing.lost_units
        return fresh
