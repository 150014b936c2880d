"""Keys of a session whose both ends are in the test."""

from __future__ import annotations

from pylibsrtp import Policy, Session

from appliance.wire.rtp.packet import header
from appliance.wire.srtp.keys import MasterKey
from appliance.wire.srtp.profile import AEAD_AES_128_GCM, AES128_CM_SHA1_80, SrtpProfile

BOTH = (AEAD_AES_128_GCM, AES128_CM_SHA1_80)
SSRC = 0xCAFEBABE
KIND = 96
_LIBSRTP = {
    AEAD_AES_128_GCM: Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    AES128_CM_SHA1_80: Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
}


def master_key(profile: SrtpProfile) -> MasterKey:
    return MasterKey(profile, bytes(range(16)), bytes(range(100, 100 + profile.salt_bytes)))


def libsrtp(profile: SrtpProfile, *, sends: bool) -> Session:
    """The other implementation, with the same key."""
    master = master_key(profile)
    kind = Policy.SSRC_ANY_OUTBOUND if sends else Policy.SSRC_ANY_INBOUND
    policy = Policy(key=master.key + master.salt, ssrc_type=kind, srtp_profile=_LIBSRTP[profile])
    return Session(policy)


def headers(first_sequence: int, count: int, ssrc: int = SSRC) -> list[bytes]:
    return [header(KIND, first_sequence + step, 9000, ssrc, False) for step in range(count)]


def slices(data: bytes, size: int) -> list[bytes]:
    """As the kernel cuts one send into datagrams."""
    return [data[start : start + size] for start in range(0, len(data), size)]
