"""A browser's offer as values: its transport and what each media section can do.

JSEP (RFC 8829 §5.2, §5.8), BUNDLE (RFC 8843), ICE (RFC 8839), DTLS-SRTP (RFC 5763, RFC 8122),
header extensions (RFC 8285), feedback (RFC 4585 §4.2), RTX (RFC 4588 §8.1). We have one transport
for each peer, by which all media go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum

from appliance.errors import PeerError
from appliance.media.unit import Buffer
from appliance.wire.dtls.fingerprint import Fingerprint as Fingerprint
from appliance.wire.ice.candidate import Candidate, parse_candidate
from appliance.wire.ice.credentials import Credentials
from appliance.wire.sdp.parse import parse
from appliance.wire.sdp.session import Attribute, Direction, Media, Session, number

MAX_CODECS = 64  # of a section; Chromium has 34, each is compared with each track
MAX_CANDIDATES = 64  # told to whoever looks for a fault, and used for nothing
MAX_FINGERPRINTS = 8

_PROTOCOLS = frozenset(
    {
        "UDP/TLS/RTP/SAVPF",
        "UDP/TLS/RTP/SAVP",
        "TCP/DTLS/RTP/SAVPF",
        "TCP/DTLS/RTP/SAVP",
        "RTP/SAVPF",  # RFC 8829 §5.1.2: as old ones write it
        "RTP/SAVP",
    }
)
_DIGEST_BYTES = {"sha-256": 32, "sha-384": 48, "sha-512": 64}  # not what can be forged
_TOKEN = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]{1,32}")
_MAX_EXTENSION_ID = 14  # with heads of one byte (RFC 8285 §4.2)
_OF_FORMAT = frozenset({"rtpmap", "fmtp", "rtcp-fb"})


class Extension(StrEnum):
    """The header extensions that we use."""

    MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
    ABS_SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
    TRANSPORT_CC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
    VIDEO_ORIENTATION = "urn:3gpp:video-orientation"
    PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"


@dataclass(frozen=True, slots=True)
class OfferedCodec:
    """One payload type. encoding: in upper case; fmtp: names in lower case.

    feedback: ``nack``, ``nack pli``, ``ccm fir``, ``transport-cc``, …
    rtx_payload_type: of what is sent again.
    """

    payload_type: int
    encoding: str
    clock_rate_hz: int
    channels: int
    fmtp: dict[str, str]
    feedback: frozenset[str]
    rtx_payload_type: int | None = None


@dataclass(slots=True)
class OfferedSection:
    """One m= section. mid: empty if it has none. direction: from the peer's view.

    refused: why we take no part in it, else empty; then there are codecs and extensions.
    """

    media: Media
    mid: str
    direction: Direction
    refused: str = ""
    codecs: list[OfferedCodec] = field(default_factory=list)
    extensions: dict[Extension, int] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return self.media.kind


@dataclass(slots=True)
class WebRtcOffer:
    """What a peer proposes. bundle: the mids that share the transport, in its order.

    is_waiting: the DTLS handshake is left to us, as by FFmpeg 8.1; else the peer begins it.
    candidates: where the peer says it is; nothing is ever sent there for that.
    """

    session: Session
    is_waiting: bool
    credentials: Credentials
    fingerprints: tuple[Fingerprint, ...]
    bundle: tuple[str, ...]
    sections: list[OfferedSection]
    candidates: list[Candidate]

    def usable(self) -> Iterator[OfferedSection]:
        return (section for section in self.sections if not section.refused)


def parse_offer(text: str | Buffer) -> WebRtcOffer:
    """Raises: PeerError if it is no offer of WebRTC, or one that nobody who waits can answer."""
    session = parse(text)
    bundle = _bundle(session)
    sections = [_section(session, media, bundle) for media in session.media]
    _check_mids(sections, bundle)
    _refuse_other_transports(sections, bundle)
    first = next((s for s in sections if not s.refused), None)
    if first is None:
        reasons = "; ".join(dict.fromkeys(s.refused for s in sections)) or "no media section"
        raise PeerError(f"nothing in the offer that we could answer: {reasons[:200]}")
    return WebRtcOffer(
        session,
        _is_waiting(session, first.media),
        _credentials(session, first.media),
        _fingerprints(session, first.media),
        bundle,
        sections,
        list(candidates(a for s in sections for a in s.media.attributes)),
    )


def candidates(attributes: Iterable[Attribute]) -> Iterator[Candidate]:
    """The first MAX_CANDIDATES of them; what cannot be read is passed over."""
    values = (a.value for a in attributes if a.name == "candidate" and a.value)
    for value, _ in zip(values, range(MAX_CANDIDATES), strict=False):
        try:
            yield parse_candidate(value)
        except PeerError:
            continue


def _bundle(session: Session) -> tuple[str, ...]:
    """The first group; we have no second transport for others."""
    for value in session.values("group"):
        words = value.split()
        if words and words[0].upper() == "BUNDLE":
            return tuple(words[1:])
    return ()


def _section(session: Session, media: Media, bundle: tuple[str, ...]) -> OfferedSection:
    section = OfferedSection(media, (media.value("mid") or "").strip(), session.direction_of(media))
    if section.mid and not _TOKEN.fullmatch(section.mid):
        raise PeerError("a mid that is no token")
    section.refused = _refusal(section)
    if not section.refused:
        section.codecs = _codecs(media)
        section.extensions = _extensions(session, media)
        if not section.codecs:
            section.refused = "a section without a codec that can be read"
    return section


def _refusal(section: OfferedSection) -> str:
    media = section.media
    if media.kind not in {"audio", "video"}:
        return (
            "data channels are not served"
            if media.kind == "application"
            else "neither audio nor video"
        )
    if media.protocol.upper() not in _PROTOCOLS:
        return "a section without DTLS and SRTP"
    names = {attribute.name for attribute in media.attributes}
    if not media.port and "bundle-only" not in names:
        return "rejected by the offer itself"
    if not names & {"rtcp-mux", "rtcp-mux-only"}:
        raise PeerError("a section without rtcp-mux")  # RFC 8829 §5.2.1: every browser has it
    return ""


def _check_mids(sections: list[OfferedSection], bundle: tuple[str, ...]) -> None:
    mids = [section.mid for section in sections if section.mid]
    if len(set(mids)) != len(mids):
        raise PeerError("a mid twice")
    if len(set(bundle)) != len(bundle) or not set(bundle) <= set(mids):
        raise PeerError("a BUNDLE group of sections that are not there")


def _refuse_other_transports(sections: list[OfferedSection], bundle: tuple[str, ...]) -> None:
    """Only what is in the group, or where there is none the first section, has a transport."""
    is_taken = False
    for section in sections:
        if not section.refused:
            if section.mid not in bundle if bundle else is_taken:
                section.refused = "a section outside of BUNDLE"
            is_taken = True


def _is_waiting(session: Session, media: Media) -> bool:
    """Whether the peer leaves the handshake to us (RFC 5763 §5). Raises: PeerError if nobody would
    check, or what it does is not known."""
    if session.value("ice-lite") is not None or media.value("ice-lite") is not None:
        raise PeerError("both ends are ICE lite: nobody would check")
    setup = (_own(session, media, "setup") or "active").lower()  # RFC 4145 §4.1
    if setup not in {"actpass", "active", "passive"}:
        raise PeerError("a setup that is not known")
    return setup == "passive"


def _credentials(session: Session, media: Media) -> Credentials:
    ufrag, password = _own(session, media, "ice-ufrag"), _own(session, media, "ice-pwd")
    if not ufrag or not password:
        raise PeerError("no ICE credentials")
    return Credentials(ufrag, password)


def _fingerprints(session: Session, media: Media) -> tuple[Fingerprint, ...]:
    """Those of the section, else of the session. Raises: PeerError if none is strong enough."""
    texts = list(media.values("fingerprint")) or list(session.values("fingerprint"))
    found = (_fingerprint(text) for text in texts[:MAX_FINGERPRINTS])
    if strong := tuple(f for f in found if f is not None):
        return strong
    raise PeerError("no fingerprint of SHA-256 or better")


def _fingerprint(text: str) -> Fingerprint | None:
    algorithm, _, digits = text.strip().partition(" ")
    algorithm, pairs = algorithm.lower(), digits.strip().split(":")
    size = _DIGEST_BYTES.get(algorithm)
    if size is None:
        return None
    if len(pairs) != size or not all(re.fullmatch("[0-9A-Fa-f]{2}", pair) for pair in pairs):
        raise PeerError("a malformed fingerprint")
    return Fingerprint(algorithm, bytes.fromhex("".join(pairs)))


def _own(session: Session, media: Media, name: str) -> str | None:
    """What the section says, else what the session says for all of them."""
    value = media.value(name)
    return (session.value(name) if value is None else value) or None


def _codecs(media: Media) -> list[OfferedCodec]:
    """In the peer's order, RTX with what it repeats."""
    payload_types = media.payload_types[:MAX_CODECS]
    by_type = _by_payload_type(media, payload_types)
    found: list[OfferedCodec] = []
    rtx: dict[int, int] = {}
    for payload_type in payload_types:
        part = by_type[payload_type]
        rtpmap, fmtp = part.rtpmap(payload_type), part.fmtp(payload_type)
        if rtpmap is None:
            continue
        if rtpmap.encoding.lower() == "rtx":
            if (apt := number(fmtp.get("apt", ""), 127)) is not None:
                rtx.setdefault(apt, payload_type)
            continue
        found.append(
            OfferedCodec(
                payload_type,
                rtpmap.encoding.upper(),
                rtpmap.clock_rate_hz,
                rtpmap.channels,
                fmtp,
                frozenset(_feedback(part)),
            )
        )
    return [_with_rtx(codec, rtx.get(codec.payload_type)) for codec in found]


def _with_rtx(codec: OfferedCodec, payload_type: int | None) -> OfferedCodec:
    return replace(codec, rtx_payload_type=payload_type) if payload_type is not None else codec


def _by_payload_type(media: Media, payload_types: list[int]) -> dict[int, Media]:
    """What a section says of each, sorted out in one walk: against many formats times many
    attributes."""
    parts = {payload_type: Media(kind=media.kind) for payload_type in payload_types}
    for attribute in media.attributes:
        if attribute.name not in _OF_FORMAT:
            continue
        head = (attribute.value or "").partition(" ")[0]
        payload_type = number(head, 127)
        for named in parts if head == "*" else (payload_type,):
            if named in parts:
                parts[named].attributes.append(attribute)
    return parts


def _feedback(part: Media) -> Iterator[str]:
    for value in part.values("rtcp-fb"):
        yield " ".join(value.lower().split()[1:])


def _extensions(session: Session, media: Media) -> dict[Extension, int]:
    """Those of ours. The same number twice belongs to the first."""
    known = {extension.value: extension for extension in Extension}
    found: dict[Extension, int] = {}
    for section in (session, media):
        for value in section.values("extmap"):
            head, _, rest = value.partition(" ")
            identity = number(head.partition("/")[0], _MAX_EXTENSION_ID)
            extension = known.get(rest.strip().partition(" ")[0])
            if extension and identity and identity not in found.values():
                found.setdefault(extension, identity)
    return found
