"""RTSP 1.0 requests and responses as values, parsed and printed (RFC 2326 §4 to §7).

Bodies and the order of messages on a connection are wire/rtsp/interleaved.py's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from appliance.errors import MisuseError, PeerError

VERSION = "RTSP/1.0"
MAX_HEAD_BYTES = 8 << 10  # start line and headers; against heads that never end
MAX_HEADERS = 64  # against a head of one-letter headers
MAX_BODY_BYTES = 64 << 10  # an SDP; the only large body there is

_LINE_END = re.compile(rb"\r?\n")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_UNFIT = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_URL = re.compile(r"[^\s\x00-\x1f\x7f]+\Z")
_DIGITS = re.compile(r"[0-9]{1,10}\Z")  # str.isdigit would let full-width digits pass

REASONS: Mapping[int, str] = {
    200: "OK",
    301: "Moved Permanently",
    302: "Found",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    408: "Request Timeout",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    451: "Parameter Not Understood",
    453: "Not Enough Bandwidth",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    457: "Invalid Range",
    459: "Aggregate Operation Not Allowed",
    461: "Unsupported Transport",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "RTSP Version Not Supported",
    551: "Option Not Supported",
}


class Headers:
    """Header fields in their order; names compare without case (RFC 2326 §4.2)."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._pairs = [(name.lower(), value) for name, value in pairs]

    def get(self, name: str) -> str:
        """The first field of this lower-case name; empty if there is none."""
        for field_name, value in self._pairs:
            if field_name == name:
                return value
        return ""

    def all(self, name: str) -> list[str]:
        """Every field of this lower-case name, such as the challenges of a 401."""
        return [value for field_name, value in self._pairs if field_name == name]

    def __contains__(self, name: object) -> bool:
        return any(field_name == name for field_name, _ in self._pairs)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)


@dataclass(slots=True)
class Request:
    method: str
    url: str = field(repr=False)  # its query may hold a key
    headers: Headers = field(repr=False)
    version: str = VERSION
    body: bytes = field(default=b"", repr=False)

    @property
    def cseq(self) -> int | None:
        return read_cseq(self.headers)


@dataclass(slots=True)
class Response:
    code: int
    reason: str
    headers: Headers = field(repr=False)
    body: bytes = field(default=b"", repr=False)

    @property
    def cseq(self) -> int | None:
        return read_cseq(self.headers)

    @property
    def is_ok(self) -> bool:
        return 200 <= self.code < 300


def parse_head(head: bytes, *, is_tolerant: bool, protocol: str = "RTSP") -> Request | Response:
    """A start line and its headers, without the empty line behind them.

    protocol: HTTP for what tunnels begin with. is_tolerant: lines that are no header are passed
    over, as cameras send some (a stray SDP line, a header without its colon). Raises: PeerError.
    """
    first, *lines = _LINE_END.split(head)
    headers = Headers(_unfold(lines, is_tolerant))
    start = _text(first)
    if start[:5].upper() == f"{protocol}/":
        return _parse_status(start.partition("/")[2], headers)
    parts = start.split(" ")
    if len(parts) != 3 or not _TOKEN.match(parts[0]) or not _URL.match(parts[1]):
        raise PeerError("no request line")
    method, url, version = parts
    if not re.fullmatch(rf"{protocol}/[0-9]\.[0-9]", version):
        raise PeerError("a request of another protocol")
    return Request(method, url, headers, version)


def _parse_status(start: str, headers: Headers) -> Response:
    """The reason is left out by some cameras, and the blanks before the code are several."""
    match = re.match(r"[0-9]\.[0-9] +([1-5][0-9]{2})(?: +(.*))?\Z", start)
    if match is None or _UNFIT.search(start):
        raise PeerError("no status line")
    return Response(int(match[1]), (match[2] or "").strip()[:200], headers)


def _unfold(lines: list[bytes], is_tolerant: bool) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    if len(lines) > MAX_HEADERS:
        raise PeerError(f"more than {MAX_HEADERS} headers")
    for line in lines:
        text = _text(line)
        name, colon, value = text.partition(":")
        if text[:1] in {" ", "\t"} and pairs:  # RFC 2326 §4.2: a folded field
            pairs[-1] = (pairs[-1][0], f"{pairs[-1][1]} {text.strip()}".strip())
        elif colon and _TOKEN.match(name.rstrip()) and not _UNFIT.search(value):
            pairs.append((name.rstrip(), value.strip()))
        elif not is_tolerant:
            raise PeerError("a line that is no header")
    for _, value in pairs:
        if _UNFIT.search(value):
            raise PeerError("control characters in a header")
    return pairs


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")


def read_cseq(headers: Headers) -> int | None:
    """None if it is missing or no number (RFC 2326 §12.17)."""
    values = set(headers.all("cseq"))
    value = values.pop() if len(values) == 1 else ""
    return int(value) if _DIGITS.match(value) else None


def read_content_length(headers: Headers) -> int:
    """Raises: PeerError unless it is missing or one number within the cap."""
    values = set(headers.all("content-length"))
    if not values:
        return 0
    value = values.pop()
    if values or not _DIGITS.match(value):
        raise PeerError("a malformed Content-Length")
    length = int(value)
    if length > MAX_BODY_BYTES:
        raise PeerError(f"a body of more than {MAX_BODY_BYTES} bytes")
    return length


def format_request(
    method: str, url: str, headers: Iterable[tuple[str, str]], body: bytes = b""
) -> bytes:
    """Content-Length is added. Raises: MisuseError for what would break the line."""
    return _format(f"{method} {url} {VERSION}", headers, body)


def format_response(
    code: int, headers: Iterable[tuple[str, str]], body: bytes = b"", reason: str = ""
) -> bytes:
    """Content-Length is added. Raises: MisuseError for what would break the line."""
    return _format(f"{VERSION} {code} {reason or REASONS.get(code, 'Status')}", headers, body)


def _format(start: str, headers: Iterable[tuple[str, str]], body: bytes) -> bytes:
    lines = [start, *(f"{name}: {value}" for name, value in headers)]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    if any(_UNFIT.search(line) for line in lines):
        raise MisuseError("a control character in a message of ours")
    return "\r\n".join((*lines, "", "")).encode("utf-8", "replace") + body
