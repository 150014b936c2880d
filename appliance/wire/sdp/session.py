"""A session description as values, and its text (RFC 8866; RFC 2326 appendix C for RTSP).

Attributes stay in their order, known or not; what they say is read on demand. Lines that nobody
here reads (i=, u=, e=, p=, r=, z=, k=) are not kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from appliance.errors import PeerError

MAX_NUMBER_DIGITS = 10


class Direction(StrEnum):
    """From the view of whoever the description is made for, in RTSP the player (RFC 2326 C.1)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"


@dataclass(slots=True)
class Attribute:
    """``a=name:value``, or a property ``a=name`` with no value."""

    name: str
    value: str | None = None


@dataclass(slots=True)
class Connection:
    """c=. address: without TTL and count; ttl: of IPv4 multicast, else None."""

    address: str
    ttl: int | None = None
    is_ipv6: bool = False

    def line(self) -> str:
        ttl = "" if self.ttl is None else f"/{self.ttl}"
        return f"c=IN {'IP6' if self.is_ipv6 else 'IP4'} {self.address}{ttl}"


@dataclass(slots=True)
class RtpMap:
    """What a payload type carries. channels: 1 where nothing is said."""

    payload_type: int
    encoding: str
    clock_rate_hz: int
    channels: int = 1

    def value(self) -> str:
        channels = f"/{self.channels}" if self.channels > 1 else ""
        return f"{self.payload_type} {self.encoding}/{self.clock_rate_hz}{channels}"


@dataclass(slots=True, kw_only=True)
class _Section:
    """What sessions and media sections have in common. bandwidth: b= by its modifier."""

    connection: Connection | None = None
    bandwidth: dict[str, int] = field(default_factory=dict)
    attributes: list[Attribute] = field(default_factory=list)

    def values(self, name: str) -> Iterator[str]:
        """Of every attribute of this name; a property counts as empty."""
        return (a.value or "" for a in self.attributes if a.name.lower() == name)

    def value(self, name: str) -> str | None:
        return next(self.values(name), None)

    def add(self, name: str, value: str | None = None) -> None:
        self.attributes.append(Attribute(name, value))

    @property
    def control(self) -> str | None:
        """RFC 2326 C.1.1: a URL, absolute or relative, or ``*``."""
        return self.value("control")

    @property
    def range(self) -> str | None:
        """RFC 2326 C.1.5, such as ``npt=0-`` (live) or ``npt=0-7.74`` (a recording)."""
        return self.value("range")

    @property
    def direction(self) -> Direction | None:
        names = {attribute.name.lower() for attribute in self.attributes}
        return next((word for word in Direction if word.value in names), None)

    def _lines(self) -> Iterator[str]:
        if self.connection:
            yield self.connection.line()
        yield from (f"b={name}:{value}" for name, value in self.bandwidth.items())

    def _attribute_lines(self) -> Iterator[str]:
        for attribute in self.attributes:
            value = "" if attribute.value is None else f":{attribute.value}"
            yield f"a={attribute.name}{value}"


@dataclass(slots=True, kw_only=True)
class Media(_Section):
    """One m= section. port: 0 in RTSP, where SETUP settles ports. formats: payload types of RTP,
    as written."""

    kind: str = "video"
    port: int = 0
    port_count: int = 1
    protocol: str = "RTP/AVP"
    formats: tuple[str, ...] = ()

    @property
    def payload_types(self) -> list[int]:
        """Those of RTP among the formats, each once."""
        numbers = (number(text, 127) for text in self.formats)
        return list(dict.fromkeys(n for n in numbers if n is not None))

    def rtpmap(self, payload_type: int) -> RtpMap | None:
        """The first that can be read, or what RFC 3551 §6 says of a static payload type."""
        for value in self.values("rtpmap"):
            head = value.strip().partition(" ")[0]
            if number(head, 127) == payload_type and (found := _parse_rtpmap(value)):
                return found
        return STATIC.get(payload_type)

    def fmtp(self, payload_type: int) -> dict[str, str]:
        """Format parameters, names in lower case; a word without ``=`` has an empty value."""
        parameters: dict[str, str] = {}
        for value in self.values("fmtp"):
            head, _, text = value.strip().partition(" ")
            if number(head, 127) == payload_type:
                for name, setting in _parameters(text):
                    parameters.setdefault(name, setting)
        return parameters

    @property
    def ptime_ms(self) -> float | None:
        """How much sound a packet holds (RFC 8866 §6.4)."""
        text = (self.value("ptime") or "").strip()
        whole, _, fraction = text.partition(".")
        if number(whole, 100_000) is None or (fraction and number(fraction, 10**10) is None):
            return None
        return float(text)

    def lines(self) -> Iterator[str]:
        count = f"/{self.port_count}" if self.port_count > 1 else ""
        yield f"m={self.kind} {self.port}{count} {self.protocol} {' '.join(self.formats)}".rstrip()
        yield from self._lines()
        yield from self._attribute_lines()


@dataclass(slots=True, kw_only=True)
class Session(_Section):
    """A whole description. origin: o= without its letter."""

    origin: str = "- 0 0 IN IP4 0.0.0.0"
    name: str = "-"
    timing: str = "0 0"
    media: list[Media] = field(default_factory=list)

    def direction_of(self, media: Media) -> Direction:
        """Its own, else the session's, else both ways (RFC 8866 §6.7)."""
        return media.direction or self.direction or Direction.SENDRECV

    def pack(self) -> bytes:
        """UTF-8 with CRLF. Raises: PeerError if a field brings a line end of its own along."""
        lines = ["v=0", f"o={self.origin}", f"s={self.name}", *self._lines(), f"t={self.timing}"]
        lines += self._attribute_lines()
        for media in self.media:
            lines += media.lines()
        if any("\n" in line or "\r" in line or "\0" in line for line in lines):
            raise PeerError("a line end inside a field of a session description")
        return "".join(f"{line}\r\n" for line in lines).encode("utf-8", "replace")


def number(text: str, most: int) -> int | None:
    """Plain ASCII digits up to `most`, else None."""
    if not text.isascii() or not text.isdigit() or len(text) > MAX_NUMBER_DIGITS:
        return None
    return value if (value := int(text)) <= most else None


def _parse_rtpmap(value: str) -> RtpMap | None:
    """``96 H264/90000``; None if it cannot be read."""
    payload_type, _, encoding = value.strip().partition(" ")
    name, *rest = (part.strip() for part in encoding.strip().split("/"))
    kind = number(payload_type, 127)
    rate_hz = number(rest[0], 2**31 - 1) if rest else None
    channels = number(rest[1], 255) if len(rest) > 1 else 1
    if kind is None or not name or not rate_hz:
        return None
    return RtpMap(kind, name, rate_hz, channels or 1)


def _parameters(text: str) -> Iterator[tuple[str, str]]:
    for part in text.split(";"):
        name, _, value = part.strip().partition("=")
        if name:
            yield name.strip().lower(), value.strip().strip('"')


STATIC = {
    entry.payload_type: entry
    for entry in (
        RtpMap(0, "PCMU", 8000),
        RtpMap(8, "PCMA", 8000),
        RtpMap(10, "L16", 44_100, 2),
        RtpMap(11, "L16", 44_100),
        RtpMap(14, "MPA", 90_000),
        RtpMap(26, "JPEG", 90_000),
    )
}
