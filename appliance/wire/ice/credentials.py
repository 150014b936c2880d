"""A session's short-term credentials: username fragment and password (RFC 8445 §5.3)."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field

from appliance.errors import MisuseError, PeerError

ENTROPY_BYTES = 24  # 48 bits for the fragment, 144 for the password; 24 and 128 are due

_UFRAG = re.compile(r"[0-9A-Za-z+/]{4,256}")
_PASSWORD = re.compile(r"[0-9A-Za-z+/]{22,256}")
_UFRAG_BYTES = 6


@dataclass(frozen=True, slots=True)
class Credentials:
    """Of one end. Raises: PeerError if they are not of ICE's characters and lengths
    (RFC 8839 §5.4)."""

    ufrag: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        if not _UFRAG.fullmatch(self.ufrag) or not _PASSWORD.fullmatch(self.password):
            raise PeerError("malformed ICE credentials")

    @property
    def key(self) -> bytes:
        """For MESSAGE-INTEGRITY (RFC 8489 §9.1.1): ICE's characters need no preparation."""
        return self.password.encode("ascii")


def make_credentials(entropy: bytes) -> Credentials:
    """Ours. entropy: ENTROPY_BYTES of the system's random source."""
    if len(entropy) != ENTROPY_BYTES:
        raise MisuseError(f"{len(entropy)} bytes of entropy for ICE credentials")
    text = [
        base64.b64encode(part).decode("ascii")
        for part in (entropy[:_UFRAG_BYTES], entropy[_UFRAG_BYTES:])
    ]
    return Credentials(*text)
