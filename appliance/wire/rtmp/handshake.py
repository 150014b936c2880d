"""RTMP's handshake, plain (RTMP 1.0 §5.2) and with digests, both roles.

The digest form is what Flash Player 9 brought and what many encoders still ask for: C1 and S1 hold
an HMAC-SHA256 of themselves at a place that other bytes of them tell (two schemes), C2 and S2 one
that is keyed by the peer's. It proves nothing, its keys are everywhere; but some players show no
H.264 to a server that does not speak it.
"""

from __future__ import annotations

import hashlib
import hmac

from appliance.errors import PeerError

VERSION = 3
BLOCK_BYTES = 1536
DIGEST_BYTES = 32
_SALT = bytes.fromhex("f0eec24a8068bee82e00d0d1029e7e576eec5d2d29806fab93b8e636cfeb31ae")
PLAYER_NAME = b"Genuine Adobe Flash Player 001"
SERVER_NAME = b"Genuine Adobe Flash Media Server 001"
SERVER_VERSION = bytes((4, 5, 0, 1))  # below 3 a player takes the handshake for a plain one
PLAYER_VERSION = bytes((10, 0, 45, 2))
# Where the digest's place is told, and where its part of the block begins, by scheme.
_SCHEMES = ((772, 776), (8, 12))
_RANGE = 728


def _digest_at(block: bytes, scheme: int) -> int:
    told, begin = _SCHEMES[scheme]
    return begin + sum(block[told : told + 4]) % _RANGE


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, hashlib.sha256)


def _without(block: bytes, place: int) -> bytes:
    return block[:place] + block[place + DIGEST_BYTES :]


def find_digest(block: bytes, name: bytes) -> tuple[int, bytes] | None:
    """(scheme, digest) of a C1 or S1 that has one made with this name; else it is a plain one."""
    for scheme in (0, 1):
        place = _digest_at(block, scheme)
        digest = block[place : place + DIGEST_BYTES]
        if hmac.compare_digest(_hmac(name, _without(block, place)), digest):
            return scheme, digest
    return None


def put_digest(block: bytes, name: bytes, scheme: int) -> bytes:
    """The block with its digest in place."""
    place = _digest_at(block, scheme)
    digest = _hmac(name, _without(block, place))
    return block[:place] + digest + block[place + DIGEST_BYTES :]


def answer_to(digest: bytes, name: bytes, noise: bytes) -> bytes:
    """C2 or S2: noise, and its digest under a key made from the peer's digest."""
    body = noise[: BLOCK_BYTES - DIGEST_BYTES]
    return body + _hmac(_hmac(name + _SALT, digest), body)


class ServerHandshake:
    """`receive` until `done`; `noise` is 1536 random bytes, as nothing here makes any.

    rest: what came after C2.
    """

    def __init__(self, noise: bytes) -> None:
        self.done = False
        self.rest = b""
        self._noise = noise
        self._input = bytearray()
        self._answered = False

    def receive(self, data: bytes) -> bytes:
        """What must be sent now. Raises: PeerError if this is not RTMP (nothing is said then)."""
        self._input += data
        if self._input and self._input[0] != VERSION:
            raise PeerError(f"the first byte is {self._input[0]:#04x}, not that of RTMP")
        output = b""
        if not self._answered and len(self._input) > BLOCK_BYTES:
            output = self._answer(bytes(self._input[1 : 1 + BLOCK_BYTES]))
            self._answered = True
        # C2 should repeat S1, which many clients do not; its length is all that counts.
        if self._answered and len(self._input) > 2 * BLOCK_BYTES:
            self.rest = bytes(self._input[1 + 2 * BLOCK_BYTES :])
            self._input.clear()
            self.done = True
        return output

    def _answer(self, c1: bytes) -> bytes:
        found = find_digest(c1, PLAYER_NAME) if any(c1[4:8]) else None
        if found is None:
            s1 = bytes(8) + self._noise[8:]
            return bytes((VERSION,)) + s1 + c1
        scheme, digest = found
        block = bytes(4) + SERVER_VERSION + self._noise[8:]
        s1 = put_digest(block, SERVER_NAME, scheme)
        s2 = answer_to(digest, SERVER_NAME, self._noise[::-1])
        return bytes((VERSION,)) + s1 + s2


class ClientHandshake:
    """`begin`, then `receive` until `done`. Digests are offered; servers without them ignore it."""

    def __init__(self, noise: bytes) -> None:
        self.done = False
        self.rest = b""
        self._noise = noise
        self._input = bytearray()

    def begin(self) -> bytes:
        """C0 and C1."""
        block = bytes(4) + PLAYER_VERSION + self._noise[8:]
        return bytes((VERSION,)) + put_digest(block, PLAYER_NAME, 1)

    def receive(self, data: bytes) -> bytes:
        """C2 once S0, S1 and S2 are there. Raises: PeerError if this is not RTMP."""
        self._input += data
        if self._input and self._input[0] != VERSION:
            raise PeerError(f"the server's first byte is {self._input[0]:#04x}, not that of RTMP")
        if len(self._input) <= 2 * BLOCK_BYTES:
            return b""
        s1 = bytes(self._input[1 : 1 + BLOCK_BYTES])
        self.rest = bytes(self._input[1 + 2 * BLOCK_BYTES :])
        self._input.clear()
        self.done = True
        found = find_digest(s1, SERVER_NAME) if any(s1[4:8]) else None
        return s1 if found is None else answer_to(found[1], PLAYER_NAME, self._noise[::-1])
