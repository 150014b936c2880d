"""The client's side of RTSP 1.0, sans-IO: pulls what a server offers, or announces and records.

Theory of operation: one request is under way at a time, as cameras mix up more. OPTIONS comes
first; DESCRIBE or ANNOUNCE follows by itself. The caller then sets up tracks one after another and
says `play` or `record`. Answers are events; `due_us` and `tick` keep the session alive and give up
a server that does not answer.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from appliance.errors import PeerError
from appliance.wire.rtsp.client_events import (
    Announced,
    Described,
    Ended,
    Event,
    Playing,
    Recording,
    Redirected,
    Refused,
    SetUp,
)
from appliance.wire.rtsp.credentials import ClientAuth
from appliance.wire.rtsp.interleaved import Frames, InterleavedReader, format_frames
from appliance.wire.rtsp.message import Request, Response, format_request, format_response
from appliance.wire.rtsp.rtp_info import parse_rtp_info
from appliance.wire.rtsp.target import RtspAddress, redirected, resolve_base
from appliance.wire.rtsp.transport import Transport, parse_answer

__all__ = [
    "Announced",
    "Described",
    "Ended",
    "Event",
    "Playing",
    "Purpose",
    "Recording",
    "Redirected",
    "Refused",
    "RtspClient",
    "SetUp",
]

ANSWER_US = 10_000_000  # against a server that accepts and is silent
SHORT_BODY_US = 1_000_000  # see `_give_up_body`
SESSION_S = 60  # RFC 2326 §12.37, where the server does not say
MIN_SESSION_S, MAX_SESSION_S = 2, 60  # cameras say 0, or 10^9: kept alive every 1 to 30 s
MAX_CREDENTIALS_TRIES = 2  # of one request; cameras lock out who tries more
MAX_REDIRECTS = 3  # of one attempt; the caller counts, as each is another connection
MAX_SESSION_CHARS = 256


class Purpose(Enum):
    PLAY = "play"
    RECORD = "record"


@dataclass(slots=True)
class _Asked:
    """A request under way or waiting."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    transport: Transport | None = None
    keeps_alive: bool = False
    tries: int = 0  # with credentials
    cseq: int = 0
    sent_us: int = 0
    nonce: str = ""  # of the credentials it showed
    has_shown: bool = False


class RtspClient:
    """`begin` or `begin_record`, then `receive`; `setup` per track; `play` or `record`.

    Requests count from the last `now_us` given: after a pause of the caller's own, `tick` first.
    noise: at least 16 random bytes, for Digest. auth: of an earlier connection to the same server;
    some cameras close with their 401 and want the answer on the next one.
    """

    def __init__(
        self, address: RtspAddress, *, noise: bytes, agent: str, auth: ClientAuth | None = None
    ) -> None:
        self._address = address
        self._agent = agent
        self._auth = auth or ClientAuth(address.user, address.password, noise)
        self._has_proven = auth is not None  # credentials were taken once, or may have been
        self._reader = InterleavedReader(is_tolerant=True)
        self._output: list[bytes] = []
        self._cseq = 0
        self._under_way: _Asked | None = None
        self._waiting: deque[_Asked] = deque()  # ours: a handful
        self._purpose = Purpose.PLAY
        self._sdp = b""
        self._base = address.url
        self._session = ""
        self._interval_us = SESSION_S * 500_000
        self._alive_us = 0  # the last request of ours
        self._is_running = False
        self._public: frozenset[str] = frozenset()
        self._now_us = 0
        self._heard_us = 0

    # -- what the caller wants ---------------------------------------------------------------------

    @property
    def public(self) -> frozenset[str]:
        """The methods that the server says it has; it may lie."""
        return self._public

    @property
    def auth(self) -> ClientAuth:
        """What it learned of the server's challenges, for the next connection."""
        return self._auth

    @property
    def garbage_bytes(self) -> int:
        """Passed over between messages and frames."""
        return self._reader.garbage_bytes

    @property
    def speaks_otherwise(self) -> bool:
        """Something was said to us, and nothing of it was RTSP."""
        return self._reader.garbage_bytes > 0 and not self._reader.has_message

    @property
    def is_idle(self) -> bool:
        """Every request is answered."""
        return self._under_way is None and not self._waiting

    def begin(self, now_us: int) -> None:
        """To play: comes to Described, Refused or Redirected."""
        self._now_us = now_us
        self._ask("OPTIONS", self._address.url)

    def begin_record(self, sdp: bytes, now_us: int) -> None:
        """Comes to Announced, Refused or Redirected."""
        self._purpose, self._sdp = Purpose.RECORD, sdp
        self.begin(now_us)

    def setup(self, url: str, transport: Transport) -> None:
        """url: of the track, by `resolve_control`. Comes to SetUp or Refused."""
        headers = (("Transport", str(transport)),)
        self._ask("SETUP", url, headers, transport=transport)

    def play(self, url: str = "") -> None:
        """url: of the session's own control if it has one. Comes to Playing or Refused."""
        self._ask("PLAY", url or self._base, (("Range", "npt=0.000-"),))

    def record(self) -> None:
        """Comes to Recording or Refused."""
        self._ask("RECORD", self._base, (("Range", "npt=0.000-"),))

    def teardown(self) -> None:
        """Says goodbye at once, whatever is under way; no answer needs to be waited for."""
        self._waiting.clear()
        self._under_way = None
        self._is_running = False
        if self._session:
            self._ask("TEARDOWN", self._base)

    def send_frames(self, frames: Iterable[tuple[int, bytes | memoryview]]) -> None:
        """Interleaved packets with their channels: RTCP of a player, media of a recorder."""
        self._output.append(format_frames(frames))

    # -- bytes and time ----------------------------------------------------------------------------

    def take_output(self) -> bytes:
        """What must be written now."""
        output = b"".join(self._output)
        self._output.clear()
        return output

    def receive(self, data: bytes, now_us: int) -> list[Event]:
        """Raises: PeerError; the connection is not used then."""
        self._now_us = self._heard_us = now_us
        events: list[Event] = []
        for item in self._reader.receive(data):
            if isinstance(item, Frames):
                events.append(item)
            elif isinstance(item, Response):
                events += self._take_answer(item)
            else:
                events += self._obey(item)
        return events

    def receive_eof(self) -> list[Event]:
        """The server closed; what it still owes will not come."""
        return []

    @property
    def due_us(self) -> int | None:
        """When `tick` has something to do."""
        asked = self._under_way
        if asked is not None:
            latest_us = asked.sent_us + ANSWER_US
            if self._reader.has_open_body:
                return min(self._heard_us + SHORT_BODY_US, latest_us)
            return latest_us
        return self._alive_us + self._interval_us if self._is_running else None

    def tick(self, now_us: int) -> list[Event]:
        """Keeps the session alive. Raises: PeerError if the server does not answer."""
        self._now_us = now_us
        due_us = self.due_us
        if due_us is None or now_us < due_us:
            return []
        asked = self._under_way
        if asked is None:
            self._keep_alive()
            return []
        if self._reader.has_open_body:
            return self._give_up_body()
        if not asked.keeps_alive:
            raise PeerError(f"no answer to {asked.method} within {ANSWER_US // 1_000_000} s")
        self._distrust_keepalive()  # cameras that send media and never answer it
        self._finish()
        return []

    def _give_up_body(self) -> list[Event]:
        """A camera that counts line ends which it does not send: the SDP is all there."""
        message = self._reader.take_short_body()
        if not isinstance(message, Response) or not message.body.startswith(b"v="):
            raise PeerError("a body shorter than its Content-Length")
        return self._take_answer(message)

    # -- requests ----------------------------------------------------------------------------------

    def _ask(
        self,
        method: str,
        url: str,
        headers: tuple[tuple[str, str], ...] = (),
        *,
        body: bytes = b"",
        transport: Transport | None = None,
        keeps_alive: bool = False,
    ) -> None:
        asked = _Asked(method, url, headers, body, transport, keeps_alive)
        self._waiting.append(asked)
        self._send_next()

    def _send_next(self) -> None:
        if self._under_way is None and self._waiting:
            self._under_way = self._waiting.popleft()
            self._send(self._under_way)

    def _send(self, asked: _Asked) -> None:
        self._cseq += 1
        asked.cseq, asked.sent_us, asked.nonce = self._cseq, self._now_us, self._auth.nonce
        self._alive_us = self._now_us
        headers = [("CSeq", str(asked.cseq)), ("User-Agent", self._agent)]
        if authorization := self._auth.header(asked.method, asked.url):
            headers.append(("Authorization", authorization))
        asked.has_shown = bool(authorization)
        if self._session:
            headers.append(("Session", self._session))
        headers += asked.headers
        self._output.append(format_request(asked.method, asked.url, headers, asked.body))

    def _finish(self) -> None:
        self._under_way = None
        self._send_next()

    def _keep_alive(self) -> None:
        """GET_PARAMETER by RFC 2326 §10.8 where the server has it, else OPTIONS."""
        method = "GET_PARAMETER" if "GET_PARAMETER" in self._public else "OPTIONS"
        self._ask(method, self._base, keeps_alive=True)

    def _distrust_keepalive(self) -> None:
        """`Public` lied: what is refused or ignored is not asked again; OPTIONS always is."""
        self._public -= {"GET_PARAMETER"}

    # -- answers -----------------------------------------------------------------------------------

    def _take_answer(self, answer: Response) -> list[Event]:
        """An answer without CSeq, or with one we have not sent yet, is to what is under way, as
        cameras leave it out; an earlier one is to what we no longer wait for."""
        asked = self._under_way
        cseq = answer.cseq
        if asked is None or answer.code < 200 or (cseq is not None and cseq < asked.cseq):
            return []
        if answer.code == 401 and self._prove(asked, answer):
            return []
        self._under_way = None
        events = self._react(asked, answer)
        self._send_next()
        return events

    def _prove(self, asked: _Asked, answer: Response) -> bool:
        """Sends it again with credentials. False if it makes no sense: none, or they are wrong.

        Nonces run out: with stale=true, or without a word at cameras where it was good before.
        """
        challenges = answer.headers.all("www-authenticate")
        is_stale = any(re.search(r"stale\s*=\s*\"?true", line, re.I) for line in challenges)
        old_nonce = asked.nonce
        if asked.tries >= MAX_CREDENTIALS_TRIES or not self._auth.challenge(challenges):
            return False
        is_renewed = self._auth.nonce not in {"", old_nonce} and self._has_proven
        if asked.has_shown and not (is_stale or (is_renewed and asked.tries == 0)):
            return False
        asked.tries += 1
        self._send(asked)
        return True

    def _react(self, asked: _Asked, answer: Response) -> list[Event]:
        self._has_proven = self._has_proven or (answer.is_ok and asked.has_shown)
        if asked.keeps_alive:
            if not answer.is_ok:  # 454 too: silence will tell whether the session is gone
                self._distrust_keepalive()
            return []
        if answer.code in {301, 302, 303, 307, 308}:
            return [Redirected(redirected(self._address, answer.headers.get("location")))]
        if asked.method == "OPTIONS":
            return self._react_to_options(answer)
        if not answer.is_ok:
            return [Refused(asked.method, answer.code, answer.reason)]
        self._take_session(answer)
        match asked.method:
            case "DESCRIBE":
                headers = answer.headers
                named = (headers.get("content-base"), headers.get("content-location"))
                self._base = resolve_base(self._address, named)
                return [Described(answer.body, self._base)]
            case "ANNOUNCE":
                return [Announced()]
            case "SETUP" if asked.transport is not None:
                agreed = parse_answer(answer.headers.get("transport"), asked.transport)
                return [SetUp(asked.url, agreed)]
            case "PLAY":
                self._is_running = True
                return [Playing(parse_rtp_info(answer.headers.get("rtp-info")))]
            case "RECORD":
                self._is_running = True
                return [Recording()]
        return []

    def _react_to_options(self, answer: Response) -> list[Event]:
        """Refused or not, it goes on: cameras answer OPTIONS by 404, 405, 454, 501 and stream."""
        if answer.code == 401:
            return [Refused("OPTIONS", answer.code, answer.reason)]
        words = ",".join(answer.headers.all("public")).upper()
        self._public = frozenset(re.findall(r"[A-Z_]{3,20}", words))
        if self._purpose is Purpose.PLAY:
            self._ask("DESCRIBE", self._address.url, (("Accept", "application/sdp"),))
        else:
            about = (("Content-Type", "application/sdp"),)
            self._ask("ANNOUNCE", self._address.url, about, body=self._sdp)
        return []

    def _take_session(self, answer: Response) -> None:
        """``id``, ``id;timeout=60``, ``id ; Timeout = "60"``, a timeout of 0 or 10^9."""
        text, _, parameters = answer.headers.get("session").partition(";")
        if not text.strip():
            return
        self._session = text.strip()[:MAX_SESSION_CHARS]
        match = re.search(r"timeout\s*=\s*\"?([0-9]{1,9})", parameters, re.IGNORECASE)
        seconds = (int(match[1]) if match else 0) or SESSION_S
        self._interval_us = min(max(seconds, MIN_SESSION_S), MAX_SESSION_S) * 500_000

    # -- what servers ask --------------------------------------------------------------------------

    def _obey(self, request: Request) -> list[Event]:
        known = {"OPTIONS", "GET_PARAMETER", "SET_PARAMETER", "TEARDOWN", "REDIRECT"}
        code = 200 if request.method in known else 501
        headers = [] if request.cseq is None else [("CSeq", str(request.cseq))]
        if self._session:
            headers.append(("Session", self._session))
        self._output.append(format_response(code, headers))
        match request.method:
            case "TEARDOWN":
                self._is_running = False
                return [Ended()]
            case "REDIRECT":
                return [Redirected(redirected(self._address, request.headers.get("location")))]
        return []
