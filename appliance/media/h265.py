"""HEVC as tracks and access units need it: configuration, hvcC, NAL units by use.

ISO/IEC 23008-2 §7.4.2.2 (NAL unit types), ISO/IEC 14496-15 §8.3.3 (hvcC) and Annex E (CODECS).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import ClassVar

from appliance.errors import PeerError
from appliance.media.bits import BitReader, Reader
from appliance.media.h265_sps import Sps, parse_sps, parse_vps_fps
from appliance.media.nal import unescape
from appliance.media.sps import InBandSets, NalSplit, check_sets
from appliance.media.track import Codec, Kind
from appliance.media.unit import Buffer

NAL_VPS = 32
NAL_SPS = 33
NAL_PPS = 34

# Slices and SEI. Dropped: delimiters, ends, filler, reserved types, and 48–63, which mean
# aggregation once they are in RTP.
_MEDIA_TYPES = frozenset({*range(10), *range(16, 22), 39, 40})
_FIRST_IRAP, _LAST_IRAP = 16, 21
_MAX_SETS = 16 + 16 + 64  # as many ids as VPS, SPS and PPS have


@dataclass(frozen=True, slots=True)
class H265Config:
    """Parameter sets, as NAL units without start code; the first SPS describes the track.

    Raises: PeerError if a set is not what it claims to be or exceeds a cap.
    """

    kind: ClassVar[Kind] = Kind.VIDEO
    codec: ClassVar[Codec] = Codec.H265
    vps: tuple[bytes, ...]
    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]
    active: Sps = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        kinds = ((NAL_VPS, self.vps), (NAL_SPS, self.sps), (NAL_PPS, self.pps))
        sets = self.vps + self.sps + self.pps
        check_sets(sets)
        if not all(nals for _, nals in kinds) or len(sets) > _MAX_SETS:
            raise PeerError(f"{len(self.vps)} VPS, {len(self.sps)} SPS, {len(self.pps)} PPS")
        if any(nal_type(nal) != kind for kind, nals in kinds for nal in nals):
            raise PeerError("a parameter set of another NAL unit type")
        for nal in self.pps:
            _pps_id(nal)
        vps_fps = parse_vps_fps(self.vps[0])
        active = parse_sps(self.sps[0])
        if active.fps is None:
            active = replace(active, fps=vps_fps)
        object.__setattr__(self, "active", active)

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
        return self.active.profile_tier_level[0] & 0x1F

    @property
    def level_idc(self) -> int:
        """Thirty times the level's number."""
        return self.active.profile_tier_level[11]

    @property
    def max_reorder_frames(self) -> int | None:
        return self.active.max_reorder_frames

    @property
    def rfc6381(self) -> str:
        """ISO/IEC 14496-15 §E.3, such as ``hvc1.1.6.L93.B0``."""
        general = self.active.profile_tier_level
        space = ("", "A", "B", "C")[general[0] >> 6]
        compatibility = int(f"{int.from_bytes(general[1:5], 'big'):032b}"[::-1], 2)
        tier = "H" if general[0] & 0x20 else "L"
        constraints = "".join(f".{byte:X}" for byte in general[5:11].rstrip(b"\0"))
        return (
            f"hvc1.{space}{self.profile_idc}.{compatibility:X}.{tier}{self.level_idc}{constraints}"
        )

    def to_hvcc(self) -> bytes:
        """HEVCDecoderConfigurationRecord for samples with four-byte lengths, all sets in it."""
        active = self.active
        record = bytearray((1, *active.profile_tier_level))
        record += bytes((0xF0, 0, 0xFC))  # segmentation and parallelism: unknown
        record.append(0xFC | active.chroma_format_idc)
        record += bytes(0xF8 | min(7, b - 8) for b in (active.luma_bits, active.chroma_bits))
        record += bytes((0, 0))  # avgFrameRate: unspecified
        record += bytes((active.sub_layers << 3 | active.temporal_id_nesting << 2 | 3, 3))
        for kind, nals in ((NAL_VPS, self.vps), (NAL_SPS, self.sps), (NAL_PPS, self.pps)):
            record += bytes((0x80 | kind,)) + len(nals).to_bytes(2, "big")
            for nal in nals:
                record += len(nal).to_bytes(2, "big") + nal
        return bytes(record)

    @classmethod
    def from_hvcc(cls, data: Buffer) -> H265Config:
        """Raises: PeerError if the record is damaged or lacks one of the three kinds of sets."""
        reader = _hvcc_reader(data)
        reader.skip(1)  # lengthSizeMinusOne: see hvcc_length_bytes
        sets: dict[int, list[bytes]] = {NAL_VPS: [], NAL_SPS: [], NAL_PPS: []}
        left = 2 * _MAX_SETS
        for _ in range(reader.u8()):
            wanted = sets.get(reader.u8() & 0x3F)
            for _ in range(reader.u16()):
                nal = reader.take(reader.u16())
                left -= 1
                if left < 0:
                    raise PeerError("hvcC with more sets than there can be")
                if wanted is not None and (len(nal) < 2 or not layer_id(nal)):
                    wanted.append(bytes(nal))
        return cls(*(tuple(sets[kind]) for kind in (NAL_VPS, NAL_SPS, NAL_PPS)))


def hvcc_length_bytes(data: Buffer) -> int:
    """How long the length before each NAL unit is: 1, 2 or 4."""
    length_bytes = 1 + (_hvcc_reader(data).u8() & 3)
    if length_bytes == 3:
        raise PeerError("hvcC with NAL unit lengths of three bytes")
    return length_bytes


def _hvcc_reader(data: Buffer) -> Reader:
    reader = Reader(data)
    version = reader.u8()
    if version != 1:
        raise PeerError(f"hvcC of version {version}")
    reader.skip(20)  # what the SPS says too
    return reader


def nal_type(nal: Buffer) -> int:
    return nal[0] >> 1 & 0x3F


def layer_id(nal: Buffer) -> int:
    """nuh_layer_id: 0 for the only layer, or the base of several. The unit has 2 bytes or more."""
    return (nal[0] & 1) << 5 | nal[1] >> 3


def split_parameter_sets(nals: Iterable[Buffer]) -> NalSplit:
    """Sort one access unit's NAL units; the views stay views. key is an IRAP picture.

    Layers above the base (second views, scalability) are dropped: no protocol here carries them,
    and their parameter sets would pass for the base's.
    """
    split = NalSplit()
    for nal in nals:
        if len(nal) < 2 or layer_id(nal):
            continue
        kind = nal[0] >> 1 & 0x3F
        if kind in _MEDIA_TYPES:
            split.media.append(nal)
            split.key = split.key or _FIRST_IRAP <= kind <= _LAST_IRAP
        elif kind == NAL_VPS:
            split.vps.append(nal)
        elif kind == NAL_SPS:
            split.sps.append(nal)
        elif kind == NAL_PPS:
            split.pps.append(nal)
    return split


class ParameterSets(InBandSets[H265Config]):
    """The parameter sets a stream carries in band, gathered until they make a configuration.

    config: what is known from elsewhere already (hvcC, SDP), if anything.
    """

    __slots__ = ()

    def __init__(self, config: H265Config | None = None) -> None:
        super().__init__(config)
        if config is not None:
            self._hold(config.vps, config.sps, config.pps)

    def _check_sps(self, nal: bytes) -> None:
        parse_sps(nal)

    def _pps_id(self, nal: Buffer) -> int:
        return _pps_id(nal)

    def _make(
        self, vps: tuple[bytes, ...], sps: tuple[bytes, ...], pps: tuple[bytes, ...]
    ) -> H265Config | None:
        return H265Config(vps, sps, pps) if vps and sps and pps else None


def _pps_id(nal: Buffer) -> int:
    return BitReader(unescape(nal[:16])[2:]).ue_at_most(63, "pps_pic_parameter_set_id")
