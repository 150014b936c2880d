"""The server's side of RTSP 1.0, sans-IO: requests become questions, answers become bytes.

Theory of operation: `receive` returns at most one question at a time. Whoever uses this answers it
(`answer_…`, `accept_…`, `refuse`, `challenge`), at once or later, and calls `proceed` for what the
peer had sent behind it. What asks nothing is answered here: OPTIONS, keep-alives, PAUSE, TEARDOWN,
and everything that is wrong.

A connection has one session of one stream, which ends with it. Methods by state (RFC 2326 §A.2):

    INIT       DESCRIBE, ANNOUNCE (once), SETUP → READY
    READY      SETUP, PLAY → PLAYING, RECORD → RECORDING if announced, TEARDOWN → INIT
    PLAYING    PLAY, PAUSE → READY, TEARDOWN → INIT
    RECORDING  PAUSE → READY, TEARDOWN → INIT
"""

from __future__ import annotations

import hmac
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from enum import Enum
from typing import TypeVar

from appliance.errors import MisuseError, PeerError
from appliance.wire.rtsp.events import (
    AnnounceAsked,
    DescribeAsked,
    Event,
    Paused,
    PlayAsked,
    Question,
    RecordAsked,
    SetupAsked,
    TornDown,
)
from appliance.wire.rtsp.interleaved import Frames, InterleavedReader, format_frames
from appliance.wire.rtsp.message import (
    VERSION,
    Request,
    Response,
    format_response,
    read_cseq,
)
from appliance.wire.rtsp.rtp_info import RtpInfo, format_rtp_info
from appliance.wire.rtsp.target import Target, resolve, resolve_within
from appliance.wire.rtsp.transport import (
    Delivery,
    Mode,
    Transport,
    free_channels,
    usable_transports,
)

SESSION_S = 60
SESSION_BYTES = 16
MAX_TRACKS = 16  # against SETUP a thousand times
MAX_WAITING = 16  # requests behind one that is not answered yet; against a peer that only asks
MAX_WAITING_BYTES = 64 << 10  # of their bodies; against memory for who has shown nothing yet
MAX_RANGE_CHARS = 256
METHODS = (
    "OPTIONS, DESCRIBE, ANNOUNCE, SETUP, PLAY, PAUSE, RECORD, GET_PARAMETER, SET_PARAMETER,"
    " TEARDOWN"
)


_Q = TypeVar("_Q", bound=Question)
_QUESTIONS = (DescribeAsked, AnnounceAsked, SetupAsked, PlayAsked, RecordAsked)


class State(Enum):
    INIT = "init"
    READY = "ready"
    PLAYING = "playing"
    RECORDING = "recording"


class RtspServer:
    """noise: at least 16 random bytes that session ids are made of; agent: our name and version.

    deliveries: the ways of packets that are offered; of others the peer gets a 461. session_s:
    how long a session lasts without a sign of life, as peers are told.
    """

    def __init__(
        self,
        noise: bytes,
        *,
        agent: str,
        now_us: int,
        deliveries: Iterable[Delivery] = tuple(Delivery),
        session_s: int = SESSION_S,
    ) -> None:
        self._noise = noise
        self._agent = agent
        self._deliveries = frozenset(deliveries)
        self._session_s = session_s
        self._reader = InterleavedReader(is_tolerant=False)
        self._reader.allow_frames = False
        self._output: list[bytes] = []
        self._waiting: deque[Request] = deque()
        self._request: Request | None = None
        self._question: Question | None = None
        self._state = State.INIT
        self._base: Target | None = None  # what was described or announced
        self._base_url = ""  # of it, without the query
        self._is_announced = False
        self._has_played = False
        self._session = ""
        self._sessions = 0
        self._tracks: dict[str, Transport] = {}  # by control
        self._heard_us = now_us
        self.dropped_frames = 0  # on channels that nobody set up, or out of time

    @property
    def state(self) -> State:
        return self._state

    @property
    def tracks(self) -> Mapping[str, Transport]:
        """What is set up, by control, in the order it was."""
        return self._tracks

    @property
    def pending_bytes(self) -> int:
        return self._reader.pending_bytes

    # -- bytes and time ----------------------------------------------------------------------------

    def take_output(self) -> bytes:
        """What must be written now."""
        output = b"".join(self._output)
        self._output.clear()
        return output

    def receive(self, data: bytes, now_us: int) -> list[Event]:
        """Raises: PeerError; what `take_output` still has may be sent, then it is over."""
        events: list[Event] = []
        try:
            for item in self._reader.receive(data):
                self._heard_us = now_us  # what dribbles in is no sign of life until it is whole
                if isinstance(item, Frames):
                    events += self._pass_frames(item)
                elif isinstance(item, Response):
                    raise PeerError("an answer to what was not asked")
                else:
                    self._waiting.append(item)
                    events += self.proceed()
            if len(self._waiting) > MAX_WAITING:
                raise PeerError(f"more than {MAX_WAITING} requests at once")
            if sum(len(request.body) for request in self._waiting) > MAX_WAITING_BYTES:
                raise PeerError(f"more than {MAX_WAITING_BYTES} bytes behind a question")
        except PeerError:
            self._send(400, None)
            raise
        return events

    def proceed(self) -> list[Event]:
        """What the peer asked behind the question that is answered now."""
        events: list[Event] = []
        while self._question is None and self._waiting:
            self._request = self._waiting.popleft()
            events += self._obey(self._request)
        return events

    def receive_eof(self) -> list[Event]:
        """The peer sends no more."""
        return []

    def heard(self, now_us: int) -> None:
        """A sign of life by another way, such as RTCP over UDP."""
        self._heard_us = now_us

    @property
    def due_us(self) -> int | None:
        """When `tick` has something to do.

        Never while it plays interleaved: some such players keep nothing alive, and TCP tells
        whether they are there.
        """
        if self._state is State.PLAYING and self._has_channels:
            return None
        return self._heard_us + self._session_s * 1_000_000

    def tick(self, now_us: int) -> None:
        """Raises: PeerError if the peer gave no sign of life for as long as a session lasts."""
        due_us = self.due_us
        if due_us is not None and now_us >= due_us:
            raise PeerError(f"silent for {self._session_s} s")

    # -- answers -----------------------------------------------------------------------------------

    def answer_describe(self, sdp: str | bytes) -> None:
        """sdp: with controls relative to the URL that was asked for."""
        self._begin(self._take(DescribeAsked))
        body = sdp.encode() if isinstance(sdp, str) else sdp
        # With a slash and without the query: GStreamer 1.22 takes a control for the last segment's
        # replacement, FFmpeg puts it behind everything.
        headers = [("Content-Base", f"{self._base_url}/"), ("Content-Type", "application/sdp")]
        self._answer(200, headers, body)

    def accept_announce(self) -> None:
        self._begin(self._take(AnnounceAsked))
        self._is_announced = True
        self._answer(200)

    def accept_setup(self, transport: Transport) -> Transport:
        """transport: one of those asked for, with our ports, group and ssrc. Returns what the peer
        is told: interleaved, its channels are ones that no other track has."""
        question = self._take(SetupAsked)
        if transport.delivery is Delivery.TCP:
            transport = replace(
                transport, channels=free_channels(transport.channels, self._tracks.values())
            )
            self._reader.allow_frames = True
        if not self._session:
            self._sessions += 1
            seed = self._sessions.to_bytes(8, "big")
            self._session = hmac.digest(self._noise, seed, "sha256")[:SESSION_BYTES].hex()
        if not self._tracks:
            self._begin(question)
        self._tracks[question.control] = transport
        self._state = State.READY
        self._answer(200, [("Transport", str(transport))])
        return transport

    def accept_play(self, infos: Iterable[RtpInfo] = ()) -> None:
        """Packets may follow. infos: with the URLs of tracks as `track_url` gives them."""
        self._take(PlayAsked)
        self._state, self._has_played = State.PLAYING, True
        headers = [("Range", "npt=0.000-")]
        if text := format_rtp_info(infos):
            headers.append(("RTP-Info", text))
        self._answer(200, headers)

    def accept_record(self) -> None:
        """Packets will come."""
        self._take(RecordAsked)
        self._state = State.RECORDING
        self._answer(200)

    def challenge(self, challenges: Iterable[str]) -> None:
        """To any question: credentials first, as wire/rtsp/auth.py's Gate offers."""
        self._take(_QUESTIONS)
        self._answer(401, [("WWW-Authenticate", line) for line in challenges])

    def refuse(self, code: int, reason: str = "", location: str = "") -> None:
        """To any question; such as 403, 404, 453, 461, 503, or 302 with a location."""
        self._take(_QUESTIONS)
        self._answer(code, [("Location", location)] if location else [], reason=reason)

    def send_frames(self, frames: Iterable[tuple[int, bytes | memoryview]]) -> None:
        """Interleaved packets with their channels, in the order of the answers."""
        self._output.append(format_frames(frames))

    def track_url(self, control: str) -> str:
        """For RTP-Info."""
        return f"{self._base_url}/{control}" if control else self._base_url

    def _begin(self, question: Question) -> None:
        """What this session is about from here on."""
        control = question.target.control
        self._base = replace(question.target, control="")
        url = question.url.partition("?")[0].rstrip("/")
        self._base_url = url.removesuffix(control).rstrip("/") if control else url

    def _is_elsewhere(self, target: Target) -> bool:
        """About another stream than this session, which credentials were checked for."""
        return self._base is None or target.name != self._base.name

    def _take(self, kind: type[_Q] | tuple[type[_Q], ...]) -> _Q:
        question, self._question = self._question, None
        if not isinstance(question, kind):
            raise MisuseError("an answer to what was not asked")
        return question

    def _answer(
        self,
        code: int,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        reason: str = "",
    ) -> None:
        request, self._request = self._request, None
        self._send(code, request, headers, body, reason)

    def _send(
        self,
        code: int,
        request: Request | None,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        reason: str = "",
    ) -> None:
        """CSeq is repeated as the number that it was, never as the text (GPAC, live555: CVEs)."""
        lines = [("Server", self._agent)]
        cseq = read_cseq(request.headers) if request is not None else None
        if cseq is not None:
            lines.insert(0, ("CSeq", str(cseq)))
        if self._session and code == 200:
            lines.append(("Session", f"{self._session};timeout={self._session_s}"))
        self._output.append(format_response(code, [*lines, *headers], body, reason))

    # -- requests ----------------------------------------------------------------------------------

    @property
    def _has_channels(self) -> bool:
        return any(track.delivery is Delivery.TCP for track in self._tracks.values())

    def _pass_frames(self, item: Frames) -> list[Event]:
        known: set[int] = set()  # before PLAY and RECORD, and after PAUSE, there is nothing to say
        if self._state in {State.PLAYING, State.RECORDING}:
            known = {channel for track in self._tracks.values() for channel in track.channels or ()}
        frames = [frame for frame in item.frames if frame[0] in known]
        self.dropped_frames += len(item.frames) - len(frames)
        return [Frames(frames)] if frames else []

    def _obey(self, request: Request) -> list[Event]:
        handler = _HANDLERS.get(request.method)
        unknown = [*request.headers.all("require"), *request.headers.all("proxy-require")]
        if request.cseq is None:
            return self._reject(400)
        if request.version != VERSION:
            return self._reject(505)
        if handler is None:
            return self._reject(501, ("Public", METHODS))
        if unknown:  # RFC 2326 §1.5: nothing beyond the RFC
            return self._reject(551, ("Unsupported", ", ".join(unknown)[:MAX_RANGE_CHARS]))
        if request.method == "OPTIONS" and request.url == "*":
            return self._tell_methods(request, Target("", {}))
        try:
            target = resolve(request.url)
        except PeerError:
            return self._reject(400)
        if self._base is not None and request.method not in {"DESCRIBE", "ANNOUNCE"}:
            target = resolve_within(self._base, target)
        shown = request.headers.get("session").partition(";")[0].strip()
        if shown and not hmac.compare_digest(shown.encode(), self._session.encode()):
            return self._reject(454)
        if request.method in _IN_SESSION and not shown:
            return self._reject(454)
        return handler(self, request, target)

    def _reject(self, code: int, *headers: tuple[str, str]) -> list[Event]:
        self._answer(code, headers)
        return []

    def _put(self, question: Question) -> list[Event]:
        self._question = question
        return [question]

    def _tell_methods(self, request: Request, target: Target) -> list[Event]:
        self._answer(200, [("Public", METHODS)])
        return []

    def _describe(self, request: Request, target: Target) -> list[Event]:
        accepts = request.headers.get("accept").lower()
        if self._is_announced or (self._tracks and self._is_elsewhere(target)):
            return self._reject(455)
        if accepts and not any(word in accepts for word in ("application/sdp", "*/*", "n/*")):
            return self._reject(406)
        return self._put(DescribeAsked(*_about(request, target)))

    def _announce(self, request: Request, target: Target) -> list[Event]:
        if self._state is not State.INIT or self._is_announced:
            return self._reject(455)
        kind = request.headers.get("content-type").partition(";")[0].strip().lower()
        if kind != "application/sdp":
            return self._reject(415)
        return self._put(AnnounceAsked(*_about(request, target), sdp=request.body))

    def _setup(self, request: Request, target: Target) -> list[Event]:
        is_set_up = target.control in self._tracks  # RFC 2326 §10.4 lets us refuse to change it
        is_begun = self._is_announced or bool(self._tracks)
        if self._state not in {State.INIT, State.READY} or is_set_up:
            return self._reject(455)
        if is_begun and self._is_elsewhere(target):
            return self._reject(455)
        mode = Mode.RECORD if self._is_announced else Mode.PLAY
        try:
            asked = request.headers.get("transport")
            possible = usable_transports(asked, self._deliveries, mode)
        except PeerError:
            return self._reject(400)
        if not possible:
            return self._reject(461)
        if len(self._tracks) >= MAX_TRACKS:
            return self._reject(453)
        return self._put(SetupAsked(*_about(request, target), transports=possible))

    def _play(self, request: Request, target: Target) -> list[Event]:
        is_ready = self._state in {State.READY, State.PLAYING} and not self._is_announced
        if not is_ready or self._is_elsewhere(target):
            return self._reject(455)
        asked_range = request.headers.get("range")[:MAX_RANGE_CHARS]
        is_resumed = self._has_played
        return self._put(
            PlayAsked(*_about(request, target), range=asked_range, is_resumed=is_resumed)
        )

    def _record(self, request: Request, target: Target) -> list[Event]:
        is_ready = self._state is State.READY and self._is_announced
        if not is_ready or self._is_elsewhere(target):
            return self._reject(455)
        return self._put(RecordAsked(*_about(request, target)))

    def _pause(self, request: Request, target: Target) -> list[Event]:
        if self._state is State.INIT:
            return self._reject(455)
        self._state = State.READY
        self._answer(200)
        return [Paused()]

    def _keep_alive(self, request: Request, target: Target) -> list[Event]:
        """With a body it asks for parameters, of which there are none (RFC 2326 §10.8)."""
        return self._reject(451 if request.body.strip() else 200)

    def _tear_down(self, request: Request, target: Target) -> list[Event]:
        """Of one track too: nobody goes on with the others."""
        self._answer(200)
        self._state, self._session, self._base = State.INIT, "", None
        self._is_announced = self._has_played = False
        self._tracks.clear()
        return [TornDown()]


def _about(request: Request, target: Target) -> tuple[str, str, Target, str, str]:
    headers = request.headers
    agent = headers.get("user-agent")[:200]
    return request.method, request.url, target, headers.get("authorization"), agent


_IN_SESSION = frozenset({"PLAY", "PAUSE", "RECORD", "TEARDOWN"})
_HANDLERS: Mapping[str, Callable[[RtspServer, Request, Target], list[Event]]] = {
    "OPTIONS": RtspServer._tell_methods,
    "DESCRIBE": RtspServer._describe,
    "ANNOUNCE": RtspServer._announce,
    "SETUP": RtspServer._setup,
    "PLAY": RtspServer._play,
    "PAUSE": RtspServer._pause,
    "RECORD": RtspServer._record,
    "GET_PARAMETER": RtspServer._keep_alive,
    "SET_PARAMETER": RtspServer._keep_alive,
    "TEARDOWN": RtspServer._tear_down,
}
