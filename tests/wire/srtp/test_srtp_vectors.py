"""The bytes that RFC 3711, RFC 7714 and libsrtp's own tests give."""

from __future__ import annotations

import pytest

from appliance.wire.srtp.inbound import InboundSession
from appliance.wire.srtp.keys import MasterKey, SessionKeys, derive_rtp
from appliance.wire.srtp.outbound import OutboundSession
from appliance.wire.srtp.profile import AEAD_AES_128_GCM, AES128_CM_SHA1_80
from appliance.wire.srtp.transform import keyed_transform

RFC_3711_KEY = bytes.fromhex("E1F97A0D3E018BE0D64FA32C06DE4139")
RFC_3711_SALT = bytes.fromhex("0EC675AD498AFEEBB6960B3AABE6")
CM = MasterKey(AES128_CM_SHA1_80, RFC_3711_KEY, RFC_3711_SALT)
GCM = MasterKey(AEAD_AES_128_GCM, bytes(range(16)), bytes(range(0xA0, 0xAC)))

PACKET = bytes.fromhex("800f1234decafbadcafebabe") + b"\xab" * 16
COMPOUND = bytes.fromhex("81c8000bcafebabe") + b"\xab" * 16
PROTECTED = {
    CM: "800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb",
    GCM: "800f1234decafbadcafebabec5002ede04cfdd2eb91159e0880aa06ed2976826f796b201df3131a127e8a392",
}
PROTECTED_CONTROL = {
    CM: "81c8000bcafebabe7128035be487b9bdbef89041f977a5a880000001993e08cd54d6c1230798",
    GCM: "81c8000bcafebabec98b8b5df0392a55852b6c21ac8e7025c52c6fbea2b3b446ea31123ba88ce61e80000001",
}
MASTERS = pytest.mark.parametrize("master", [CM, GCM], ids=["cm", "gcm"])


def test_session_keys_are_those_of_rfc_3711_appendix_b3() -> None:
    assert derive_rtp(CM) == SessionKeys(
        cipher=bytes.fromhex("C61E7A93744F39EE10734AFE3FF7A087"),
        auth=bytes.fromhex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"),
        salt=bytes.fromhex("30CBBC08863D8C85D49DB34A9AE1"),
    )


@MASTERS
def test_packet_is_protected_as_libsrtp_does(master: MasterKey) -> None:
    stream = OutboundSession(master).stream(0xCAFEBABE)
    assert stream.protect(0x1234, [PACKET[:12]], [PACKET[12:]]).hex() == PROTECTED[master]
    assert InboundSession(master).open(bytes.fromhex(PROTECTED[master])) == PACKET


@MASTERS
def test_compound_is_protected_as_libsrtp_does(master: MasterKey) -> None:
    protected = OutboundSession(master).protect_control(COMPOUND)
    assert protected.hex() == PROTECTED_CONTROL[master]
    assert InboundSession(master).open_control(protected) == COMPOUND


# RFC 7714 §16.1.1 and §17.1: session keys as they are, without derivation.
RFC_7714 = SessionKeys(bytes(range(16)), b"", b"Quid pro quo")


def test_gcm_packet_is_that_of_rfc_7714() -> None:
    transform = keyed_transform(AEAD_AES_128_GCM, RFC_7714, RFC_7714)
    header = bytes.fromhex("8040f17b8041f8d35501a0b2")
    text = b"Gallia est omnis divisa in partes tres"
    packet = transform.protect(0x5501A0B2, 0xF17B, [header], [text])
    assert packet == header + bytes.fromhex(
        "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833"
        "899d7f27beb16a9152cf765ee4390cce"
    )


def test_gcm_compound_is_that_of_rfc_7714() -> None:
    transform = keyed_transform(AEAD_AES_128_GCM, RFC_7714, RFC_7714)
    compound = bytes.fromhex(
        "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61"
        "deadbeefdeadbeefdeadbeefdeadbeefdeadbeef"
    )
    protected = transform.protect_control(0x4D617273, 0x5D4, compound)
    assert protected == bytes.fromhex(
        "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32d"
        "c676a5f1730d6fda4ce09b4686303ded0bb9275bc84aa45896cf4d2fc5abf872"
        "45d9eade800005d4"
    )
