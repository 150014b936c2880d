"""AV1 as tracks and access units need it: sequence header, av1C, OBUs of a temporal unit.

AV1 Bitstream & Decoding Process Specification §5.3 to §5.9; AV1 Codec ISO Media File Format
Binding §2.3 (av1C), §2.4 (samples), §5 (CODECS).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from appliance.errors import PeerError
from appliance.media.av1_sequence import SequenceHeader, parse_sequence_header
from appliance.media.bits import Reader
from appliance.media.track import Codec, Kind
from appliance.media.unit import Buffer

OBU_SEQUENCE_HEADER = 1
OBU_TEMPORAL_DELIMITER = 2
OBU_FRAME_HEADER = 3
OBU_FRAME = 6
OBU_TILE_LIST = 8
OBU_PADDING = 15

MAX_OBUS = 1024  # per temporal unit; against a flood of tiny ones
MAX_SEQUENCE_HEADER_BYTES = 1024  # with 32 operating points it has some 300
_MARKER_AND_VERSION = 0x81
_DROPPED = frozenset({OBU_TEMPORAL_DELIMITER, OBU_TILE_LIST, OBU_PADDING})  # binding §2.4
_MAX_LEB128_BYTES = 8
_KEY_SHOWN = 0b0001  # show_existing_frame 0, frame_type KEY_FRAME, show_frame 1 (§5.9.2)


@dataclass(frozen=True, slots=True)
class Av1Config:
    """A sequence header: the payload of its OBU. Raises: PeerError if it is none.

    Equal if both describe the same: encoders (SVT-AV1 1.4) put another one into their first key
    than into av1C, which differs in tools, and the one in the key counts.
    """

    kind: ClassVar[Kind] = Kind.VIDEO
    codec: ClassVar[Codec] = Codec.AV1
    sequence_header: bytes = field(compare=False)
    active: SequenceHeader = field(init=False, repr=False)

    def __post_init__(self) -> None:
        size = len(self.sequence_header)
        if size > MAX_SEQUENCE_HEADER_BYTES:
            raise PeerError(f"an AV1 sequence header of {size} bytes")
        object.__setattr__(self, "active", parse_sequence_header(self.sequence_header))

    @property
    def width_px(self) -> int:
        return self.active.width_px

    @property
    def height_px(self) -> int:
        return self.active.height_px

    @property
    def fps(self) -> float | None:
        return self.active.fps

    @property
    def rfc6381(self) -> str:
        """Binding §5, such as ``av01.0.08M.08``."""
        head = self.active
        tier = "H" if head.tier else "M"
        return f"av01.{head.profile}.{head.level_idx:02d}{tier}.{head.bit_depth:02d}"

    def to_av1c(self) -> bytes:
        """AV1CodecConfigurationRecord with the sequence header in it (binding §2.3.3)."""
        head = self.active
        flags = head.tier << 7 | (head.bit_depth > 8) << 6 | (head.bit_depth == 12) << 5
        flags |= head.monochrome << 4 | head.subsampling_x << 3 | head.subsampling_y << 2
        flags |= head.chroma_sample_position
        fixed = bytes((_MARKER_AND_VERSION, head.profile << 5 | head.level_idx, flags, 0))
        size = len(self.sequence_header)
        length = bytes((size,)) if size < 0x80 else bytes((size & 0x7F | 0x80, size >> 7))
        return fixed + bytes((OBU_SEQUENCE_HEADER << 3 | 2,)) + length + self.sequence_header

    @classmethod
    def from_av1c(cls, data: Buffer) -> Av1Config | None:
        """None if the record leaves the sequence header to the first key. Raises: PeerError."""
        reader = Reader(data)
        if reader.u8() != _MARKER_AND_VERSION:
            raise PeerError("not an AV1 configuration record of version 1")
        reader.skip(3)  # what they say, the sequence header says too
        header = split_temporal_unit(reader.rest()).sequence_header
        return None if header is None else cls(header)


@dataclass(slots=True)
class TemporalUnit:
    """What one sample holds.

    obus: whole OBUs, as views, without those that samples must not have.
    sequence_header: its payload if there is one.
    """

    obus: list[memoryview]
    sequence_header: bytes | None = None
    key: bool = False


def split_temporal_unit(data: Buffer) -> TemporalUnit:
    """The OBUs in the low-overhead form (§5.2); key: a shown key frame behind a sequence header.

    Raises: PeerError if an OBU passes the end or there are too many.
    """
    unit = TemporalUnit([])
    reader = Reader(data)
    whole = memoryview(data)
    has_picture = False
    for _ in range(MAX_OBUS):
        if not reader.remaining:
            return unit
        start = reader.position
        kind, payload = _read_obu(reader)
        if kind not in _DROPPED:
            unit.obus.append(whole[start : reader.position])
        if kind == OBU_SEQUENCE_HEADER and unit.sequence_header is None:
            unit.sequence_header = bytes(payload[:MAX_SEQUENCE_HEADER_BYTES])
        elif kind in {OBU_FRAME, OBU_FRAME_HEADER} and not has_picture:
            has_picture = True
            unit.key = _is_key(unit.sequence_header, payload)
    if reader.remaining:
        raise PeerError(f"more than {MAX_OBUS} OBUs in one temporal unit")
    return unit


def _read_obu(reader: Reader) -> tuple[int, memoryview]:
    """Type and payload; one without a size reaches to the end (§5.3.1)."""
    head = reader.u8()
    if head & 0x80:
        raise PeerError("an AV1 OBU with its forbidden bit set")
    if head & 0x04:
        reader.skip(1)  # layers
    size = _leb128(reader) if head & 0x02 else reader.remaining
    return head >> 3, reader.take(size)


def _leb128(reader: Reader) -> int:
    """§4.10.5."""
    value = 0
    for index in range(_MAX_LEB128_BYTES):
        byte = reader.u8()
        value |= (byte & 0x7F) << 7 * index
        if not byte & 0x80:
            return value
    raise PeerError("an AV1 size of more than eight bytes")


def _is_key(sequence_header: bytes | None, frame: memoryview) -> bool:
    if sequence_header is None or not len(frame):
        return False
    is_reduced = bool(sequence_header) and bool(sequence_header[0] & 0x08)  # still picture (§5.5.1)
    return is_reduced or frame[0] >> 4 == _KEY_SHOWN
