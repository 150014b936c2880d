"""AV1 (RTP Payload Format For AV1, v1.0.0, §4): temporal units in OBU elements, both ways.

In RTP an OBU goes without its size field and temporal delimiters do not go at all; sizes are put
back on receipt, as units have them.
"""

from __future__ import annotations

from appliance.errors import MisuseError, PeerError
from appliance.media.av1 import (
    OBU_SEQUENCE_HEADER,
    OBU_TEMPORAL_DELIMITER,
    OBU_TILE_LIST,
    Av1Config,
    split_temporal_unit,
)
from appliance.media.bits import Reader
from appliance.media.track import CodecConfig
from appliance.media.unit import AccessUnit, Buffer
from appliance.wire.rtp.formats.contract import (
    DEFAULT_PAYLOAD_BYTES,
    MAX_UNIT_BYTES,
    Assembled,
    Payload,
)
from appliance.wire.rtp.packet import RtpPacket

MAX_ELEMENTS = 1024  # per temporal unit; against a flood of tiny ones
_Z_CONTINUES, _Y_CONTINUED, _N_NEW_SEQUENCE = 0x80, 0x40, 0x08  # §4.4
_HAS_SIZE = 0x02
_HAS_EXTENSION = 0x04
_NOT_SENT = frozenset({OBU_TEMPORAL_DELIMITER, OBU_TILE_LIST})  # §5
_LEAST_MAX_BYTES = 16


class Av1Depacketizer:
    def __init__(self, config: Av1Config | None = None) -> None:
        self._config = config
        self._elements: list[bytearray] = []
        self._size_bytes = 0
        self._stamp = 0
        self._is_open = False  # the last element goes on in the next packet
        self._is_gap = True  # until a packet is surely the first of its unit
        self._gap_stamp: int | None = None  # of the unit whose first packet may be missing
        self._is_damaged = False

    @property
    def config(self) -> CodecConfig | None:
        return self._config

    def push(self, packet: RtpPacket, stamp: int) -> list[Assembled]:
        try:
            return self._push(packet, stamp)
        except PeerError:
            self.lost()
            raise
        finally:
            if packet.marker:
                self._is_gap = False

    def _push(self, packet: RtpPacket, stamp: int) -> list[Assembled]:
        done = self.flush() if stamp != self._stamp else []  # marker of the last one forgotten
        self._stamp = stamp
        if self._is_gap:
            is_next = self._gap_stamp not in {None, stamp}
            self._gap_stamp = stamp
            self._is_gap = not is_next and not _starts_sequence(packet.payload)
        if not self._is_gap:
            self._append(packet.payload)
            if packet.marker:
                done += self.flush()
        return done

    def _append(self, payload: Buffer) -> None:
        reader = Reader(payload)
        head = reader.u8()
        continues = bool(head & _Z_CONTINUES)
        if continues != self._is_open:
            raise PeerError("an AV1 OBU that goes on without its begin, or begins without its end")
        count = head >> 4 & 3
        elements = _read_elements(reader, count)
        self._size_bytes += sum(map(len, elements))
        if self._size_bytes > MAX_UNIT_BYTES or len(self._elements) + len(elements) > MAX_ELEMENTS:
            raise PeerError(f"an AV1 temporal unit of more than {MAX_UNIT_BYTES} bytes")
        if continues and elements:
            self._elements[-1] += elements.pop(0)
        self._elements += [bytearray(element) for element in elements]
        self._is_open = bool(head & _Y_CONTINUED)

    def lost(self) -> None:
        self._clear()
        self._is_gap = self._is_damaged = True
        self._gap_stamp = None

    def _clear(self) -> None:
        self._elements, self._size_bytes, self._is_open = [], 0, False

    def flush(self) -> list[Assembled]:
        elements, is_whole = self._elements, not self._is_open
        self._clear()
        if not elements:
            return []
        if not is_whole:
            self._is_damaged = True
            return []
        unit = split_temporal_unit(b"".join(_with_size(element) for element in elements))
        if unit.key:
            self._is_damaged = False
            self._learn(unit.sequence_header)
        if not unit.obus:
            return []
        parts = tuple(bytes(obu) for obu in unit.obus)
        return [Assembled(self._stamp, parts, unit.key, damaged=self._is_damaged)]

    def _learn(self, sequence_header: bytes | None) -> None:
        if sequence_header is not None:
            config = Av1Config(sequence_header)
            self._config = self._config if config == self._config else config


def _starts_sequence(payload: Buffer) -> bool:
    """Whether a packet is the first of a coded video sequence: it says so, or begins with a
    sequence header."""
    reader = Reader(payload)
    head = reader.u8()
    if head & _Z_CONTINUES:
        return False
    if head & _N_NEW_SEQUENCE:
        return True
    first = _read_elements(reader, head >> 4 & 3)[:1]
    return bool(first and len(first[0]) and first[0][0] >> 3 & 0x0F == OBU_SEQUENCE_HEADER)


def _read_elements(reader: Reader, count: int) -> list[memoryview]:
    """Each behind its size, but for the last one if they are counted (§4.4)."""
    elements: list[memoryview] = []
    while reader.remaining:
        is_last = count == len(elements) + 1
        size = reader.remaining if is_last else _leb128(reader)
        elements.append(reader.take(size))
        if len(elements) > MAX_ELEMENTS or (count and len(elements) > count):
            raise PeerError("more AV1 OBU elements in a packet than it may have")
    if count and len(elements) != count:
        raise PeerError(f"{len(elements)} AV1 OBU elements instead of {count}")
    return elements


def _leb128(reader: Reader) -> int:
    value = 0
    for shift in range(0, 35, 7):
        byte = reader.u8()
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value
    raise PeerError("an AV1 OBU element of a size beyond 32 bits")


def _leb128_bytes(value: int) -> bytes:
    text = bytearray()
    while value >= 0x80:
        text.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*text, value))


def _with_size(obu: bytearray) -> bytes:
    """An OBU as units have it. Senders should leave sizes out, and need not (§4.5)."""
    if not obu or obu[0] & _HAS_SIZE:
        return bytes(obu)
    head_bytes = 2 if obu[0] & _HAS_EXTENSION else 1
    head = bytes((obu[0] | _HAS_SIZE,)) + obu[1:head_bytes]
    return head + _leb128_bytes(len(obu) - head_bytes) + obu[head_bytes:]


def _without_size(obu: Buffer) -> bytes:
    """An OBU as RTP wants it. Raises: PeerError if it is damaged."""
    if not obu[0] & _HAS_SIZE:
        return bytes(obu)
    reader = Reader(obu)
    head = bytearray(reader.take(2 if obu[0] & _HAS_EXTENSION else 1))
    head[0] &= ~_HAS_SIZE
    return bytes(head) + reader.take(_leb128(reader))


class Av1Packetizer:
    """Each element behind its size (W = 0), so that packets are filled without looking ahead."""

    def __init__(self, max_bytes: int = DEFAULT_PAYLOAD_BYTES) -> None:
        if max_bytes < _LEAST_MAX_BYTES:
            raise MisuseError(f"AV1 in payloads of {max_bytes} bytes")
        self._max_bytes = max_bytes

    def payloads(self, unit: AccessUnit) -> list[Payload]:
        obus = [_without_size(part) for part in unit.parts if len(part)]
        kinds = [obu[0] >> 3 & 0x0F for obu in obus]
        starts_sequence = unit.key and OBU_SEQUENCE_HEADER in kinds
        packets = _fill(
            [obu for obu, kind in zip(obus, kinds, strict=True) if kind not in _NOT_SENT],
            self._max_bytes,
        )
        if packets and starts_sequence:
            packets[0][0] |= _N_NEW_SEQUENCE
        return [
            Payload(bytes(packet), marker=index == len(packets))
            for index, packet in enumerate(packets, 1)
        ]


def _fill(obus: list[bytes], max_bytes: int) -> list[bytearray]:
    """Packets with their aggregation headers."""
    packets: list[bytearray] = []
    packet = bytearray(1)
    for obu in obus:
        at = 0
        while at < len(obu):
            room = max_bytes - len(packet)
            piece = obu[at : at + room - len(_leb128_bytes(max(room, 0)))] if room > 2 else b""
            if piece:
                packet += _leb128_bytes(len(piece)) + piece
                at += len(piece)
            if at < len(obu):
                packet[0] |= _Y_CONTINUED if at else 0
                packets.append(packet)
                packet = bytearray((_Z_CONTINUES if at else 0,))
    if len(packet) > 1:
        packets.append(packet)
    return packets
