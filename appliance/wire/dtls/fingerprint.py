"""Certificate fingerprints as session descriptions carry them (RFC 8122 §5)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import new as new_hash
from hmac import compare_digest

from appliance.errors import PeerError

DIGEST_BYTES = {"sha-256": 32, "sha-384": 48, "sha-512": 64}  # MD5 and SHA-1 prove nothing
DEFAULT = "sha-256"
_OCTET = re.compile("[0-9A-Fa-f]{2}")


@dataclass(slots=True, frozen=True)
class Fingerprint:
    """algorithm: one of DIGEST_BYTES."""

    algorithm: str
    digest: bytes

    def __str__(self) -> str:
        """As `a=fingerprint:` has it."""
        return f"{self.algorithm} {self.digest.hex(':').upper()}"

    def matches(self, certificate_der: bytes) -> bool:
        return compare_digest(digest(certificate_der, self.algorithm), self.digest)


def of_certificate(certificate_der: bytes) -> Fingerprint:
    return Fingerprint(DEFAULT, digest(certificate_der, DEFAULT))


def digest(certificate_der: bytes, algorithm: str) -> bytes:
    return new_hash(algorithm.replace("-", ""), certificate_der).digest()


def parse_fingerprint(value: str) -> Fingerprint:
    """Raises: PeerError if it is damaged or of an algorithm that proves nothing."""
    name, _, text = value.strip().partition(" ")
    algorithm = name.lower()
    size = DIGEST_BYTES.get(algorithm)
    if size is None:
        raise PeerError("a certificate fingerprint that is neither SHA-256 nor a longer SHA-2")
    octets = text.strip().split(":")
    if len(octets) != size or not all(map(_OCTET.fullmatch, octets)):
        raise PeerError(f"a damaged {algorithm} fingerprint")
    return Fingerprint(algorithm, bytes.fromhex("".join(octets)))
