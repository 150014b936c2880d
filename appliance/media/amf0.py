"""AMF0, the values of RTMP commands and FLV metadata (Action Message Format 0, 2007).

Numbers are floats, NaN and infinities included: whoever wants an integer checks it. AMF3
(marker 0x11) and references are refused; nobody has a use for them here.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from appliance.errors import MisuseError, PeerError
from appliance.media.bits import Reader

MAX_DEPTH = 16  # against nesting that costs more than its bytes
MAX_VALUES = 65_536  # against a message of one-byte values, each of which costs a slot
MAX_SHORT_STRING_BYTES = 0xFFFF


class Marker(IntEnum):
    """Type markers (AMF0 §2.1)."""

    NUMBER = 0x00
    BOOLEAN = 0x01
    STRING = 0x02
    OBJECT = 0x03
    NULL = 0x05
    UNDEFINED = 0x06
    REFERENCE = 0x07
    ECMA_ARRAY = 0x08
    OBJECT_END = 0x09
    STRICT_ARRAY = 0x0A
    DATE = 0x0B
    LONG_STRING = 0x0C
    UNSUPPORTED = 0x0D
    XML_DOCUMENT = 0x0F
    TYPED_OBJECT = 0x10


@dataclass(frozen=True, slots=True)
class Date:
    """A point in time (§2.13); the zone field is reserved and usually 0."""

    unix_ms: float
    zone_minutes: int = 0


class EcmaArray(dict[str, "Value"]):
    """An associative array (§2.10): an object that announces how many members it has."""


Value = float | bool | str | Date | None | Mapping[str, "Value"] | Sequence["Value"]

_NULLS = frozenset({Marker.NULL, Marker.UNDEFINED, Marker.UNSUPPORTED})
_MAPPINGS = frozenset({Marker.OBJECT, Marker.ECMA_ARRAY, Marker.TYPED_OBJECT})


@dataclass(slots=True)
class _Open:
    """A container whose members are being read."""

    members: dict[str, Value] | list[Value]
    missing: int = 0  # members that a strict array still lacks
    key: str = ""  # under which the next value goes


def decode(data: bytes | memoryview) -> list[Value]:
    """All values of a message: float, bool, str, Date, None, dict, EcmaArray or list.

    Undefined and unsupported become None; a typed object loses its class name; text that is not
    UTF-8 gets replacement characters. Raises: PeerError.
    """
    return _Decoder(data).values()


class _Decoder:
    """Depth-first without recursion: `_stack` holds the containers that are not complete."""

    __slots__ = ("_count", "_reader", "_stack")

    def __init__(self, data: bytes | memoryview) -> None:
        self._reader = Reader(data)
        self._stack: list[_Open] = []
        self._count = 0

    def values(self) -> list[Value]:
        found: list[Value] = []
        while self._reader.remaining:
            found.append(self._value())
        return found

    def _value(self) -> Value:
        """One complete top-level value."""
        value = self._begin()
        while self._stack:
            opened = self._stack[-1]
            if self._is_complete(opened):
                value = self._stack.pop().members
            else:
                _add(opened, self._begin())  # a container is added empty and filled afterwards
        return value

    def _is_complete(self, opened: _Open) -> bool:
        """Reads the next key of a mapping, or its end."""
        if isinstance(opened.members, list):
            opened.missing -= 1
            return opened.missing < 0
        opened.key = self._text(self._reader.u16())
        if opened.key:
            return False
        marker = self._reader.u8()
        if marker == Marker.OBJECT_END:
            return True
        self._reader.position -= 1  # a member with an empty name
        return False

    def _begin(self) -> Value:
        """A simple value, or a container that is still empty and now on the stack."""
        self._count += 1
        if self._count > MAX_VALUES:
            raise PeerError(f"more than {MAX_VALUES} AMF0 values")
        reader = self._reader
        marker = reader.u8()
        if marker == Marker.NUMBER:
            return _number(reader)
        if marker == Marker.BOOLEAN:
            return reader.u8() != 0
        if marker == Marker.STRING:
            return self._text(reader.u16())
        if marker in (Marker.LONG_STRING, Marker.XML_DOCUMENT):
            return self._text(reader.u32())
        if marker == Marker.DATE:
            unix_ms = _number(reader)
            return Date(unix_ms, int.from_bytes(reader.take(2), "big", signed=True))
        if marker in _NULLS:
            return None
        return self._open(marker)

    def _open(self, marker: int) -> Value:
        if marker == Marker.STRICT_ARRAY:
            opened = _Open([], self._reader.u32())
        elif marker in _MAPPINGS:
            if marker == Marker.TYPED_OBJECT:
                self._reader.skip(self._reader.u16())  # the class name
            elif marker == Marker.ECMA_ARRAY:
                self._reader.skip(4)  # the count, which §2.10 lets be wrong
            opened = _Open(EcmaArray() if marker == Marker.ECMA_ARRAY else {})
        else:
            raise PeerError(f"AMF0 marker 0x{marker:02x}")
        if len(self._stack) >= MAX_DEPTH:
            raise PeerError(f"AMF0 nested deeper than {MAX_DEPTH}")
        self._stack.append(opened)
        return opened.members

    def _text(self, size_bytes: int) -> str:
        return bytes(self._reader.take(size_bytes)).decode("utf-8", "replace")


def _add(opened: _Open, value: Value) -> None:
    if isinstance(opened.members, list):
        opened.members.append(value)
    else:
        opened.members[opened.key] = value


def _number(reader: Reader) -> float:
    value: float = struct.unpack(">d", reader.take(8))[0]
    return value


def encode(*values: Value) -> bytes:
    """The values one after the other. Raises: MisuseError for what AMF0 cannot say."""
    out = bytearray()
    todo: list[Value | bytearray] = list(reversed(values))  # bytearray: finished, written as is
    while todo:
        value = todo.pop()
        if isinstance(value, bytearray):
            out += value
        elif isinstance(value, Mapping):
            is_ecma = isinstance(value, EcmaArray)
            out += struct.pack(">BI", Marker.ECMA_ARRAY, len(value)) if is_ecma else b"\x03"
            todo.append(bytearray(b"\0\0\x09"))
            for key, member in reversed(list(value.items())):
                todo += (member, bytearray(_short_text(key)))
        elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
            out += struct.pack(">BI", Marker.STRICT_ARRAY, len(value))
            todo += reversed(value)
        else:
            out += _encode_simple(value)
    return bytes(out)


def _encode_simple(value: Value) -> bytes:
    match value:
        case None:
            return b"\x05"
        case bool():
            return b"\x01\x01" if value else b"\x01\x00"
        case int() | float():
            return struct.pack(">Bd", Marker.NUMBER, value)
        case str() if len(text := value.encode()) > MAX_SHORT_STRING_BYTES:
            return struct.pack(">BI", Marker.LONG_STRING, len(text)) + text
        case str():
            return b"\x02" + _short_text(value)
        case Date():
            return struct.pack(">Bdh", Marker.DATE, value.unix_ms, value.zone_minutes)
    raise MisuseError(f"{type(value).__name__} has no AMF0 form")


def _short_text(text: str) -> bytes:
    encoded = text.encode()
    if len(encoded) > MAX_SHORT_STRING_BYTES:
        raise MisuseError(f"an AMF0 name of {len(encoded)} bytes")
    return len(encoded).to_bytes(2, "big") + encoded
