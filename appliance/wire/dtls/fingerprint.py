"""Certificate fingerprints, as session descriptions announce them (RFC 8122 §5)."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import new as new_hash
from hmac import compare_digest

ALGORITHM = "sha-256"  # that everybody must know; peers may announce a longer one of SHA-2


@dataclass(slots=True, frozen=True)
class Fingerprint:
    """algorithm: ``sha-256``, or a longer one of a peer."""

    algorithm: str
    digest: bytes

    def value(self) -> str:
        """As `a=fingerprint:` has it."""
        return f"{self.algorithm} {self.digest.hex(':').upper()}"

    def matches(self, certificate_der: bytes) -> bool:
        return compare_digest(_digest(certificate_der, self.algorithm), self.digest)


def of_certificate(certificate_der: bytes) -> Fingerprint:
    return Fingerprint(ALGORITHM, _digest(certificate_der, ALGORITHM))


def _digest(certificate_der: bytes, algorithm: str) -> bytes:
    return new_hash(algorithm.replace("-", ""), certificate_der).digest()
