"""RTSP over HTTP, both roles: a GET that answers come on, a POST of requests in base64.

The two belong together by `x-sessioncookie` (Apple's "Tunnelling RTSP and RTP over HTTP", which
QuickTime began and cameras, FFmpeg, GStreamer and live555 speak).
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from appliance.errors import PeerError
from appliance.wire.rtsp.message import MAX_HEAD_BYTES, Headers, Request, Response, parse_head

TUNNELLED = "application/x-rtsp-tunnelled"
MAX_WAITING = 64  # GETs without a POST; against who only opens them
MAX_WAITING_PER_PEER = 16  # so that it takes more than one to keep everybody else out
POST_BYTES = 32767  # what clients since QuickTime announce; nobody counts
_COOKIE = re.compile(r"[!-~]{1,256}\Z")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_GROUPS = re.compile(rb"[^=]+={0,2}|=+")
_HTTP_METHODS = (b"GET ", b"POST ", b"HEAD ")

T = TypeVar("T")


class Base64Reader:
    """Base64 in pieces of any size; each message may be padded, and followed by the next."""

    def __init__(self) -> None:
        self._held = b""  # less than a group

    def receive(self, data: bytes) -> bytes:
        """Raises: PeerError for what is no base64."""
        text = self._held + data.translate(None, b"\r\n")
        whole = len(text) & ~3
        self._held = text[whole:]
        try:
            return b"".join(
                [
                    binascii.a2b_base64(group, strict_mode=True)
                    for group in _GROUPS.findall(text[:whole])
                ]
            )
        except binascii.Error:
            raise PeerError("no base64 in a tunnel") from None


class _HttpHead:
    """Collects a head; `rest` is what came behind it."""

    def __init__(self) -> None:
        self._held = bytearray()
        self.rest = b""

    def receive(self, data: bytes, *, is_tolerant: bool) -> Request | Response | None:
        searched = max(0, len(self._held) - 3)
        self._held += data
        match = _HEAD_END.search(self._held, searched)
        if (match.start() if match else len(self._held)) > MAX_HEAD_BYTES:
            raise PeerError(f"a head of more than {MAX_HEAD_BYTES} bytes")
        if match is None:
            return None
        self.rest = bytes(self._held[match.end() :])
        head = bytes(self._held[: match.start()])
        return parse_head(head, is_tolerant=is_tolerant, protocol="HTTP")


# -- the server's side -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Plain:
    """No tunnel: RTSP itself, with all that came so far."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class GetOpened:
    """Answers and packets go out on this connection; nothing more may come in on it."""

    cookie: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PostOpened:
    """Requests come in on this connection. data: the first of them, decoded."""

    cookie: str = field(repr=False)
    data: bytes = field(default=b"", repr=False)


class TunnelDoor:
    """What stands before RtspServer on a connection: tells RTSP from the halves of a tunnel."""

    def __init__(self, agent: str) -> None:
        self._agent = agent
        self._start = b""
        self._head: _HttpHead | None = None
        self._base64: Base64Reader | None = None
        self._opened: Plain | GetOpened | PostOpened | None = None
        self._output: list[bytes] = []

    def take_output(self) -> bytes:
        output = b"".join(self._output)
        self._output.clear()
        return output

    def receive(self, data: bytes) -> Plain | GetOpened | PostOpened | None:
        """Bytes from the beginning on; None until it is clear.

        Raises: PeerError; what `take_output` still has may be sent, then it is over.
        """
        if self._head is None:
            self._start += data
            if not self._start.startswith(_HTTP_METHODS):
                if any(method.startswith(self._start) for method in _HTTP_METHODS):
                    return None
                return Plain(self._start)
            data, self._head = self._start, _HttpHead()
        if self._opened is not None:  # live555 #19: a POST behind the GET of the same connection
            raise PeerError("more bytes behind the GET of a tunnel")
        try:
            request = self._head.receive(data, is_tolerant=False)
        except PeerError:
            self._refuse(400, "Bad Request")
            raise
        return self._open(request, self._head.rest) if isinstance(request, Request) else None

    def decode(self, data: bytes) -> bytes:
        """Requests out of further bytes, after PostOpened. Raises: PeerError."""
        return b"" if self._base64 is None else self._base64.receive(data)

    def _open(self, request: Request, rest: bytes) -> GetOpened | PostOpened:
        headers = request.headers
        cookie = headers.get("x-sessioncookie")
        kind = headers.get("accept" if request.method == "GET" else "content-type").lower()
        if not cookie and TUNNELLED not in kind:  # somebody's browser, or a scanner
            self._refuse(404, "Not Found")
            raise PeerError("HTTP on the port of RTSP")
        if not _COOKIE.match(cookie) or request.method == "HEAD":
            self._refuse(400, "Bad Request")
            raise PeerError("a tunnel without a session cookie")
        if request.method == "POST":
            self._base64 = Base64Reader()
            opened = PostOpened(cookie, self._base64.receive(rest))
            self._opened = opened
            return opened
        if rest:
            self._refuse(400, "Bad Request")
            raise PeerError("more bytes behind the GET of a tunnel")
        self._answer(200, "OK", ("Pragma: no-cache", f"Content-Type: {TUNNELLED}"))
        self._opened = GetOpened(cookie)
        return self._opened

    def _refuse(self, code: int, reason: str) -> None:
        self._answer(code, reason, ("Content-Length: 0",))

    def _answer(self, code: int, reason: str, more: tuple[str, ...]) -> None:
        lines = (
            f"HTTP/1.0 {code} {reason}",
            f"Server: {self._agent}",
            "Connection: close",
            "Cache-Control: no-store",
            *more,
            "",
            "",
        )
        self._output.append("\r\n".join(lines).encode())


@dataclass(slots=True)
class _Half(Generic[T]):
    peer: str
    connection: T
    is_joined: bool = False


class Tunnels(Generic[T]):
    """Which GET a POST belongs to, by its cookie and its peer's address. T: the service's own."""

    def __init__(self) -> None:
        self._halves: dict[str, _Half[T]] = {}

    def add(self, cookie: str, peer: str, connection: T) -> None:
        """A GET. Raises: PeerError if the cookie is in use or too many wait for a POST."""
        if cookie in self._halves:
            raise PeerError("a second GET of one tunnel")
        waiting = [half.peer for half in self._halves.values() if not half.is_joined]
        if len(waiting) >= MAX_WAITING or waiting.count(peer) >= MAX_WAITING_PER_PEER:
            raise PeerError("too many tunnels without a POST")
        self._halves[cookie] = _Half(peer, connection)

    def join(self, cookie: str, peer: str) -> T:
        """A POST: the connection of its GET. Raises: PeerError if there is none of this peer, or
        another POST has it."""
        half = self._halves.get(cookie)
        if half is None or half.peer != peer:
            raise PeerError("a POST without the GET of its tunnel")
        if half.is_joined:
            raise PeerError("a second POST of one tunnel")
        half.is_joined = True
        return half.connection

    def leave(self, cookie: str) -> None:
        """The POST is over; QuickTime and VLC open another one when they have more to say."""
        if cookie in self._halves:
            self._halves[cookie].is_joined = False

    def remove(self, cookie: str) -> None:
        """The GET is over."""
        self._halves.pop(cookie, None)


# -- the client's side -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TunnelRefused:
    """code 401 with its challenges: another pair of connections may show credentials."""

    code: int
    headers: Headers = field(repr=False)


class TunnelClient:
    """Both connections' bytes around those of a RtspClient.

    resource: path and query of the camera's URL; cookie: random, of letters and digits.
    """

    def __init__(self, resource: str, host: str, cookie: str, agent: str) -> None:
        self._resource = resource
        self._lines = (f"Host: {host}", f"User-Agent: {agent}", f"x-sessioncookie: {cookie}")
        self._head: _HttpHead | None = _HttpHead()
        self.refused: TunnelRefused | None = None

    def open_get(self, authorization: str = "") -> bytes:
        """The first that is written to the connection that answers come on."""
        return self._open("GET", authorization, (f"Accept: {TUNNELLED}",))

    def open_post(self, authorization: str = "") -> bytes:
        """The first on the other, once the GET is answered."""
        more = (
            f"Content-Type: {TUNNELLED}",
            f"Content-Length: {POST_BYTES}",
            "Expires: Sun, 9 Jan 1972 00:00:00 GMT",
        )
        return self._open("POST", authorization, more)

    @property
    def is_open(self) -> bool:
        """The GET was answered."""
        return self._head is None and self.refused is None

    def receive(self, data: bytes) -> bytes:
        """From the GET's connection: what is RTSP of it. Raises: PeerError."""
        if self._head is None:
            return data
        answer = self._head.receive(data, is_tolerant=True)
        if answer is None:
            return b""
        if not isinstance(answer, Response):
            raise PeerError("no answer to the GET of a tunnel")
        rest, self._head = self._head.rest, None
        if not answer.is_ok:
            self.refused = TunnelRefused(answer.code, answer.headers)
            return b""
        return rest

    def encode(self, data: bytes) -> bytes:
        """What the RtspClient says, as it is written to the POST's connection."""
        return base64.b64encode(data)

    def _open(self, method: str, authorization: str, more: tuple[str, ...]) -> bytes:
        lines = [f"{method} {self._resource} HTTP/1.0", *self._lines, *more]
        lines += ["Pragma: no-cache", "Cache-Control: no-cache"]
        if authorization:
            lines.append(f"Authorization: {authorization}")
        return "\r\n".join((*lines, "", "")).encode()
