"""STUN messages: parsed, checked, packed (RFC 8489), with the attributes of ICE (RFC 8445 §16.1).

Short-term credentials with HMAC-SHA1 only; no retransmission, no server discovery.
"""

from __future__ import annotations

import hmac
import ipaddress
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from appliance.errors import PeerError
from appliance.media.unit import Buffer

MAGIC_COOKIE = 0x2112A442
HEADER_BYTES = 20
MAX_BYTES = 1500  # no check is longer than a packet
MAX_ATTRIBUTES = 32  # browsers send eight or so; against 370 empty ones in each packet
MAX_USERNAME_BYTES = 513  # RFC 8489 §14.3
BINDING = 1

_HEADER = struct.Struct("!HHI12s")
_HEAD = struct.Struct("!HH")
_INTEGRITY_BYTES = 24  # with the attribute's head
_FINGERPRINT_BYTES = 8
_FINGERPRINT_MASK = 0x5354554E
_FAMILY_BYTES = {1: 4, 2: 16}


class MessageClass(IntEnum):
    REQUEST = 0
    INDICATION = 1
    SUCCESS = 2
    ERROR = 3


class AttributeType(IntEnum):
    """Those that we know. Below 0x8000 a receiver must understand them (RFC 8489 §14)."""

    MAPPED_ADDRESS = 0x0001
    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    UNKNOWN_ATTRIBUTES = 0x000A
    REALM = 0x0014
    NONCE = 0x0015
    XOR_MAPPED_ADDRESS = 0x0020
    PRIORITY = 0x0024
    USE_CANDIDATE = 0x0025
    SOFTWARE = 0x8022
    FINGERPRINT = 0x8028
    ICE_CONTROLLED = 0x8029
    ICE_CONTROLLING = 0x802A


_KNOWN = frozenset(AttributeType)


@dataclass(frozen=True, slots=True)
class Attribute:
    """value: without head and padding."""

    type: int
    value: bytes


@dataclass(slots=True)
class StunMessage:
    """One message. attributes: what MESSAGE-INTEGRITY covers; what follows it is nobody's word and
    left out (RFC 8489 §14.5), and so are the integrity and the fingerprint themselves.
    """

    message_class: MessageClass
    transaction_id: bytes
    attributes: list[Attribute] = field(default_factory=list)
    method: int = BINDING
    _signed: bytes = b""
    _signature: bytes = b""

    @property
    def has_integrity(self) -> bool:
        return bool(self._signature)

    def is_signed_by(self, key: bytes) -> bool:
        """Whether MESSAGE-INTEGRITY is there and was made with this key (RFC 8489 §14.5)."""
        return self.has_integrity and hmac.compare_digest(
            hmac.digest(key, self._signed, "sha1"), self._signature
        )

    def value(self, kind: AttributeType) -> bytes | None:
        """Of the first of its kind."""
        return next((a.value for a in self.attributes if a.type == kind), None)

    def add(self, kind: AttributeType, value: bytes = b"") -> None:
        self.attributes.append(Attribute(kind, value))

    @property
    def username(self) -> bytes | None:
        return self.value(AttributeType.USERNAME)

    @property
    def priority(self) -> int | None:
        """Raises: PeerError if it is not of four octets."""
        return self._number(AttributeType.PRIORITY, 4)

    @property
    def controlling(self) -> int | None:
        """The tie-breaker. Raises: PeerError if it is not of eight octets."""
        return self._number(AttributeType.ICE_CONTROLLING, 8)

    @property
    def controlled(self) -> int | None:
        """The tie-breaker. Raises: PeerError if it is not of eight octets."""
        return self._number(AttributeType.ICE_CONTROLLED, 8)

    @property
    def is_nominating(self) -> bool:
        return self.value(AttributeType.USE_CANDIDATE) is not None

    @property
    def error_code(self) -> int | None:
        """Raises: PeerError if it is no code between 300 and 699."""
        value = self.value(AttributeType.ERROR_CODE)
        if value is None:
            return None
        if len(value) < 4 or not 3 <= value[2] & 7 <= 6 or value[3] > 99:
            raise PeerError("a STUN error code out of its range")
        return (value[2] & 7) * 100 + value[3]

    @property
    def mapped_address(self) -> tuple[str, int] | None:
        """XOR-MAPPED-ADDRESS (RFC 8489 §14.2). Raises: PeerError if it is no address."""
        value = self.value(AttributeType.XOR_MAPPED_ADDRESS)
        if value is None:
            return None
        if len(value) < 4 or len(value) - 4 != _FAMILY_BYTES.get(value[1]):
            raise PeerError("a mapped address of an unknown family or size")
        address = ipaddress.ip_address(_xor(value[4:], self.transaction_id))
        return str(address), int.from_bytes(value[2:4], "big") ^ MAGIC_COOKIE >> 16

    def unknown_required(self) -> list[int]:
        """Types that must be understood and are not, each once."""
        types = (a.type for a in self.attributes)
        return list(dict.fromkeys(t for t in types if t < 0x8000 and t not in _KNOWN))

    def _number(self, kind: AttributeType, size: int) -> int | None:
        value = self.value(kind)
        if value is None:
            return None
        if len(value) != size:
            raise PeerError(f"{kind.name} of {len(value)} bytes")
        return int.from_bytes(value, "big")

    def pack(self, key: bytes | None = None) -> bytes:
        """With MESSAGE-INTEGRITY if there is a key, and with FINGERPRINT."""
        body = b"".join(_packed(a.type, a.value) for a in self.attributes)
        if key is not None:
            signed = self._header(len(body) + _INTEGRITY_BYTES) + body
            digest = hmac.digest(key, signed, "sha1")
            body += _packed(AttributeType.MESSAGE_INTEGRITY, digest)
        packet = self._header(len(body) + _FINGERPRINT_BYTES) + body
        mark = (zlib.crc32(packet) ^ _FINGERPRINT_MASK).to_bytes(4, "big")
        return packet + _packed(AttributeType.FINGERPRINT, mark)

    def _header(self, length: int) -> bytes:
        kind, method = self.message_class, self.method
        word = (method & 0xF80) << 2 | (kind & 2) << 7 | (method & 0x70) << 1
        word |= (kind & 1) << 4 | method & 0x0F
        return _HEADER.pack(word, length, MAGIC_COOKIE, self.transaction_id)


def mapped_address(host: str, port: int, transaction_id: bytes) -> bytes:
    """The value of XOR-MAPPED-ADDRESS. host: a numeric address; a zone is left out, and IPv4 in
    IPv6, as sockets for both tell it, is IPv4."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    family = 1 if address.version == 4 else 2
    return _HEAD.pack(family, port ^ MAGIC_COOKIE >> 16) + _xor(address.packed, transaction_id)


def error_code(code: int) -> bytes:
    """The value of ERROR-CODE (RFC 8489 §14.8), with no reason: answers shall be short."""
    return bytes((0, 0, code // 100, code % 100))


def unknown_attributes(types: Iterable[int]) -> bytes:
    """The value of UNKNOWN-ATTRIBUTES (RFC 8489 §14.9)."""
    return b"".join(kind.to_bytes(2, "big") for kind in types)


def parse(data: Buffer) -> StunMessage:
    """One datagram, all of it. Whose integrity is right the caller asks by `is_signed_by`.

    Raises: PeerError if it is not STUN with the magic cookie, its attributes pass its end, there
    are too many, or a fingerprint is wrong.
    """
    word, transaction_id = _read_header(data)
    data = bytes(data)
    method = (word & 0x3E00) >> 2 | (word & 0xE0) >> 1 | word & 0x0F
    kind = MessageClass((word & 0x100) >> 7 | (word & 0x10) >> 4)
    message = StunMessage(kind, transaction_id, method=method)
    for number, (position, attribute) in enumerate(_attributes(data)):
        if number == MAX_ATTRIBUTES:
            raise PeerError(f"more than {MAX_ATTRIBUTES} STUN attributes")
        match attribute.type:
            case AttributeType.FINGERPRINT:
                _check_fingerprint(data, position, attribute.value)
                break  # the last one (RFC 8489 §14.7)
            case _ if message.has_integrity:
                continue
            case AttributeType.MESSAGE_INTEGRITY:
                _take_integrity(message, data, position, attribute.value)
            case _:
                message.attributes.append(attribute)
    return message


def peek_username(data: Buffer) -> Buffer | None:
    """USERNAME of a binding request, found without looking at much else, for a port that is
    flooded. None if there is none where it should be. Raises: PeerError as `parse`."""
    word, _ = _read_header(data)
    if word != BINDING:
        return None
    position, end = HEADER_BYTES, len(data)
    for _ in range(MAX_ATTRIBUTES):
        if position == end:
            break
        kind, size = _HEAD.unpack_from(data, position)  # whole words: four bytes are there
        position += _HEAD.size
        if kind == AttributeType.USERNAME and size <= min(end - position, MAX_USERNAME_BYTES):
            return data[position : position + size]
        position += size + (-size & 3)
        if position > end:
            raise PeerError("a STUN attribute that passes the end")
    return None


def _read_header(data: Buffer) -> tuple[int, bytes]:
    """Raises: PeerError; else the message is of whole words, as its length says."""
    if not HEADER_BYTES <= len(data) <= MAX_BYTES:
        raise PeerError(f"a STUN message of {len(data)} bytes")
    word, length, cookie, transaction_id = _HEADER.unpack_from(data)
    if word & 0xC000 or cookie != MAGIC_COOKIE:
        raise PeerError("no STUN message")
    if length & 3 or length != len(data) - HEADER_BYTES:
        raise PeerError(f"a STUN length of {length} in {len(data)} bytes")
    return word, transaction_id


def _attributes(data: bytes) -> Iterator[tuple[int, Attribute]]:
    """Each with the position of its head. The last one's padding is there, as all are of whole
    words."""
    position, end = HEADER_BYTES, len(data)
    while position < end:
        kind, size = _HEAD.unpack_from(data, position)
        start = position + _HEAD.size
        if start + size > end:
            raise PeerError("a STUN attribute that passes the end")
        yield position, Attribute(kind, data[start : start + size])
        position = start + size + (-size & 3)


def _take_integrity(message: StunMessage, data: bytes, position: int, value: bytes) -> None:
    """What was signed is all before it, with a length that ends behind it (RFC 8489 §14.5)."""
    if len(value) != _INTEGRITY_BYTES - _HEAD.size:
        raise PeerError(f"a message integrity of {len(value)} bytes")
    length = position - HEADER_BYTES + _INTEGRITY_BYTES
    message._signed = data[:2] + length.to_bytes(2, "big") + data[4:position]
    message._signature = value


def _check_fingerprint(data: bytes, position: int, value: bytes) -> None:
    if position + _FINGERPRINT_BYTES != len(data):
        raise PeerError("a STUN fingerprint that is not the last attribute")
    mark = (zlib.crc32(data[:position]) ^ _FINGERPRINT_MASK).to_bytes(4, "big")
    if mark != value:
        raise PeerError("a wrong STUN fingerprint")


def _packed(kind: int, value: bytes) -> bytes:
    return _HEAD.pack(kind, len(value)) + value + bytes(-len(value) & 3)


def _xor(data: bytes, transaction_id: bytes) -> bytes:
    mask = MAGIC_COOKIE.to_bytes(4, "big") + transaction_id
    return bytes(a ^ b for a, b in zip(data, mask, strict=False))
