"""The protection profiles that are offered, and which one comes first on which processor."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class SrtpProfile:
    """name: as OpenSSL spells it (RFC 5764 §4.1.2, RFC 7714 §14.2)."""

    name: str
    salt_bytes: int
    tag_bytes: int
    key_bytes: int = 16


AES128_CM_SHA1_80 = SrtpProfile("SRTP_AES128_CM_SHA1_80", 14, 10)
AEAD_AES_128_GCM = SrtpProfile("SRTP_AEAD_AES_128_GCM", 12, 16)
PROFILES = {profile.name: profile for profile in (AES128_CM_SHA1_80, AEAD_AES_128_GCM)}

_AES = "aes"
_CARRYLESS = {"pclmulqdq", "pmull"}  # x86's and ARM's multiplication for GCM's hash


def has_fast_gcm(cpuinfo: str) -> bool:
    """Whether the processor has instructions for both halves of AES-GCM.

    cpuinfo: the text of /proc/cpuinfo. Without them (Raspberry Pi up to 4) GCM is the slower one.
    """
    for line in cpuinfo.splitlines():
        title, _, words = line.partition(":")
        if title.strip().lower() in {"flags", "features"}:
            features = set(words.split())
            return _AES in features and not _CARRYLESS.isdisjoint(features)
    return False


def preferred_profiles(cpuinfo: str) -> tuple[SrtpProfile, ...]:
    """Both profiles, the cheaper one first: the server's order decides what is negotiated."""
    if has_fast_gcm(cpuinfo):
        return AEAD_AES_128_GCM, AES128_CM_SHA1_80
    return AES128_CM_SHA1_80, AEAD_AES_128_GCM
