from __future__ import annotations

import random

import pytest
from bit_writer import BitWriter, escape
from h264_writer import (
    SpsPlan,
    full_head,
    hrd,
    order_type_1,
    order_type_2,
    pps,
    scaling_lists,
    vui,
)
from mutation import assert_only_peer_error, corpus

from appliance.errors import PeerError
from appliance.media.h264_sps import parse_sps
from appliance.media.nal import split_annexb
from appliance.media.sps import MAX_PARAMETER_SET_BYTES, MAX_SIDE_PX


def test_sps_profile_flags_level_and_id() -> None:
    sps = parse_sps(SpsPlan(profile_idc=66, constraint_flags=0xC0, level_idc=30, sps_id=31).nal())
    assert (sps.profile_idc, sps.constraint_flags, sps.level_idc, sps.id) == (66, 0xC0, 30, 31)
    assert (sps.width_px, sps.height_px, sps.fps) == (320, 240, None)


@pytest.mark.parametrize(
    ("chroma_format_idc", "separate", "frames_only", "crop", "size"),
    [
        (1, False, True, (0, 1, 0, 1), (318, 238)),
        (1, False, True, (1, 2, 3, 0), (314, 234)),
        (1, False, False, (0, 0, 0, 2), (320, 472)),
        (2, False, True, (0, 1, 0, 1), (318, 239)),
        (2, False, False, (0, 1, 0, 1), (318, 478)),
        (3, False, True, (0, 1, 0, 1), (319, 239)),
        (3, True, True, (1, 0, 1, 0), (319, 239)),
        (3, True, False, (0, 0, 1, 0), (320, 478)),
        (0, False, True, (0, 3, 0, 5), (317, 235)),
        (0, False, False, (0, 3, 0, 5), (317, 470)),
    ],
)
def test_sps_crops_in_units_of_its_chroma_format(
    chroma_format_idc: int,
    separate: bool,
    frames_only: bool,
    crop: tuple[int, int, int, int],
    size: tuple[int, int],
) -> None:
    sps = parse_sps(
        SpsPlan(
            profile_idc=244,
            chroma_format_idc=chroma_format_idc,
            separate_planes=separate,
            frame_mbs_only=frames_only,
            crop=crop,
        ).nal()
    )
    assert (sps.width_px, sps.height_px) == size
    assert sps.chroma_format_idc == chroma_format_idc


def test_sps_bit_depths_and_scaling_lists() -> None:
    plan = SpsPlan(profile_idc=110, luma_minus8=2, chroma_minus8=1, scaling=scaling_lists)
    sps = parse_sps(plan.nal())
    assert (sps.luma_bits, sps.chroma_bits, sps.width_px) == (10, 9, 320)


def test_sps_twelve_scaling_lists_of_444() -> None:
    def lists(writer: BitWriter) -> None:
        scaling_lists(writer)
        writer.flag(1).se(*[0] * 64).flag(0).flag(0).flag(0)

    sps = parse_sps(SpsPlan(profile_idc=244, chroma_format_idc=3, scaling=lists).nal())
    assert (sps.width_px, sps.height_px) == (320, 240)


@pytest.mark.parametrize("cycle", [0, 1, 255])
def test_sps_picture_order_cycle_up_to_its_limit(cycle: int) -> None:
    assert parse_sps(SpsPlan(order=order_type_1(cycle)).nal()).width_px == 320


@pytest.mark.parametrize("cycle", [256, 1_000_000_000, (1 << 32) - 2])
def test_sps_picture_order_cycle_beyond_its_limit_raises(cycle: int) -> None:
    nal = SpsPlan(order=order_type_1(cycle, 0)).nal()
    assert len(nal) < 32
    with pytest.raises(PeerError, match="num_ref_frames_in_pic_order_cnt_cycle"):
        parse_sps(nal)


@pytest.mark.parametrize(
    ("timing", "fps"),
    [
        ((1, 50), 25.0),
        ((1001, 60_000), 30_000 / 1001),
        ((1, 100), 50.0),
        ((2, 1), 0.25),
        ((1, 2000), 1000.0),
        ((0, 0), None),
        ((0, 50), None),
        ((1, 0), None),
        ((1, (1 << 32) - 1), None),
        (((1 << 32) - 1, 1), None),
        (((1 << 32) - 1, (1 << 32) - 1), 0.5),
        ((1, 2001), None),
    ],
)
def test_sps_frame_rate_from_timing(timing: tuple[int, int], fps: float | None) -> None:
    sps = parse_sps(SpsPlan(vui=vui(timing=timing)).nal())
    assert sps.fps == (None if fps is None else pytest.approx(fps))


def test_sps_full_vui_is_read_to_its_end() -> None:
    write = vui(head=full_head, timing=(1, 60), hrd=hrd(32), reorder=(3, 4))
    sps = parse_sps(SpsPlan(vui=write).nal())
    assert (sps.fps, sps.max_reorder_frames) == (30.0, 3)


@pytest.mark.parametrize("reorder", [(5, 4), (2, 17), (1 << 31, 1 << 31)])
def test_sps_absurd_reordering_counts_as_unknown(reorder: tuple[int, int]) -> None:
    assert parse_sps(SpsPlan(vui=vui(reorder=reorder)).nal()).max_reorder_frames is None


def test_sps_damaged_vui_costs_only_what_it_tells() -> None:
    sps = parse_sps(SpsPlan(vui=vui(timing=(1, 50), hrd=hrd(33))).nal())
    assert (sps.width_px, sps.fps, sps.max_reorder_frames) == (320, 25.0, None)


@pytest.mark.parametrize(
    ("plan", "reorder_frames"),
    [
        (SpsPlan(), None),
        (SpsPlan(order=order_type_2), 0),
        (SpsPlan(profile_idc=66), 0),
        (SpsPlan(profile_idc=77), None),
        (SpsPlan(profile_idc=110, constraint_flags=0x10), 0),
        (SpsPlan(profile_idc=77, constraint_flags=0x10), None),
        (SpsPlan(profile_idc=66, vui=vui(reorder=(1, 2))), 1),
    ],
)
def test_sps_reordering_where_the_profile_decides(
    plan: SpsPlan, reorder_frames: int | None
) -> None:
    assert parse_sps(plan.nal()).max_reorder_frames == reorder_frames


@pytest.mark.parametrize(
    ("plan", "size"),
    [
        (SpsPlan(mbs=(1024, 1)), (MAX_SIDE_PX, 16)),
        (SpsPlan(mbs=(1, 1024)), (16, MAX_SIDE_PX)),
        (SpsPlan(mbs=(1, 512), frame_mbs_only=False), (16, MAX_SIDE_PX)),
        (SpsPlan(crop=(0, 159, 0, 119)), (2, 2)),
    ],
)
def test_sps_sizes_at_their_limits(plan: SpsPlan, size: tuple[int, int]) -> None:
    sps = parse_sps(plan.nal())
    assert (sps.width_px, sps.height_px) == size


@pytest.mark.parametrize(
    "plan",
    [
        SpsPlan(mbs=(1025, 1)),
        SpsPlan(mbs=(1, 1025)),
        SpsPlan(mbs=(1, 513), frame_mbs_only=False),
        SpsPlan(mbs=((1 << 32) - 1, 1)),
        SpsPlan(crop=(0, 160, 0, 0)),
        SpsPlan(crop=(0, 0, 60, 60)),
        SpsPlan(crop=((1 << 32) - 2, 0, 0, 0)),
        SpsPlan(sps_id=32),
        SpsPlan(chroma_format_idc=4),
        SpsPlan(luma_minus8=7),
        SpsPlan(chroma_minus8=7),
        SpsPlan(log2_max_frame_num_minus4=13),
        SpsPlan(order=lambda writer: writer.ue(3)),
        SpsPlan(order=lambda writer: writer.ue(0, 13)),
        SpsPlan(max_refs=17),
    ],
)
def test_sps_beyond_a_cap_raises(plan: SpsPlan) -> None:
    with pytest.raises(PeerError):
        parse_sps(plan.nal())


@pytest.mark.parametrize(
    "nal",
    [
        b"",
        b"\x67",
        b"\x67\x64\x00",
        pps(),
        b"\x67" + bytes(30),
        b"\x67" + b"\0\0\3" * 40,
        b"\x67\x64\x00\x1f" + bytes(20),  # a number of more than 32 leading zeros
        b"\x67\x64\x00\x1f" + b"\0\0\3" * 20,
        b"\x67" + b"\xff" * MAX_PARAMETER_SET_BYTES,
    ],
)
def test_sps_that_is_none_raises(nal: bytes) -> None:
    with pytest.raises(PeerError):
        parse_sps(nal)


def test_sps_at_the_size_limit_and_one_past_it() -> None:
    nal = SpsPlan().nal()
    assert parse_sps(nal + bytes(MAX_PARAMETER_SET_BYTES - len(nal))).width_px == 320
    with pytest.raises(PeerError):
        parse_sps(nal + bytes(MAX_PARAMETER_SET_BYTES + 1 - len(nal)))


def test_sps_cut_after_any_bit_raises_or_loses_only_the_vui() -> None:
    write = vui(head=full_head, timing=(1, 60), hrd=hrd(3), reorder=(3, 4))
    plan = SpsPlan(profile_idc=110, scaling=scaling_lists, order=order_type_1(9), crop=(1, 1, 1, 1))
    mandatory_bits = len(plan.writer().bits)
    plan.vui = write
    whole = plan.writer()
    for count in range(0, len(whole.bits), 8):  # what is cut off inside a byte reads as zeros
        cut = BitWriter()
        cut.bits = whole.bits[:count]
        nal = b"\x67" + escape(cut.to_bytes())
        if count < mandatory_bits:
            with pytest.raises(PeerError):
                parse_sps(nal)
        else:
            sps = parse_sps(nal)
            assert (sps.width_px, sps.height_px) == (316, 236)
    for count in range(len(whole.bits)):
        cut = BitWriter()
        cut.bits = whole.bits[:count]
        try:
            parse_sps(b"\x67" + escape(cut.to_bytes()))
        except PeerError:
            assert count < mandatory_bits + 8


def test_sps_without_its_escapes_raises_or_is_read_as_other_numbers() -> None:
    plan = SpsPlan(vui=vui(timing=(1, 50)))
    escaped = plan.nal()
    assert b"\0\0\3" in escaped
    assert parse_sps(escaped).fps == 25.0
    assert parse_sps(escaped.replace(b"\0\0\3", b"\0\0")).width_px == 320


def test_sps_of_random_plans_is_read_as_planned() -> None:
    rng = random.Random(7)
    for _ in range(300):
        timing = (rng.randrange(1, 1 << 20), rng.randrange(1, 1 << 32))
        plan = SpsPlan(
            profile_idc=rng.choice((66, 77, 88, 100, 110, 122, 244)),
            constraint_flags=rng.randrange(64) << 2,
            level_idc=rng.randrange(256),
            sps_id=rng.randrange(32),
            scaling=rng.choice((None, scaling_lists)),
            order=rng.choice((order_type_1(rng.randrange(256)), order_type_2)),
            mbs=(rng.randrange(3, 1025), rng.randrange(3, 513)),
            frame_mbs_only=rng.random() < 0.7,
            crop=rng.choice((None, (rng.randrange(4), rng.randrange(4), rng.randrange(4), 1))),
            vui=rng.choice(
                (None, vui(head=full_head, timing=timing, hrd=hrd(rng.randrange(1, 33))))
            ),
        )
        sps = parse_sps(plan.nal())
        fields = 1 if plan.frame_mbs_only else 2
        left, right, top, bottom = plan.crop or (0, 0, 0, 0)
        assert sps.width_px == 16 * plan.mbs[0] - 2 * (left + right)
        assert sps.height_px == fields * (16 * plan.mbs[1] - 2 * (top + bottom))
        assert (sps.id, sps.level_idc) == (plan.sps_id, plan.level_idc)
        fps = timing[1] / (2 * timing[0])
        if plan.vui and 0.01 <= fps <= 1000:
            assert sps.fps == pytest.approx(fps)
        else:
            assert sps.fps is None


def test_sps_mutated_raises_only_peer_error_and_soon() -> None:
    seeds = [nal for data in corpus("h264") for nal in map(bytes, split_annexb(data))]
    seeds.append(SpsPlan(scaling=scaling_lists, order=order_type_1(255)).nal())
    assert_only_peer_error(parse_sps, seeds, 4000)
