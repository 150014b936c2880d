"""Master keys out of the handshake, and session keys out of them (RFC 5764 §4.2, RFC 3711 §4.3)."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from appliance.errors import MisuseError
from appliance.wire.srtp.profile import AES128_CM_SHA1_80, SrtpProfile

EXPORT_LABEL = b"EXTRACTOR-dtls_srtp"
AUTH_KEY_BYTES = 20  # RFC 3711 §5.2
_MASTER_SALT_BYTES = 14  # a shorter one has zeros behind it (RFC 7714 §11)


@dataclass(slots=True, frozen=True)
class MasterKey:
    """Of one direction."""

    profile: SrtpProfile
    key: bytes
    salt: bytes

    def __repr__(self) -> str:
        return f"MasterKey({self.profile.name})"  # never the key: logs are read by others


@dataclass(slots=True, frozen=True)
class SessionKeys:
    """auth: empty where the cipher authenticates by itself."""

    cipher: bytes
    auth: bytes
    salt: bytes

    def __repr__(self) -> str:
        return "SessionKeys()"


@dataclass(slots=True, frozen=True)
class SrtpKeys:
    """What a DTLS handshake leaves: local protects what is sent, remote what is received."""

    local: MasterKey
    remote: MasterKey


def exported_bytes(profile: SrtpProfile) -> int:
    """How much keying material the handshake must export."""
    return 2 * (profile.key_bytes + profile.salt_bytes)


def server_keys(profile: SrtpProfile, material: bytes) -> SrtpKeys:
    """The server's view of the exported material: client key, server key, then their salts."""
    if len(material) != exported_bytes(profile):
        raise MisuseError(f"{len(material)} bytes of keying material for {profile.name}")
    key, salt = profile.key_bytes, profile.salt_bytes
    client_key, server_key, salts = material[:key], material[key : 2 * key], material[2 * key :]
    return SrtpKeys(
        local=MasterKey(profile, server_key, salts[salt:]),
        remote=MasterKey(profile, client_key, salts[:salt]),
    )


def derive_rtp(master: MasterKey) -> SessionKeys:
    return _derive(master, 0)


def derive_rtcp(master: MasterKey) -> SessionKeys:
    return _derive(master, 3)


def _derive(master: MasterKey, label: int) -> SessionKeys:
    """Labels in succession: the cipher's key, the authentication's key, the salt."""
    profile = master.profile
    auth_bytes = AUTH_KEY_BYTES if profile is AES128_CM_SHA1_80 else 0
    return SessionKeys(
        _stream(master, label, profile.key_bytes),
        _stream(master, label + 1, auth_bytes),
        _stream(master, label + 2, profile.salt_bytes),
    )


def _stream(master: MasterKey, label: int, count: int) -> bytes:
    """The pseudo-random function, with a key derivation rate of 0 (RFC 3711 §4.3.3)."""
    salt = int.from_bytes(master.salt.ljust(_MASTER_SALT_BYTES, b"\0"), "big")
    start = ((label << 48) ^ salt) << 16
    mode = modes.CTR(start.to_bytes(16, "big"))
    return Cipher(algorithms.AES(master.key), mode).encryptor().update(bytes(count))
