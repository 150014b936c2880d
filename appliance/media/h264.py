"""H.264 as tracks and access units need it: configuration, avcC, NAL units by use.

ISO/IEC 14496-10 §7.4.1 (NAL unit types), ISO/IEC 14496-15 §5.3.3 (avcC), RFC 6381 §3.3.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from appliance.errors import PeerError
from appliance.media.bits import BitReader, Reader
from appliance.media.h264_sps import Sps, parse_sps
from appliance.media.nal import unescape
from appliance.media.sps import InBandSets, NalSplit, check_sets
from appliance.media.track import Codec, Kind
from appliance.media.unit import Buffer

NAL_SLICE = 1
NAL_IDR = 5
NAL_SEI = 6
NAL_SPS = 7
NAL_PPS = 8

# Slices, partitions, SEI, and what SVC and MVC add (a plain decoder passes over that). Dropped:
# delimiters, ends, filler, subset SPS, and 24–31, which mean aggregation once they are in RTP.
_MEDIA_TYPES = frozenset({1, 2, 3, 4, 5, 6, 14, 19, 20})
_SEI_RECOVERY_POINT = 6
_SEI_SEARCH_UNITS = 8  # recovery points come early; against a million messages
_SEI_SEARCH_BYTES = 512
_PLAIN_PROFILES = frozenset({66, 77, 88})  # whose avcC ends after the PPS


@dataclass(frozen=True, slots=True)
class H264Config:
    """Parameter sets, as NAL units without start code; the first SPS describes the track.

    Raises: PeerError if a set is not what it claims to be or exceeds a cap.
    """

    kind: ClassVar[Kind] = Kind.VIDEO
    codec: ClassVar[Codec] = Codec.H264
    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]
    active: Sps = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_sets(self.sps + self.pps)
        if not self.sps or not self.pps or len(self.sps) > 31 or len(self.pps) > 255:
            raise PeerError(f"{len(self.sps)} SPS and {len(self.pps)} PPS")
        if any(nal_type(nal) != NAL_SPS for nal in self.sps) or any(
            nal_type(nal) != NAL_PPS for nal in self.pps
        ):
            raise PeerError("a parameter set of another NAL unit type")
        for nal in self.pps:
            _pps_id(nal)
        object.__setattr__(self, "active", parse_sps(self.sps[0]))

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
    def profile_idc(self) -> int:
        return self.active.profile_idc

    @property
    def constraint_flags(self) -> int:
        return self.active.constraint_flags

    @property
    def level_idc(self) -> int:
        return self.active.level_idc

    @property
    def max_reorder_frames(self) -> int | None:
        return self.active.max_reorder_frames

    @property
    def rfc6381(self) -> str:
        return f"avc1.{self.profile_idc:02X}{self.constraint_flags:02X}{self.level_idc:02X}"

    def to_avcc(self) -> bytes:
        """AVCDecoderConfigurationRecord for samples with four-byte lengths."""
        active = self.active
        record = bytearray((1, active.profile_idc, active.constraint_flags, active.level_idc))
        record += bytes((0xFF, 0xE0 | len(self.sps)))
        for nal in self.sps:
            record += len(nal).to_bytes(2, "big") + nal
        record.append(len(self.pps))
        for nal in self.pps:
            record += len(nal).to_bytes(2, "big") + nal
        if active.profile_idc not in _PLAIN_PROFILES:
            record.append(0xFC | active.chroma_format_idc)
            record += bytes((0xF8 | active.luma_bits - 8, 0xF8 | active.chroma_bits - 8))
            record.append(0)  # no SPS extensions
        return bytes(record)

    @classmethod
    def from_avcc(cls, data: Buffer) -> H264Config:
        """Raises: PeerError if the record is damaged or has no SPS or no PPS."""
        reader = _avcc_reader(data)
        reader.skip(1)  # lengthSizeMinusOne: see avcc_length_bytes
        sps = _read_sets(reader, reader.u8() & 0x1F)
        return cls(sps, _read_sets(reader, reader.u8()))


def avcc_length_bytes(data: Buffer) -> int:
    """How long the length before each NAL unit is: 1, 2 or 4."""
    length_bytes = 1 + (_avcc_reader(data).u8() & 3)
    if length_bytes == 3:
        raise PeerError("avcC with NAL unit lengths of three bytes")
    return length_bytes


def _avcc_reader(data: Buffer) -> Reader:
    reader = Reader(data)
    version = reader.u8()
    if version != 1:
        raise PeerError(f"avcC of version {version}")
    reader.skip(3)  # profile, compatibility, level: the SPS says the same
    return reader


def _read_sets(reader: Reader, count: int) -> tuple[bytes, ...]:
    return tuple(bytes(reader.take(reader.u16())) for _ in range(count))


def nal_type(nal: Buffer) -> int:
    return nal[0] & 0x1F


def split_parameter_sets(nals: Iterable[Buffer]) -> NalSplit:
    """Sort one access unit's NAL units; the views stay views.

    key is an IDR picture, or an I picture whose recovery point SEI promises exact output from
    there on (streams of open GOPs have no other).
    """
    split = NalSplit()
    first_slice: Buffer | None = None
    sei: list[Buffer] = []
    for nal in nals:
        kind = nal[0] & 0x1F if len(nal) else 0
        if kind == NAL_SPS:
            split.sps.append(nal)
        elif kind == NAL_PPS:
            split.pps.append(nal)
        elif kind in _MEDIA_TYPES:
            split.media.append(nal)
            if kind == NAL_IDR:
                split.key = True
            elif kind == NAL_SEI:
                sei.append(nal)
            elif kind == NAL_SLICE and first_slice is None:
                first_slice = nal
    if sei and first_slice is not None and not split.key and _is_intra_slice(first_slice):
        split.key = any(map(_is_recovery_point, sei[:_SEI_SEARCH_UNITS]))
    return split


def _is_intra_slice(nal: Buffer) -> bool:
    """§7.3.3: whether slice_type is I (2, or 7 for a picture of nothing else)."""
    first = nal[1] if len(nal) > 1 else 0
    if first >= 0x80:  # the first slice of its picture: a bit for that, then the type
        return first >> 4 == 0b1_011 or first == 0b1_0001000
    bits = BitReader(bytes(nal[1:12]))
    try:
        bits.ue()  # first_mb_in_slice
        return bits.ue() in {2, 7}
    except PeerError:
        return False


def _is_recovery_point(nal: Buffer) -> bool:
    """§D.2.8: whether an SEI unit holds a recovery point with recovery_frame_cnt 0."""
    reader = Reader(unescape(nal[:_SEI_SEARCH_BYTES]))
    reader.skip(1)
    try:
        while reader.remaining > 2:
            kind, size = _read_sei_number(reader), _read_sei_number(reader)
            payload = reader.take(size)
            if kind == _SEI_RECOVERY_POINT:
                return bool(payload[:1]) and payload[0] >= 0x80  # ue(v) of 0 is one set bit
    except PeerError:
        pass
    return False


def _read_sei_number(reader: Reader) -> int:
    """§7.3.2.3.1: a type or a size, in bytes that add up while they are 255."""
    number = last = reader.u8()
    while last == 0xFF:
        last = reader.u8()
        number += last
    return number


class ParameterSets(InBandSets[H264Config]):
    """The parameter sets a stream carries in band, gathered until they make a configuration.

    config: what is known from elsewhere already (avcC, SDP), if anything.
    """

    __slots__ = ()

    def __init__(self, config: H264Config | None = None) -> None:
        super().__init__(config)
        if config is not None:
            self._hold((), config.sps, config.pps)

    def _check_sps(self, nal: bytes) -> None:
        parse_sps(nal)

    def _pps_id(self, nal: Buffer) -> int:
        return _pps_id(nal)

    def _make(
        self, vps: tuple[bytes, ...], sps: tuple[bytes, ...], pps: tuple[bytes, ...]
    ) -> H264Config | None:
        return H264Config(sps, pps) if sps and pps else None


def _pps_id(nal: Buffer) -> int:
    return BitReader(unescape(nal[:16])[1:]).ue_at_most(255, "pic_parameter_set_id")
