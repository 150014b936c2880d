"""The AV1 sequence header: what a stream is (AV1 Bitstream & Decoding Process §5.5)."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.errors import PeerError
from appliance.media.bits import BitReader
from appliance.media.sps import MAX_SIDE_PX, frame_rate
from appliance.media.unit import Buffer

_BT709, _SRGB, _IDENTITY = 1, 13, 0  # colour primaries, transfer, matrix (§6.4.2)
_UNSPECIFIED = 2
_SELECT = 2  # of screen content tools and integer motion vectors


@dataclass(frozen=True, slots=True)
class SequenceHeader:
    """level_idx: seq_level_idx of the first operating point: (level - 2.0) in quarters and so on
    (§A.3). chroma_sample_position: 0 unknown. fps: None unless pictures are said to be even."""

    profile: int
    level_idx: int
    tier: int
    width_px: int
    height_px: int
    bit_depth: int
    monochrome: int
    subsampling_x: int
    subsampling_y: int
    chroma_sample_position: int
    fps: float | None


def parse_sequence_header(payload: Buffer) -> SequenceHeader:
    """`payload`: of the OBU, without its header. Raises: PeerError."""
    bits = BitReader(bytes(payload))
    profile = bits.u(3)
    if profile > 2:
        raise PeerError(f"AV1 profile {profile}")
    bits.skip(1)  # still_picture
    is_reduced = bits.flag()
    fps = None
    if is_reduced:
        level_idx, tier = bits.u(5), 0
    else:
        fps, delay_bits = _read_timing(bits)
        level_idx, tier = _read_operating_points(bits, delay_bits)
    width_bits, height_bits = bits.u(4) + 1, bits.u(4) + 1
    width_px, height_px = bits.u(width_bits) + 1, bits.u(height_bits) + 1
    if max(width_px, height_px) > MAX_SIDE_PX:
        raise PeerError(f"AV1 of {width_px}x{height_px} pixels")
    _skip_tools(bits, is_reduced=is_reduced)
    depth, monochrome, x, y, position = _read_colour(bits, profile)
    return SequenceHeader(
        profile, level_idx, tier, width_px, height_px, depth, monochrome, x, y, position, fps
    )


def _read_timing(bits: BitReader) -> tuple[float | None, int]:
    """Frame rate, and how many bits the decoder model's delays have, 0 without one (§5.5.3)."""
    fps, delay_bits = None, 0
    if bits.flag():  # timing_info_present_flag
        tick, scale = bits.u(32), bits.u(32)
        if bits.flag():  # equal_picture_interval
            ticks = bits.ue() + 1  # num_ticks_per_picture_minus_1: uvlc is ue(v) (§4.10.3)
            fps = frame_rate(scale, tick * ticks)
        if bits.flag():  # decoder_model_info_present_flag
            delay_bits = bits.u(5) + 1
            bits.skip(32 + 5 + 5)
    return fps, delay_bits


def _read_operating_points(bits: BitReader, delay_bits: int) -> tuple[int, int]:
    """Level and tier of the first one."""
    first = (0, 0)
    has_display_delay = bits.flag()
    for index in range(bits.u(5) + 1):
        bits.skip(12)  # operating_point_idc
        level_idx = bits.u(5)
        tier = bits.u(1) if level_idx > 7 else 0
        if delay_bits and bits.flag():
            bits.skip(2 * delay_bits + 1)
        if has_display_delay and bits.flag():
            bits.skip(4)
        if not index:
            first = (level_idx, tier)
    return first


def _skip_tools(bits: BitReader, *, is_reduced: bool) -> None:
    """From frame_id_numbers_present_flag to enable_restoration."""
    if not is_reduced and bits.flag():
        bits.skip(4 + 3)  # lengths of frame ids
    bits.skip(3)  # superblock size, filter intra, intra edge filter
    if not is_reduced:
        bits.skip(4)  # compounds, warped motion, dual filter
        has_order_hint = bits.flag()
        if has_order_hint:
            bits.skip(2)
        screen_tools = _SELECT if bits.flag() else bits.u(1)
        if screen_tools and not bits.flag():  # seq_choose_integer_mv
            bits.skip(1)
        if has_order_hint:
            bits.skip(3)
    bits.skip(3)  # superres, cdef, restoration


def _read_colour(bits: BitReader, profile: int) -> tuple[int, int, int, int, int]:
    """Bit depth, monochrome, subsampling in x and y, chroma position (§5.5.2)."""
    depth = 10 if bits.flag() else 8
    if profile == 2 and depth == 10 and bits.flag():
        depth = 12
    monochrome = 0 if profile == 1 else bits.u(1)
    colours = (_UNSPECIFIED,) * 3
    if bits.flag():  # color_description_present_flag
        colours = (bits.u(8), bits.u(8), bits.u(8))
    if not monochrome and colours == (_BT709, _SRGB, _IDENTITY):
        return depth, 0, 0, 0, 0
    bits.skip(1)  # color_range
    if monochrome:
        return depth, 1, 1, 1, 0
    x, y = {0: (1, 1), 1: (0, 0)}.get(profile, (1, 0))
    if profile == 2 and depth == 12:
        x = bits.u(1)
        y = bits.u(1) if x else 0
    return depth, 0, x, y, bits.u(2) if x and y else 0
