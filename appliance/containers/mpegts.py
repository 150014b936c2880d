"""MPEG-2 transport stream: the vocabulary, PSI sections and Opus's control header.

ISO/IEC 13818-1 (ITU-T H.222.0) §2.4; Opus as its project's "Opus in MPEG-TS" specification and
ETSI's registration 'Opus' have it. Single program; DVB tables are neither written nor read.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from enum import IntEnum

from appliance.errors import PeerError
from appliance.media.bits import Reader
from appliance.media.opus import OpusConfig

PACKET_BYTES = 188
SYNC = 0x47
PAT_PID = 0x0000
NULL_PID = 0x1FFF
CLOCK_HZ = 90_000  # of PTS and DTS
STAMP_BITS = 33
STAMP_MASK = (1 << STAMP_BITS) - 1

TABLE_PAT = 0
TABLE_PMT = 2
MAX_SECTION_BYTES = 1021  # section_length of PAT and PMT (§2.4.4.4)
MIN_SECTION_BYTES = 9  # the rest of the header, and the CRC

DESCRIPTOR_REGISTRATION = 0x05
DESCRIPTOR_EXTENSION = 0x7F
EXTENSION_OPUS = 0x80


class StreamType(IntEnum):
    """§2.4.4.10, table 2-34; those above 0x80 are ATSC's."""

    MPEG1_VIDEO = 0x01
    MPEG2_VIDEO = 0x02
    MPEG1_AUDIO = 0x03
    MPEG2_AUDIO = 0x04
    PRIVATE_PES = 0x06
    AAC_ADTS = 0x0F
    AAC_LATM = 0x11
    H264 = 0x1B
    H265 = 0x24
    AC3 = 0x81
    EAC3 = 0x87


@dataclass(frozen=True, slots=True)
class ElementaryStream:
    """A line of a PMT. descriptors: their bytes as they stand."""

    pid: int
    stream_type: int
    descriptors: bytes = b""


@dataclass(frozen=True, slots=True)
class Pmt:
    pcr_pid: int
    streams: tuple[ElementaryStream, ...]


_BIT_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def crc32_mpeg(data: bytes) -> int:
    """CRC of PSI sections (§2.4.4, Annex A): zlib's polynomial, in the other bit order."""
    reflected = zlib.crc32(data.translate(_BIT_REVERSED)) ^ 0xFFFF_FFFF
    return int(f"{reflected:032b}"[::-1], 2)


def make_section(table: int, extension: int, version: int, body: bytes) -> bytes:
    """A whole section, the only one of its table, with CRC."""
    length = len(body) + 9
    head = (table << 16 | 0xB000 | length, extension, 0xC1 | (version & 0x1F) << 1, 0, 0)
    sizes = (3, 2, 1, 1, 1)
    section = b"".join(n.to_bytes(size, "big") for n, size in zip(head, sizes, strict=True)) + body
    return section + crc32_mpeg(section).to_bytes(4, "big")


def make_pat(version: int, program: int, pmt_pid: int) -> bytes:
    body = program.to_bytes(2, "big") + (0xE000 | pmt_pid).to_bytes(2, "big")
    return make_section(TABLE_PAT, 1, version, body)


def make_pmt(version: int, program: int, pmt: Pmt) -> bytes:
    body = bytearray((0xE000 | pmt.pcr_pid).to_bytes(2, "big") + b"\xf0\0")
    for stream in pmt.streams:
        body.append(stream.stream_type)
        body += (0xE000 | stream.pid).to_bytes(2, "big")
        body += (0xF000 | len(stream.descriptors)).to_bytes(2, "big") + stream.descriptors
    return make_section(TABLE_PMT, program, version, bytes(body))


def parse_section(section: bytes, table: int, extension: int | None = None) -> Reader | None:
    """What the section holds after its header; None if it is of another table or not in force.

    section: from its table id to its CRC. extension: the wanted one, such as a program number.
    Raises: PeerError if it is damaged.
    """
    if crc32_mpeg(section):  # over a section and its CRC it is zero
        raise PeerError("a PSI section with a wrong CRC")
    reader = Reader(section[:-4])
    is_wanted = reader.u8() == table
    reader.skip(2)
    is_wanted &= reader.u16() == extension or extension is None
    is_current = reader.u8() & 1
    reader.skip(2)  # section numbers: a table of one program fits into one section
    return reader if is_wanted and is_current else None


def parse_pat(reader: Reader) -> list[tuple[int, int]]:
    """All programs in order: number and PMT PID."""
    programs = []
    while reader.remaining:
        program, pid = reader.u16(), reader.u16() & 0x1FFF
        if program:  # 0 names the network's PID
            programs.append((program, pid))
    return programs


def parse_pmt(reader: Reader) -> Pmt:
    pcr_pid = reader.u16() & 0x1FFF
    reader.skip(reader.u16() & 0xFFF)  # program descriptors
    streams = []
    while reader.remaining:
        stream_type, pid = reader.u8(), reader.u16() & 0x1FFF
        descriptors = bytes(reader.take(reader.u16() & 0xFFF))
        streams.append(ElementaryStream(pid, stream_type, descriptors))
    return Pmt(pcr_pid, tuple(streams))


class SectionAssembler:
    """Sections of one PID out of its payloads (§2.4.4.1)."""

    __slots__ = ("_data", "_is_open")

    def __init__(self) -> None:
        self._data = bytearray()  # less than a section and a packet
        self._is_open = False

    def receive(self, payload: memoryview, *, starts: bool) -> list[bytes]:
        """The sections that this payload completes. Raises: PeerError."""
        sections: list[bytes] = []
        if starts:
            begin = 1 + payload[0] if len(payload) else 1
            if begin > len(payload):
                self._is_open = False
                raise PeerError("a PSI pointer beyond its packet")
            if self._is_open:
                self._data += payload[1:begin]
                sections += self._complete()
            self._data = bytearray(payload[begin:])
            self._is_open = True
        elif self._is_open:
            self._data += payload
        return sections + self._complete()

    def _complete(self) -> list[bytes]:
        data = self._data
        sections: list[bytes] = []
        while self._is_open and len(data) >= 3 and data[0] != 0xFF:  # 0xFF: stuffing to the end
            length = (data[1] & 0x0F) << 8 | data[2]
            if not MIN_SECTION_BYTES <= length <= MAX_SECTION_BYTES:
                self._is_open = False
                raise PeerError(f"a PSI section of {length} bytes")
            if len(data) < 3 + length:
                return sections
            sections.append(bytes(data[: 3 + length]))
            del data[: 3 + length]
        if len(data) >= 3:
            self._is_open = False
        return sections


def descriptors_by_tag(descriptors: bytes) -> dict[int, bytes]:
    """The first descriptor of each tag. Raises: PeerError."""
    found: dict[int, bytes] = {}
    reader = Reader(descriptors)
    while reader.remaining:
        tag = reader.u8()
        data = bytes(reader.take(reader.u8()))
        found.setdefault(tag, data)
    return found


def registration(name: bytes) -> bytes:
    """A registration descriptor (§2.6.8)."""
    return bytes((DESCRIPTOR_REGISTRATION, len(name))) + name


# -- Opus ------------------------------------------------------------------------------------

# By channel count: streams, coupled streams and order (RFC 7845 §5.1.1.2), which a channel
# configuration code of 1 to 8 stands for.
_OPUS_MAPPINGS = {
    1: bytes((1, 0, 0)),
    2: bytes((1, 1, 0, 1)),
    3: bytes((2, 1, 0, 2, 1)),
    4: bytes((2, 2, 0, 1, 2, 3)),
    5: bytes((3, 2, 0, 4, 1, 2, 3)),
    6: bytes((4, 2, 0, 4, 1, 2, 3, 5)),
    7: bytes((4, 3, 0, 4, 1, 2, 3, 5, 6)),
    8: bytes((5, 3, 0, 6, 1, 2, 3, 4, 5, 7)),
}
_OPUS_PREFIX = 0x3FF << 5  # control_header_prefix, then flags
_START_TRIM, _END_TRIM, _EXTENSION = 0x10, 0x08, 0x04


def opus_descriptors(config: OpusConfig) -> bytes | None:
    """What the PMT says of an Opus stream, None if there is no code for its channel mapping."""
    mapping = _OPUS_MAPPINGS.get(config.channels)
    if config.mapping_family and (config.mapping_family != 1 or config.mapping != mapping):
        return None
    extension = bytes((DESCRIPTOR_EXTENSION, 2, EXTENSION_OPUS, config.channels))
    return registration(b"Opus") + extension


def opus_config(descriptors: bytes, pre_skip_samples: int) -> OpusConfig:
    """Raises: PeerError if the channel configuration is missing or not one we know."""
    data = descriptors_by_tag(descriptors).get(DESCRIPTOR_EXTENSION, b"")
    code = data[1] if len(data) >= 2 and data[0] == EXTENSION_OPUS else -1
    if code not in _OPUS_MAPPINGS:
        raise PeerError(f"Opus channel configuration {code}")
    if code <= 2:
        return OpusConfig(code, pre_skip_samples)
    return OpusConfig(code, pre_skip_samples, mapping_family=1, mapping=_OPUS_MAPPINGS[code])


def opus_control_header(packet_bytes: int) -> bytes:
    """opus_control_header without trims: the prefix and the size in steps of 255."""
    full, rest = divmod(packet_bytes, 255)
    return _OPUS_PREFIX.to_bytes(2, "big") + b"\xff" * full + bytes((rest,))


def read_opus_packet(reader: Reader) -> tuple[memoryview, int]:
    """The next packet behind its control header, and the samples to trim from its start."""
    head = reader.u16()
    if head & 0xFFE0 != _OPUS_PREFIX:
        raise PeerError("no Opus control header where one must be")
    size = step = reader.u8()
    while step == 255:
        step = reader.u8()
        size += step
    start_trim = reader.u16() & 0x1FFF if head & _START_TRIM else 0
    if head & _END_TRIM:
        reader.skip(2)
    if head & _EXTENSION:
        reader.skip(reader.u8())
    return reader.take(size), start_trim
