"""VP9 as tracks and access units need it: key frame headers and vpcC.

VP9 Bitstream & Decoding Process Specification §6.2, §7.2; VP Codec ISO Media File Format Binding
(vpcC, CODECS). A unit is one frame or superframe, as it stands.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from appliance.errors import PeerError
from appliance.media.bits import BitReader, Reader
from appliance.media.sps import MAX_SIDE_PX
from appliance.media.track import Codec, Kind
from appliance.media.unit import Buffer

_SYNC_CODE = 0x49_8342
_HEADER_BYTES = 32  # more than an uncompressed header's beginning has
_SRGB = 7
_BOX_HEAD = b"\x01\0\0\0"  # version and flags, which FFmpeg 8 keeps in FLV and others may not
# Level, by the most luma samples of a picture (VP9 Levels, project's own table)
_LEVELS = (
    (36_864, 10), (73_728, 11), (122_880, 20), (245_760, 21), (552_960, 30), (983_040, 31),
    (2_228_224, 40), (8_912_896, 50),
)  # fmt: skip
_HIGHEST_LEVEL = 60


@dataclass(frozen=True, slots=True)
class Vp9Config:
    """A vpcC, and the size that it does not tell, 0 until a key frame has.

    chroma: 0 and 1 are 4:2:0, 2 is 4:2:2, 3 is 4:4:4. level_idc: ten times the level, 0 unknown.
    colour: primaries, transfer and matrix (ISO/IEC 23091-2), which key frames do not tell.
    """

    kind: ClassVar[Kind] = Kind.VIDEO
    codec: ClassVar[Codec] = Codec.VP9
    width_px: int = 0
    height_px: int = 0
    profile: int = 0
    level_idc: int = 0
    bit_depth: int = 8
    chroma: int = 1
    is_full_range: bool = False
    colour: bytes = b"\2\2\2"

    @property
    def fps(self) -> float | None:
        """Never told."""
        return None

    @property
    def level(self) -> int:
        """Ten times the level's number; by the picture's size where nobody said it."""
        if self.level_idc:
            return self.level_idc
        size = self.width_px * self.height_px
        return next((level for most, level in _LEVELS if size <= most), _HIGHEST_LEVEL)

    @property
    def rfc6381(self) -> str:
        """Binding, "Codecs Parameter String", such as ``vp09.00.31.08``."""
        return f"vp09.{self.profile:02d}.{self.level:02d}.{self.bit_depth:02d}"

    def to_vpcc(self) -> bytes:
        """The body of a vpcC box, version and flags included."""
        depth = self.bit_depth << 4 | self.chroma << 1 | self.is_full_range
        return _BOX_HEAD + bytes((self.profile, self.level, depth, *self.colour, 0, 0))

    @classmethod
    def from_vpcc(cls, data: Buffer) -> Vp9Config:
        """With or without version and flags. Raises: PeerError."""
        whole = bytes(data)
        reader = Reader(whole.removeprefix(_BOX_HEAD) if len(whole) > 8 else whole)
        profile, level_idc, depth = reader.u8(), reader.u8(), reader.u8()
        bit_depth, chroma = depth >> 4, depth >> 1 & 7
        if profile > 3 or bit_depth not in {8, 10, 12} or chroma > 3:
            raise PeerError(f"a VP9 configuration of profile {profile} with {bit_depth} bits")
        colour = bytes(reader.take(3))
        return cls(0, 0, profile, level_idc, bit_depth, chroma, bool(depth & 1), colour)


def parse_key_frame(frame: Buffer, record: Vp9Config) -> Vp9Config | None:
    """What a key frame's uncompressed header and `record` describe, None of another frame.

    Raises: PeerError if it is no VP9.
    """
    bits = BitReader(memoryview(frame)[:_HEADER_BYTES])
    if bits.u(2) != 2:
        raise PeerError("a VP9 frame without its marker")
    profile = bits.u(1) | bits.u(1) << 1
    if profile == 3:
        bits.skip(1)
    if bits.flag() or bits.flag():  # show_existing_frame, frame_type
        return None
    bits.skip(2)  # show_frame, error_resilient_mode
    if bits.u(24) != _SYNC_CODE:
        raise PeerError("a VP9 key frame without its sync code")
    bit_depth = 8 if profile < 2 else 12 if bits.flag() else 10
    chroma, is_full_range = _read_colour(bits, profile)
    if chroma == 1 and not record.chroma:
        chroma = 0  # where the samples lie, frames do not tell
    width_px, height_px = bits.u(16) + 1, bits.u(16) + 1
    if max(width_px, height_px) > MAX_SIDE_PX:
        raise PeerError(f"VP9 of {width_px}x{height_px} pixels")
    return replace(
        record,
        width_px=width_px,
        height_px=height_px,
        profile=profile,
        bit_depth=bit_depth,
        chroma=chroma,
        is_full_range=is_full_range,
    )


def _read_colour(bits: BitReader, profile: int) -> tuple[int, bool]:
    """Chroma format and range (§6.2.2)."""
    is_rgb = bits.u(3) == _SRGB
    is_full_range = True if is_rgb else bits.flag()
    if not profile & 1:
        if is_rgb:
            raise PeerError("VP9 in RGB of a profile that has none")
        return 1, is_full_range
    if is_rgb:
        bits.skip(1)
        return 3, is_full_range
    x, y = bits.u(1), bits.u(1)
    bits.skip(1)
    return {(0, 0): 3, (1, 0): 2}.get((x, y), 1), is_full_range
