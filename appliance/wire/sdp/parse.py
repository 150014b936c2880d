"""The text of a session description to values, tolerant of what cameras leave out (RFC 8866 §5)."""

from __future__ import annotations

from appliance.errors import PeerError
from appliance.media.unit import Buffer
from appliance.wire.sdp.session import Attribute, Connection, Media, Session, number

MAX_BYTES = 65_536
MAX_ATTRIBUTES = 2048  # of all sections; browsers write some hundred, each is looked at often
MAX_MEDIA = 16  # a camera has three or four; against a thousand, each of which wants a SETUP


def parse(text: str | Buffer) -> Session:
    """Lines may end in CRLF, LF or CR; lines that say nothing to us or cannot be read are left out.

    Raises: PeerError if it is too long, no description at all, has too many media sections or
    attributes, or a section whose m= line is damaged.
    """
    if len(text) > MAX_BYTES:
        raise PeerError(f"a session description of {len(text)} bytes")
    if not isinstance(text, str):
        text = bytes(text).decode("utf-8", "replace")
    session = Session()
    found = False
    attributes = 0
    for line in text.replace("\r", "\n").split("\n"):
        letter, equals, value = line.strip(" \t\0").partition("=")
        if equals and len(letter) == 1:
            found = True
            attributes += letter == "a"
            if attributes > MAX_ATTRIBUTES:
                raise PeerError(f"more than {MAX_ATTRIBUTES} attributes")
            _take(session, letter, value.strip())
    if not found:
        raise PeerError("not a session description")
    return session


def _take(session: Session, letter: str, value: str) -> None:
    section = session.media[-1] if session.media else session
    match letter:
        case "m":
            if len(session.media) == MAX_MEDIA:
                raise PeerError(f"more than {MAX_MEDIA} media sections")
            session.media.append(_parse_media(value))
        case "a":
            name, colon, setting = value.partition(":")
            section.attributes.append(Attribute(name.strip(), setting.strip() if colon else None))
        case "c":
            section.connection = _parse_connection(value) or section.connection
        case "b":
            name, _, amount = value.partition(":")
            if (bandwidth := number(amount.strip(), 2**31 - 1)) is not None:
                section.bandwidth[name] = bandwidth
        case "o":
            session.origin = value
        case "s":
            session.name = value or "-"  # RFC 8866 §5.3: never empty
        case "t" if section is session:
            session.timing = value


def _parse_media(value: str) -> Media:
    """``video 0 RTP/AVP 96``, ``audio 5004/2 RTP/AVP 0 8``. Raises: PeerError."""
    words = value.split()
    if len(words) < 3:
        raise PeerError("a media section without port or protocol")
    first, _, count = words[1].partition("/")
    port, ports = number(first, 65_535), number(count or "1", 65_535)
    if port is None or ports is None:
        raise PeerError("a media section whose port is no number")
    return Media(
        kind=words[0].lower(),
        port=port,
        port_count=ports,
        protocol=words[2],
        formats=tuple(words[3:]),
    )


def _parse_connection(value: str) -> Connection | None:
    """``IN IP4 239.0.0.1/127/2``; of IPv6 what follows a slash is a count, not a TTL."""
    words = value.split()
    if len(words) != 3 or words[0].upper() != "IN":
        return None
    address, *rest = words[2].split("/")
    is_ipv6 = words[1].upper() == "IP6"
    ttl = number(rest[0], 255) if rest and not is_ipv6 else None
    return Connection(address, ttl, is_ipv6)
