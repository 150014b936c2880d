"""HEVC sequence and video parameter sets (ISO/IEC 23008-2 §7.3.2, Annex E): what they tell.

Counts that the spec leaves open are capped; nothing is allocated from a count.
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

_MAX_REFERENCES = 16  # §A.4.2: the greatest decoded picture buffer
_PTL_BYTES = 12  # general_profile_space … general_level_idc: also bytes 1 to 12 of an hvcC


@dataclass(frozen=True, slots=True)
class Sps:
    """A parsed set. Sizes are after the conformance window.

    profile_tier_level: the twelve bytes of the general profile, tier and level, unescaped.
    fps: from VUI timing, None if absent, absurd or unreachable.
    """

    profile_tier_level: bytes
    sub_layers: int
    temporal_id_nesting: bool
    chroma_format_idc: int
    luma_bits: int
    chroma_bits: int
    width_px: int
    height_px: int
    fps: float | None
    max_reorder_frames: int


def parse_sps(nal: Buffer) -> Sps:
    """Read a NAL unit of type 33. Raises: PeerError if it is not one or exceeds a cap."""
    rbsp = _unescape(nal, 33, "SPS")
    bits = BitReader(rbsp)
    bits.skip(4)  # sps_video_parameter_set_id
    more_layers = _read_more_layers(bits)
    nesting = bits.flag()
    _skip_profile_tier_level(bits, more_layers)
    bits.ue_at_most(15, "sps_seq_parameter_set_id")
    chroma_format_idc = bits.ue_at_most(3, "chroma_format_idc")
    subsampled = chroma_format_idc != 3 or not bits.flag()  # separate_colour_plane_flag
    width_px, height_px = _read_size(bits, chroma_format_idc if subsampled else 0)
    luma_bits = 8 + bits.ue_at_most(8, "bit_depth_luma_minus8")
    chroma_bits = 8 + bits.ue_at_most(8, "bit_depth_chroma_minus8")
    order_bits = 4 + bits.ue_at_most(12, "log2_max_pic_order_cnt_lsb_minus4")
    reorder_frames = _read_sub_layer_ordering(bits, more_layers)
    fps = None
    with suppress(PeerError):  # it only informs, so a fault in what leads there costs no stream
        fps = _read_fps(bits, order_bits)
    return Sps(
        rbsp[1 : 1 + _PTL_BYTES],
        more_layers + 1,
        nesting,
        chroma_format_idc,
        luma_bits,
        chroma_bits,
        width_px,
        height_px,
        fps,
        reorder_frames,
    )


def parse_vps_fps(nal: Buffer) -> float | None:
    """The frame rate a NAL unit of type 32 tells, if any.

    Raises: PeerError if it is no VPS or too large. Damage counts as no frame rate.
    """
    bits = BitReader(_unescape(nal, 32, "VPS"))
    with suppress(PeerError):
        bits.skip(12)  # ids, base layer flags, vps_max_layers_minus1
        more_layers = _read_more_layers(bits)
        bits.skip(17)  # temporal id nesting, reserved
        _skip_profile_tier_level(bits, more_layers)
        _read_sub_layer_ordering(bits, more_layers)
        max_layer_id = bits.u(6)
        bits.skip(bits.ue_at_most(1023, "vps_num_layer_sets_minus1") * (max_layer_id + 1))
        return _read_timing(bits)
    return None


def _unescape(nal: Buffer, kind: int, name: str) -> bytes:
    if not 4 <= len(nal) <= MAX_PARAMETER_SET_BYTES or nal[0] >> 1 & 0x3F != kind:
        raise PeerError(f"not an HEVC {name} ({len(nal)} bytes)")
    return unescape(nal)[2:]


def _read_more_layers(bits: BitReader) -> int:
    more_layers = bits.u(3)
    if more_layers > 6:
        raise PeerError("HEVC with eight temporal sub-layers")
    return more_layers


def _skip_profile_tier_level(bits: BitReader, more_layers: int) -> None:
    """§7.3.3 with profilePresentFlag 1."""
    bits.skip(_PTL_BYTES * 8)
    present = [(bits.flag(), bits.flag()) for _ in range(more_layers)]
    if more_layers:
        bits.skip(2 * (8 - more_layers))
    for has_profile, has_level in present:
        bits.skip(88 * has_profile + 8 * has_level)


def _read_size(bits: BitReader, chroma_array_type: int) -> tuple[int, int]:
    width_px = bits.ue_at_most(MAX_SIDE_PX, "pic_width_in_luma_samples")
    height_px = bits.ue_at_most(MAX_SIDE_PX, "pic_height_in_luma_samples")
    if bits.flag():
        unit_x_px = 2 if chroma_array_type in {1, 2} else 1
        unit_y_px = 2 if chroma_array_type == 1 else 1
        width_px -= unit_x_px * (bits.ue() + bits.ue())
        height_px -= unit_y_px * (bits.ue() + bits.ue())
    if width_px <= 0 or height_px <= 0:
        raise PeerError(f"an HEVC picture of {width_px} by {height_px} pixels")
    return width_px, height_px


def _read_sub_layer_ordering(bits: BitReader, more_layers: int) -> int:
    """max_num_reorder_pics of the highest sub-layer."""
    reorder_frames = 0
    for _ in range(1 + (more_layers if bits.flag() else 0)):
        bits.ue_at_most(_MAX_REFERENCES - 1, "max_dec_pic_buffering_minus1")
        reorder_frames = bits.ue_at_most(_MAX_REFERENCES - 1, "max_num_reorder_pics")
        bits.ue()  # max_latency_increase_plus1
    return reorder_frames


def _read_fps(bits: BitReader, order_bits: int) -> float | None:
    """Everything from the coding block sizes to the timing of the VUI."""
    for _ in range(6):  # log2_min_luma_coding_block_size_minus3 … max_transform_hierarchy_depth
        bits.ue()
    if bits.flag() and bits.flag():
        _skip_scaling_lists(bits)
    bits.skip(2)  # amp_enabled_flag, sample_adaptive_offset_enabled_flag
    if bits.flag():
        bits.skip(8)  # PCM bit depths
        bits.ue()
        bits.ue()
        bits.skip(1)
    _skip_short_term_sets(bits)
    if bits.flag():
        count = bits.ue_at_most(32, "num_long_term_ref_pics_sps")
        bits.skip(count * (order_bits + 1))
    bits.skip(2)  # sps_temporal_mvp_enabled_flag, strong_intra_smoothing_enabled_flag
    if not bits.flag():
        return None
    skip_vui_picture_fields(bits)
    bits.skip(3)  # neutral_chroma_indication, field_seq, frame_field_info_present
    if bits.flag():
        for _ in range(4):  # default display window
            bits.ue()
    return _read_timing(bits)


def _read_timing(bits: BitReader) -> float | None:
    if not bits.flag():
        return None
    num_units_in_tick = bits.u(32)
    return frame_rate(bits.u(32), num_units_in_tick)


def _skip_scaling_lists(bits: BitReader) -> None:
    """scaling_list_data, §7.3.4."""
    for size_id in range(4):
        for _ in range(2 if size_id == 3 else 6):
            if not bits.flag():
                bits.ue()  # scaling_list_pred_matrix_id_delta
                continue
            if size_id > 1:
                bits.se()  # scaling_list_dc_coef_minus8
            for _ in range(min(64, 16 << (2 * size_id))):
                bits.se()


def _skip_short_term_sets(bits: BitReader) -> None:
    offsets: list[int] | None = None
    for _ in range(bits.ue_at_most(64, "num_short_term_ref_pic_sets")):
        offsets = _read_short_term_set(bits, offsets)


def _read_short_term_set(bits: BitReader, previous: list[int] | None) -> list[int]:
    """st_ref_pic_set, §7.3.7: picture order offsets, the nearest first, negative before positive.

    A set may be written as changes to the previous one, whose length then decides how many bits
    follow.
    """
    if previous is not None and bits.flag():
        sign = -1 if bits.flag() else 1
        delta = sign * (1 + bits.ue())
        offsets = [
            offset + delta
            for offset in (*previous, 0)
            if (bits.flag() or bits.flag()) and offset + delta
        ]
        offsets.sort(key=lambda offset: (offset > 0, abs(offset)))
    else:
        negative = bits.ue_at_most(_MAX_REFERENCES, "num_negative_pics")
        positive = bits.ue_at_most(_MAX_REFERENCES, "num_positive_pics")
        offsets = [*_read_offsets(bits, negative, -1), *_read_offsets(bits, positive, 1)]
    if len(offsets) > _MAX_REFERENCES:
        raise PeerError(f"an HEVC reference picture set of {len(offsets)} pictures")
    return offsets


def _read_offsets(bits: BitReader, count: int, sign: int) -> list[int]:
    offsets, offset = [], 0
    for _ in range(count):
        offset += sign * (1 + bits.ue())
        bits.skip(1)  # used_by_curr_pic_flag
        offsets.append(offset)
    return offsets
