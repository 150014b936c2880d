"""What WHIP and WHEP send by PATCH: candidates that come late, or an ICE restart (RFC 8840 §4,
RFC 9725 §4.3)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from appliance.errors import PeerError
from appliance.media.unit import Buffer
from appliance.wire.ice.candidate import Candidate
from appliance.wire.ice.credentials import Credentials
from appliance.wire.sdp.parse import parse
from appliance.wire.sdp.session import Media
from appliance.wire.sdp.webrtc_offer import candidates

MAX_BYTES = 16_384


@dataclass(slots=True)
class IceFragment:
    """credentials: the peer's; other ones than before mean a restart. candidates: where it says it
    is; nothing is ever sent there for that."""

    credentials: Credentials | None
    candidates: list[Candidate]
    is_complete: bool


def parse_fragment(text: str | Buffer) -> IceFragment:
    """Raises: PeerError if it is no fragment, or its credentials are malformed."""
    if len(text) > MAX_BYTES:
        raise PeerError(f"an ICE fragment of {len(text)} bytes")
    session = parse(text)
    attributes = [*session.attributes, *(a for m in session.media for a in m.attributes)]
    ufrag = next((a.value for a in attributes if a.name == "ice-ufrag"), None)
    password = next((a.value for a in attributes if a.name == "ice-pwd"), None)
    if (ufrag is None) != (password is None):
        raise PeerError("half of ICE's credentials")
    return IceFragment(
        Credentials(ufrag, password) if ufrag and password else None,
        list(candidates(attributes)),
        any(a.name == "end-of-candidates" for a in attributes),
    )


def format_fragment(
    credentials: Credentials, ours: Iterable[Candidate], *, kind: str, mid: str
) -> bytes:
    """Our answer to a restart. kind, mid: of the first section of the answer it belongs to."""
    media = Media(kind=kind, port=9, protocol="UDP/TLS/RTP/SAVPF", formats=("0",))
    if mid:
        media.add("mid", mid)
    media.add("ice-ufrag", credentials.ufrag)
    media.add("ice-pwd", credentials.password)
    for candidate in ours:
        media.add("candidate", candidate.value())
    media.add("end-of-candidates")
    return "".join(f"{line}\r\n" for line in ("a=ice-lite", *media.lines())).encode()
