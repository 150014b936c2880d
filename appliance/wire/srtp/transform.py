"""What the two profiles do with one packet's bytes, given its index.

One transform serves one direction of one session. Nothing here counts: an index must come once
only with other bytes, which is what `outbound` and `inbound` see to.
"""

from __future__ import annotations

from collections.abc import Iterable
from hmac import compare_digest
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.hmac import HMAC

from appliance.errors import PeerError
from appliance.media.unit import Buffer
from appliance.wire.srtp.keys import MasterKey, SessionKeys, derive_rtcp, derive_rtp
from appliance.wire.srtp.profile import AEAD_AES_128_GCM, SrtpProfile

CONTROL_HEADER_BYTES = 8  # of the first RTCP packet; never encrypted (RFC 3711 §3.4)
CONTROL_INDEX_BYTES = 4
ENCRYPTED = 1 << 31  # the E bit beside the SRTCP index
_INDEX_MASK = ENCRYPTED - 1


class Transform(Protocol):
    """Indices of RTP are 48 bits: the rollover counter and the sequence number."""

    tag_bytes: int

    def protect(
        self, ssrc: int, first_index: int, headers: Iterable[bytes], payloads: Iterable[Buffer]
    ) -> bytes:
        """Packets with successive indices, one behind the other."""
        ...

    def open(self, ssrc: int, index: int, data: Buffer, header_bytes: int) -> bytes:
        """The whole packet in clear. Raises: PeerError if it is not authentic."""
        ...

    def protect_control(self, ssrc: int, index: int, data: bytes) -> bytes:
        """A compound; index: of SRTCP, 31 bits."""
        ...

    def control_index_at(self, size: int) -> int:
        """Where the word with the index stands in a packet of so many bytes."""
        ...

    def open_control(self, ssrc: int, index_word: int, data: Buffer) -> bytes:
        """index_word: as the packet has it, with the E bit. Raises: PeerError."""
        ...


def make_transform(master: MasterKey) -> Transform:
    return keyed_transform(master.profile, derive_rtp(master), derive_rtcp(master))


def keyed_transform(profile: SrtpProfile, rtp: SessionKeys, control: SessionKeys) -> Transform:
    kind = _Gcm if profile is AEAD_AES_128_GCM else _CounterMode
    return kind(profile, rtp, control)


class _Gcm:
    """RFC 7714 §8 and §9."""

    __slots__ = ("_control", "_control_salt", "_rtp", "_salt", "tag_bytes")

    def __init__(self, profile: SrtpProfile, rtp: SessionKeys, control: SessionKeys) -> None:
        self.tag_bytes = profile.tag_bytes
        self._rtp = AESGCM(rtp.cipher)
        self._salt = int.from_bytes(rtp.salt, "big")
        self._control = AESGCM(control.cipher)
        self._control_salt = int.from_bytes(control.salt, "big")

    def protect(
        self, ssrc: int, first_index: int, headers: Iterable[bytes], payloads: Iterable[Buffer]
    ) -> bytes:
        encrypt, base, index = self._rtp.encrypt, self._salt ^ ssrc << 48, first_index
        pieces: list[bytes] = []
        for header, payload in zip(headers, payloads, strict=True):
            nonce = (base ^ index).to_bytes(12, "big")
            pieces += (header, encrypt(nonce, payload, header))
            index += 1
        return b"".join(pieces)

    def open(self, ssrc: int, index: int, data: Buffer, header_bytes: int) -> bytes:
        nonce = (self._salt ^ ssrc << 48 ^ index).to_bytes(12, "big")
        header = bytes(data[:header_bytes])
        return header + _decrypt(self._rtp, nonce, data[header_bytes:], header)

    def protect_control(self, ssrc: int, index: int, data: bytes) -> bytes:
        word = (ENCRYPTED | index).to_bytes(4, "big")
        header, body = data[:CONTROL_HEADER_BYTES], data[CONTROL_HEADER_BYTES:]
        nonce = self._control_nonce(ssrc, index)
        return header + self._control.encrypt(nonce, body, header + word) + word

    def control_index_at(self, size: int) -> int:
        return size - CONTROL_INDEX_BYTES  # behind the tag, which is part of the cipher's text

    def open_control(self, ssrc: int, index_word: int, data: Buffer) -> bytes:
        header = bytes(data[:CONTROL_HEADER_BYTES])
        body = data[CONTROL_HEADER_BYTES : len(data) - CONTROL_INDEX_BYTES]
        word = index_word.to_bytes(4, "big")
        nonce = self._control_nonce(ssrc, index_word & _INDEX_MASK)
        return header + _decrypt(self._control, nonce, body, header + word)

    def _control_nonce(self, ssrc: int, index: int) -> bytes:
        return (self._control_salt ^ ssrc << 48 ^ index).to_bytes(12, "big")


def _decrypt(cipher: AESGCM, nonce: bytes, data: Buffer, associated: bytes) -> bytes:
    try:
        return cipher.decrypt(nonce, data, associated)
    except InvalidTag:
        raise PeerError("an SRTP packet that is not authentic") from None


class _CounterMode:
    """AES in counter mode with HMAC-SHA1 (RFC 3711 §4.1.1, §4.2.1).

    The key schedules are made once: a cipher of its own for each packet costs four times as much.
    """

    __slots__ = ("_control", "_control_mac", "_control_salt", "_mac", "_rtp", "_salt", "tag_bytes")

    def __init__(self, profile: SrtpProfile, rtp: SessionKeys, control: SessionKeys) -> None:
        self.tag_bytes = profile.tag_bytes
        self._rtp, self._mac = _counter(rtp.cipher), HMAC(rtp.auth, SHA1())
        self._salt = int.from_bytes(rtp.salt, "big") << 16
        self._control, self._control_mac = _counter(control.cipher), HMAC(control.auth, SHA1())
        self._control_salt = int.from_bytes(control.salt, "big") << 16

    def protect(
        self, ssrc: int, first_index: int, headers: Iterable[bytes], payloads: Iterable[Buffer]
    ) -> bytes:
        restart, update, copy = self._rtp.reset_nonce, self._rtp.update, self._mac.copy
        base, index, tag_bytes = self._salt ^ ssrc << 64, first_index, self.tag_bytes
        pieces: list[bytes] = []
        for header, payload in zip(headers, payloads, strict=True):
            restart((base ^ index << 16).to_bytes(16, "big"))
            packet = header + update(payload)
            mac = copy()
            mac.update(packet + (index >> 16).to_bytes(4, "big"))
            pieces += (packet, mac.finalize()[:tag_bytes])
            index += 1
        return b"".join(pieces)

    def open(self, ssrc: int, index: int, data: Buffer, header_bytes: int) -> bytes:
        end = len(data) - self.tag_bytes
        packet = bytes(data[:end])
        rollover = (index >> 16).to_bytes(4, "big")
        _verify(self._mac, packet + rollover, data[end:])
        self._rtp.reset_nonce((self._salt ^ ssrc << 64 ^ index << 16).to_bytes(16, "big"))
        return packet[:header_bytes] + self._rtp.update(packet[header_bytes:])

    def protect_control(self, ssrc: int, index: int, data: bytes) -> bytes:
        self._start_control(ssrc, index)
        packet = data[:CONTROL_HEADER_BYTES] + self._control.update(data[CONTROL_HEADER_BYTES:])
        packet += (ENCRYPTED | index).to_bytes(4, "big")
        mac = self._control_mac.copy()
        mac.update(packet)
        return packet + mac.finalize()[: self.tag_bytes]

    def control_index_at(self, size: int) -> int:
        return size - self.tag_bytes - CONTROL_INDEX_BYTES

    def open_control(self, ssrc: int, index_word: int, data: Buffer) -> bytes:
        end = len(data) - self.tag_bytes
        _verify(self._control_mac, bytes(data[:end]), data[end:])
        self._start_control(ssrc, index_word & _INDEX_MASK)
        body = data[CONTROL_HEADER_BYTES : end - CONTROL_INDEX_BYTES]
        return bytes(data[:CONTROL_HEADER_BYTES]) + self._control.update(body)

    def _start_control(self, ssrc: int, index: int) -> None:
        nonce = self._control_salt ^ ssrc << 64 ^ index << 16
        self._control.reset_nonce(nonce.to_bytes(16, "big"))


def _counter(key: bytes) -> CipherContext:
    return Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()


def _verify(mac: HMAC, data: bytes, tag: Buffer) -> None:
    own = mac.copy()
    own.update(data)
    if not compare_digest(own.finalize()[: len(tag)], bytes(tag)):
        raise PeerError("an SRTP packet that is not authentic")
