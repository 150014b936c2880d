"""H.264 sequence parameter sets (ISO/IEC 14496-10 §7.3.2.1, Annex E): what they tell of a stream.

Counts that the spec leaves open to 2^32 are capped; nothing is allocated from a count.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from appliance.errors import PeerError
from appliance.media.bits import BitReader
from appliance.media.nal import unescape
from appliance.media.sps import (
    MAX_PARAMETER_SET_BYTES,
    MAX_SIDE_PX,
    frame_rate,
    skip_vui_picture_fields,
)
from appliance.media.unit import Buffer

# Profiles whose SPS has chroma format, bit depth and scaling lists (§7.3.2.1.1)
_CHROMA_PROFILES = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244})
_INTRA_PROFILES = frozenset({44, 86, 100, 110, 122, 244})  # with constraint_set3 (§E.2.1)


@dataclass(frozen=True, slots=True)
class Sps:
    """A parsed set. Sizes are after cropping.

    fps: from VUI timing, None if absent or absurd.
    max_reorder_frames: how many frames may precede one in decoding order and follow it in
        output order; None if the stream does not say.
    """

    id: int
    profile_idc: int
    constraint_flags: int
    level_idc: int
    chroma_format_idc: int
    luma_bits: int
    chroma_bits: int
    width_px: int
    height_px: int
    fps: float | None
    max_reorder_frames: int | None


@dataclass(slots=True)
class _Chroma:
    format_idc: int = 1
    separate_planes: bool = False
    luma_bits: int = 8
    chroma_bits: int = 8


@dataclass(slots=True)
class _Vui:
    fps: float | None = None
    max_reorder_frames: int | None = None


def parse_sps(nal: Buffer) -> Sps:
    """Read a NAL unit of type 7. Raises: PeerError if it is not one or exceeds a cap."""
    if not 4 <= len(nal) <= MAX_PARAMETER_SET_BYTES or nal[0] & 0x1F != 7:
        raise PeerError(f"not an H.264 SPS ({len(nal)} bytes)")
    bits = BitReader(unescape(nal)[1:])
    profile_idc, constraint_flags, level_idc = bits.u(8), bits.u(8), bits.u(8)
    sps_id = bits.ue_at_most(31, "seq_parameter_set_id")
    chroma = _read_chroma(bits) if profile_idc in _CHROMA_PROFILES else _Chroma()
    bits.ue_at_most(12, "log2_max_frame_num_minus4")
    order_type = _skip_picture_order(bits)
    bits.ue_at_most(16, "max_num_ref_frames")
    bits.skip(1)  # gaps_in_frame_num_value_allowed_flag
    width_px, height_px = _read_size(bits, chroma)
    vui = _read_vui(bits) if bits.flag() else _Vui()
    if vui.max_reorder_frames is None and (
        order_type == 2
        or profile_idc == 66
        or (profile_idc in _INTRA_PROFILES and constraint_flags & 0x10)
    ):
        vui.max_reorder_frames = 0
    return Sps(
        sps_id,
        profile_idc,
        constraint_flags,
        level_idc,
        chroma.format_idc,
        chroma.luma_bits,
        chroma.chroma_bits,
        width_px,
        height_px,
        vui.fps,
        vui.max_reorder_frames,
    )


def _read_chroma(bits: BitReader) -> _Chroma:
    format_idc = bits.ue_at_most(3, "chroma_format_idc")
    chroma = _Chroma(format_idc, format_idc == 3 and bits.flag())
    chroma.luma_bits = 8 + bits.ue_at_most(6, "bit_depth_luma_minus8")
    chroma.chroma_bits = 8 + bits.ue_at_most(6, "bit_depth_chroma_minus8")
    bits.skip(1)  # qpprime_y_zero_transform_bypass_flag
    if bits.flag():
        for index in range(12 if format_idc == 3 else 8):
            if bits.flag():
                _skip_scaling_list(bits, 16 if index < 6 else 64)
    return chroma


def _skip_scaling_list(bits: BitReader, size: int) -> None:
    """§7.3.2.1.1.1: the list ends early where the next scale becomes 0."""
    scale = 8
    for _ in range(size):
        scale = (scale + bits.se()) & 0xFF
        if not scale:
            return


def _skip_picture_order(bits: BitReader) -> int:
    order_type = bits.ue_at_most(2, "pic_order_cnt_type")
    if order_type == 0:
        bits.ue_at_most(12, "log2_max_pic_order_cnt_lsb_minus4")
    elif order_type == 1:
        bits.skip(1)  # delta_pic_order_always_zero_flag
        bits.se()  # offset_for_non_ref_pic
        bits.se()  # offset_for_top_to_bottom_field
        for _ in range(bits.ue_at_most(255, "num_ref_frames_in_pic_order_cnt_cycle")):
            bits.se()
    return order_type


def _read_size(bits: BitReader, chroma: _Chroma) -> tuple[int, int]:
    most = MAX_SIDE_PX // 16 - 1
    width_px = 16 * (1 + bits.ue_at_most(most, "pic_width_in_mbs_minus1"))
    height_px = 16 * (1 + bits.ue_at_most(most, "pic_height_in_map_units_minus1"))
    fields = 1 if bits.flag() else 2  # frame_mbs_only_flag
    height_px *= fields
    if fields == 2:
        bits.skip(1)  # mb_adaptive_frame_field_flag
    bits.skip(1)  # direct_8x8_inference_flag
    if bits.flag():
        subsampled = not chroma.separate_planes
        unit_x_px = 2 if subsampled and chroma.format_idc in {1, 2} else 1
        unit_y_px = fields * (2 if subsampled and chroma.format_idc == 1 else 1)
        width_px -= unit_x_px * (bits.ue() + bits.ue())
        height_px -= unit_y_px * (bits.ue() + bits.ue())
    if width_px <= 0 or height_px <= 0 or height_px > MAX_SIDE_PX:
        raise PeerError(f"an H.264 picture of {width_px} by {height_px} pixels")
    return width_px, height_px


def _read_vui(bits: BitReader) -> _Vui:
    """Annex E.1.1. It only informs, so what comes after a fault in it counts as absent."""
    vui = _Vui()
    with suppress(PeerError):
        _read_vui_fields(bits, vui)
    return vui


def _read_vui_fields(bits: BitReader, vui: _Vui) -> None:
    skip_vui_picture_fields(bits)
    if bits.flag():
        num_units_in_tick = bits.u(32)  # of a field, of which a frame has two
        vui.fps = frame_rate(bits.u(32), 2 * num_units_in_tick)
        bits.skip(1)  # fixed_frame_rate_flag
    has_nal_hrd = bits.flag()
    if has_nal_hrd:
        _skip_hrd(bits)
    has_vcl_hrd = bits.flag()
    if has_vcl_hrd:
        _skip_hrd(bits)
    if has_nal_hrd or has_vcl_hrd:
        bits.skip(1)  # low_delay_hrd_flag
    bits.skip(1)  # pic_struct_present_flag
    if bits.flag():
        bits.skip(1)  # motion_vectors_over_pic_boundaries_flag
        for _ in range(4):  # max_bytes_per_pic_denom … log2_max_mv_length_vertical
            bits.ue()
        reorder, buffered = bits.ue(), bits.ue()
        if reorder <= buffered <= 16:
            vui.max_reorder_frames = reorder


def _skip_hrd(bits: BitReader) -> None:
    """hrd_parameters, §E.1.2."""
    count = 1 + bits.ue_at_most(31, "cpb_cnt_minus1")
    bits.skip(8)  # bit_rate_scale, cpb_size_scale
    for _ in range(count):
        bits.ue()  # bit_rate_value_minus1
        bits.ue()  # cpb_size_value_minus1
        bits.skip(1)  # cbr_flag
    bits.skip(20)  # four lengths of five bits
