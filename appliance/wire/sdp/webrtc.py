"""Answers to a browser's offer: to one who plays from us, to one who publishes to us.

JSEP (RFC 8829 §5.3), BUNDLE (RFC 8843 §7.3), ICE lite (RFC 8839). The DTLS handshake is the peer's
unless it leaves it to us (RFC 5763 §5). All media go by one transport. A section that we take no
part in is inactive if we know its codecs, else rejected.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from appliance.errors import CodecUnsupported
from appliance.media.track import Kind, Track
from appliance.wire.ice.candidate import Candidate
from appliance.wire.ice.credentials import Credentials
from appliance.wire.sdp.session import Connection, Direction, Media, RtpMap, Session
from appliance.wire.sdp.webrtc_codecs import (
    AUDIO_ENCODINGS,
    VIDEO_ENCODINGS,
    answered_fmtp,
    best_match,
    best_to_take,
)
from appliance.wire.sdp.webrtc_offer import (
    Extension,
    Fingerprint,
    OfferedCodec,
    OfferedSection,
    WebRtcOffer,
)

_FEEDBACK = ("transport-cc", "ccm fir", "nack", "nack pli")
_EXTENSIONS = {
    Kind.AUDIO: (Extension.MID, Extension.ABS_SEND_TIME, Extension.TRANSPORT_CC),
    Kind.VIDEO: tuple(Extension),
}
_TAKES = frozenset({Direction.RECVONLY, Direction.SENDRECV})
_GIVES = frozenset({Direction.SENDONLY, Direction.SENDRECV})


@dataclass(frozen=True, slots=True)
class LocalTransport:
    """Our end. fingerprint: SHA-256 of our certificate."""

    credentials: Credentials
    fingerprint: Fingerprint
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Sending:
    """A track for a player. rtx_ssrc: of what is sent again, where the player takes RTX."""

    track: Track
    ssrc: int
    rtx_ssrc: int


@dataclass(slots=True)
class AgreedSection:
    """One section with media. direction: ours, `SENDONLY` or `RECVONLY`.

    extensions, feedback: what both ends know. sending: the track, if we send. offered: the
    section that this answers.
    """

    mid: str
    kind: Kind
    direction: Direction
    codec: OfferedCodec
    extensions: dict[Extension, int]
    feedback: frozenset[str]
    sending: Sending | None
    offered: OfferedSection


@dataclass(slots=True)
class Answer:
    """session: to be packed and sent. sections: those with media, in the offer's order.

    refusals: why tracks or sections have no part, for whoever explains it.
    """

    session: Session
    sections: list[AgreedSection] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)


def takes(offer: WebRtcOffer, track: Track) -> bool:
    """Whether a player's offer has a section and a codec for it."""
    return any(
        section.kind == track.kind and section.direction in _TAKES
        for section in offer.usable()
        if best_match(section.codecs, track.config)
    )


def answer_player(
    offer: WebRtcOffer,
    local: LocalTransport,
    sendings: Sequence[Sending],
    *,
    session_id: int,
    name: str,
) -> Answer:
    """For WHEP. sendings: each track goes to the first free section of its kind that takes it.

    name: of the stream, by which the player groups the tracks. Raises: CodecUnsupported if nothing
    can be sent.
    """
    answer = Answer(_session(session_id))
    left = list(sendings)
    for section in offer.sections:
        agreed = _agree_to_send(section, left)
        if agreed is not None and agreed.sending is not None:
            left.remove(agreed.sending)
        _append(answer, section, agreed)
    answer.refusals += [f"the peer takes no {s.track.codec} {s.track.kind}" for s in left]
    return _finish(answer, offer, local, name)


def answer_publisher(
    offer: WebRtcOffer,
    local: LocalTransport,
    *,
    session_id: int,
    video: Sequence[str] = VIDEO_ENCODINGS,
    audio: Sequence[str] = AUDIO_ENCODINGS,
) -> Answer:
    """For WHIP: one video and one audio, of the first encodings that the publisher has.

    Raises: CodecUnsupported if it has none of them.
    """
    answer = Answer(_session(session_id))
    left = {Kind.VIDEO: video, Kind.AUDIO: audio}
    for section in offer.sections:
        agreed = _agree_to_take(section, left)
        if agreed is not None:
            del left[agreed.kind]
        _append(answer, section, agreed)
    return _finish(answer, offer, local, "")


def _agree_to_send(section: OfferedSection, left: Sequence[Sending]) -> AgreedSection | None:
    if section.refused or section.direction not in _TAKES:
        return None
    for sending in left:
        codec = best_match(section.codecs, sending.track.config)
        if codec is not None and section.kind == sending.track.kind:
            return _agreed(section, codec, Direction.SENDONLY, sending)
    return None


def _agree_to_take(
    section: OfferedSection, left: dict[Kind, Sequence[str]]
) -> AgreedSection | None:
    if section.refused or section.direction not in _GIVES:
        return None
    codec = best_to_take(section.codecs, left.get(Kind(section.kind), ()))
    return _agreed(section, codec, Direction.RECVONLY, None) if codec else None


def _agreed(
    section: OfferedSection, codec: OfferedCodec, direction: Direction, sending: Sending | None
) -> AgreedSection:
    kind = Kind(section.kind)
    extensions = {e: section.extensions[e] for e in _EXTENSIONS[kind] if e in section.extensions}
    feedback = {word for word in _FEEDBACK if word in codec.feedback}
    if Extension.TRANSPORT_CC not in extensions:
        feedback.discard("transport-cc")
    return AgreedSection(
        section.mid, kind, direction, codec, extensions, frozenset(feedback), sending, section
    )


def _session(session_id: int) -> Session:
    session = Session(origin=f"- {session_id} 1 IN IP4 127.0.0.1")
    session.add("ice-lite")
    return session


def _append(answer: Answer, section: OfferedSection, agreed: AgreedSection | None) -> None:
    """The section of our answer, without its transport."""
    offered = section.media
    media = Media(
        kind=offered.kind, port=9, protocol=offered.protocol, connection=Connection("0.0.0.0")
    )
    if section.mid:
        media.add("mid", section.mid)
    if agreed is not None:
        answer.sections.append(agreed)
        _describe(media, agreed.codec, agreed)
        if "rtcp-rsize" in {attribute.name for attribute in offered.attributes}:
            media.add("rtcp-rsize")
    elif (idle := _known_codec(section)) is not None:
        _describe(media, idle, None)
        answer.refusals.append(f"nothing for a section of {section.kind}")
    else:
        media.port, media.formats = 0, offered.formats[:1] or ("0",)
        answer.refusals.append(
            section.refused or f"no codec of ours in a section of {section.kind}"
        )
    answer.session.media.append(media)


def _known_codec(section: OfferedSection) -> OfferedCodec | None:
    encodings = VIDEO_ENCODINGS if section.kind == Kind.VIDEO else AUDIO_ENCODINGS
    return None if section.refused else best_to_take(section.codecs, encodings)


def _describe(media: Media, codec: OfferedCodec, agreed: AgreedSection | None) -> None:
    """agreed: None for an inactive section."""
    media.formats = (str(codec.payload_type),)
    media.add(agreed.direction.value if agreed else Direction.INACTIVE.value)
    media.add("rtcp-mux")
    is_opus = codec.encoding == "OPUS"
    name, channels = ("opus", 2) if is_opus else (codec.encoding, codec.channels)
    rtpmap = RtpMap(codec.payload_type, name, codec.clock_rate_hz, channels)
    media.add("rtpmap", rtpmap.value())
    config = agreed.sending.track.config if agreed and agreed.sending else None
    if fmtp := answered_fmtp(codec, config):
        media.add("fmtp", f"{codec.payload_type} {fmtp}")
    if agreed is None:
        return
    for word in _FEEDBACK:
        if word in agreed.feedback:
            media.add("rtcp-fb", f"{codec.payload_type} {word}")
    if (rtx := codec.rtx_payload_type) is not None:
        media.formats = (str(codec.payload_type), str(rtx))
        media.add("rtpmap", RtpMap(rtx, "rtx", codec.clock_rate_hz).value())
        media.add("fmtp", f"{rtx} apt={codec.payload_type}")
    for extension, identity in agreed.extensions.items():
        media.add("extmap", f"{identity} {extension}")


def _finish(answer: Answer, offer: WebRtcOffer, local: LocalTransport, name: str) -> Answer:
    if not answer.sections:
        raise CodecUnsupported("; ".join(dict.fromkeys(answer.refusals))[:500])
    accepted = [media for media in answer.session.media if media.port]
    mids = [media.value("mid") for media in accepted]
    if offer.bundle:
        answer.session.add("group", " ".join(("BUNDLE", *(mid for mid in mids if mid))))
    answer.session.add("msid-semantic", "WMS *")
    for media, agreed in _pairs(accepted, answer.sections):
        if agreed is not None and agreed.sending is not None:
            _name_sources(media, agreed.sending, agreed.codec, name)
        media.add("setup", "active" if offer.is_waiting else "passive")
        _add_transport(media, local, is_first=media is accepted[0])
    return answer


def _pairs(
    accepted: list[Media], sections: list[AgreedSection]
) -> Iterator[tuple[Media, AgreedSection | None]]:
    """Both are in the offer's order; inactive sections have nothing agreed."""
    left = iter(sections)
    for media in accepted:
        yield media, next(left) if media.direction is not Direction.INACTIVE else None


def _name_sources(media: Media, sending: Sending, codec: OfferedCodec, name: str) -> None:
    """msid (RFC 8830), and SSRC with cname and RTX (RFC 5576)."""
    stream = re.sub(r"[^0-9A-Za-z_.-]", "-", name)[:64] or "-"
    media.add("msid", f"{stream} {sending.track.kind}{sending.track.id}")
    ssrcs = [sending.ssrc]
    if codec.rtx_payload_type is not None:
        ssrcs.append(sending.rtx_ssrc)
        media.add("ssrc-group", f"FID {sending.ssrc} {sending.rtx_ssrc}")
    for ssrc in ssrcs:
        media.add("ssrc", f"{ssrc} cname:{stream}")


def _add_transport(media: Media, local: LocalTransport, *, is_first: bool) -> None:
    """Candidates stand once: the others of a group share them (RFC 8843 §9.1). The rest stands in
    each, for those who read only their section."""
    media.add("ice-ufrag", local.credentials.ufrag)
    media.add("ice-pwd", local.credentials.password)
    media.add("fingerprint", local.fingerprint.value())
    if is_first:
        for candidate in local.candidates:
            media.add("candidate", candidate.value())
        media.add("end-of-candidates")
