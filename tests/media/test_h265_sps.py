from __future__ import annotations

import random

import pytest
from bit_writer import BitWriter, escape
from h265_writer import SpsPlan, pps, scaling_lists, short_term_sets, vps, vui
from mutation import assert_only_peer_error, corpus

from appliance.errors import PeerError
from appliance.media.h265_sps import parse_sps, parse_vps_fps
from appliance.media.nal import split_annexb
from appliance.media.sps import MAX_PARAMETER_SET_BYTES, MAX_SIDE_PX


def full_plan() -> SpsPlan:
    """Every branch on the way to the frame rate."""
    return SpsPlan(
        sub_layers=[(1, 1), (0, 1), (1, 0)],
        ordering=[(4, 0, 0), (4, 1, 0), (5, 2, 0), (5, 3, 0)],
        window=(1, 2, 3, 4),
        scaling=scaling_lists,
        pcm=True,
        short_term=short_term_sets,
        long_term=32,
        vui=vui((1001, 30_000), full=True),
    )


def test_sps_profile_tier_level_and_sub_layers() -> None:
    sps = parse_sps(full_plan().nal())
    assert sps.profile_tier_level == SpsPlan().general
    assert (sps.sub_layers, sps.temporal_id_nesting, sps.max_reorder_frames) == (4, True, 3)
    assert (sps.width_px, sps.height_px) == (314, 226)


def test_sps_frame_rate_is_reached_through_every_branch() -> None:
    assert parse_sps(full_plan().nal()).fps == pytest.approx(30_000 / 1001)


@pytest.mark.parametrize(
    ("chroma_format_idc", "separate", "window", "size"),
    [
        (1, False, (0, 1, 0, 1), (318, 238)),
        (2, False, (0, 1, 0, 1), (318, 239)),
        (3, False, (0, 1, 0, 1), (319, 239)),
        (3, True, (1, 0, 1, 0), (319, 239)),
        (0, False, (1, 1, 1, 1), (318, 238)),
        (1, False, (0, 159, 0, 119), (2, 2)),
    ],
)
def test_sps_window_in_units_of_its_chroma_format(
    chroma_format_idc: int, separate: bool, window: tuple[int, int, int, int], size: tuple[int, int]
) -> None:
    plan = SpsPlan(chroma_format_idc=chroma_format_idc, separate_planes=separate, window=window)
    sps = parse_sps(plan.nal())
    assert (sps.width_px, sps.height_px) == size


def test_sps_bit_depths() -> None:
    sps = parse_sps(SpsPlan(luma_minus8=8, chroma_minus8=2).nal())
    assert (sps.luma_bits, sps.chroma_bits) == (16, 10)


@pytest.mark.parametrize("size", [(MAX_SIDE_PX, 8), (8, MAX_SIDE_PX)])
def test_sps_size_at_its_limit(size: tuple[int, int]) -> None:
    sps = parse_sps(SpsPlan(size=size).nal())
    assert (sps.width_px, sps.height_px) == size


@pytest.mark.parametrize(
    "plan",
    [
        SpsPlan(size=(0, 240)),
        SpsPlan(size=(320, 0)),
        SpsPlan(size=(MAX_SIDE_PX + 1, 8)),
        SpsPlan(size=(8, MAX_SIDE_PX + 1)),
        SpsPlan(size=((1 << 32) - 2, 8)),
        SpsPlan(window=(160, 0, 0, 0)),
        SpsPlan(window=(0, 0, 60, 60)),
        SpsPlan(window=(0, (1 << 32) - 2, 0, 0)),
        SpsPlan(sps_id=16),
        SpsPlan(chroma_format_idc=4),
        SpsPlan(luma_minus8=9),
        SpsPlan(chroma_minus8=9),
        SpsPlan(order_bits=17),
        SpsPlan(ordering=[(16, 0, 0)]),
        SpsPlan(ordering=[(4, 16, 0)]),
        SpsPlan(sub_layers=[(0, 0)] * 7),
    ],
)
def test_sps_beyond_a_cap_raises(plan: SpsPlan) -> None:
    with pytest.raises(PeerError):
        parse_sps(plan.nal())


def endless_sets(writer: BitWriter) -> None:
    writer.ue(64)
    for _ in range(64):
        writer.ue(16, 0)


def growing_sets(writer: BitWriter) -> None:
    """Each set predicted from the one before, and one picture larger."""
    writer.ue(40)
    writer.ue(0, 0)
    for size in range(39):
        writer.flag(1).flag(1).ue(0)
        for _ in range(size + 1):
            writer.flag(1)


@pytest.mark.parametrize(
    "plan",
    [
        SpsPlan(short_term=lambda writer: writer.ue(65)),
        SpsPlan(short_term=lambda writer: writer.ue((1 << 32) - 2)),
        SpsPlan(short_term=lambda writer: writer.ue(1, 17, 0)),
        SpsPlan(short_term=lambda writer: writer.ue(1, 0, 1 << 30)),
        SpsPlan(short_term=endless_sets),
        SpsPlan(short_term=growing_sets),
        SpsPlan(long_term=33),
    ],
)
def test_sps_absurd_reference_sets_cost_only_the_frame_rate(plan: SpsPlan) -> None:
    plan.vui = vui((1, 25))
    sps = parse_sps(plan.nal())
    assert (sps.width_px, sps.fps) == (320, None)


@pytest.mark.parametrize(
    ("timing", "fps"),
    [
        ((1, 25), 25.0),
        ((0, 0), None),
        ((0, 1), None),
        ((1, 0), None),
        ((1, (1 << 32) - 1), None),
        (((1 << 32) - 1, 1), None),
        ((1, 1000), 1000.0),
        ((1, 1001), None),
    ],
)
def test_frame_rate_from_sps_and_vps_timing(timing: tuple[int, int], fps: float | None) -> None:
    assert parse_sps(SpsPlan(vui=vui(timing)).nal()).fps == fps
    assert parse_vps_fps(vps(timing)) == fps
    layered = vps(timing, sub_layers=[(1, 1), (0, 0)], layer_sets=1024, max_layer_id=5)
    assert parse_vps_fps(layered) == fps


def test_vps_without_timing_or_damaged_tells_no_frame_rate() -> None:
    assert parse_vps_fps(vps()) is None
    assert parse_vps_fps(vps((1, 25))[:20]) is None
    assert parse_vps_fps(vps((1, 25), layer_sets=1025)) is None


@pytest.mark.parametrize(
    "nal",
    [
        b"",
        b"\x42",
        b"\x42\x01\x01",
        pps(),
        b"\x42\x01" + bytes(60),
        b"\x42\x01" + b"\0\0\3" * 40,
        b"\x42\x01" + b"\xff" * 60,
        b"\x42\x01" + b"\x01" * MAX_PARAMETER_SET_BYTES,
    ],
)
def test_sps_that_is_none_raises(nal: bytes) -> None:
    with pytest.raises(PeerError):
        parse_sps(nal)


def test_vps_that_is_none_raises() -> None:
    for nal in (b"", b"\x40\x01", pps(), b"\x40\x01" + bytes(MAX_PARAMETER_SET_BYTES)):
        with pytest.raises(PeerError):
            parse_vps_fps(nal)


def test_sps_cut_after_any_bit_raises_or_loses_only_the_frame_rate() -> None:
    plan = full_plan()
    whole = plan.writer().bits
    accepted = []
    for count in range(len(whole)):
        cut = BitWriter()
        cut.bits = whole[:count]
        try:
            sps = parse_sps(b"\x42\x01" + escape(cut.to_bytes()))
        except PeerError:
            continue
        accepted.append(count)
        assert (sps.sub_layers, sps.width_px, sps.height_px) == (4, 314, 226)
    assert accepted == list(range(accepted[0], len(whole)))  # never again once it sufficed


def test_reference_sets_of_random_shape_lead_to_the_frame_rate() -> None:
    rng = random.Random(11)
    for _ in range(200):
        plan = SpsPlan(short_term=lambda writer: random_sets(writer, rng), vui=vui((1, 25)))
        assert parse_sps(plan.nal()).fps == 25.0


def random_sets(writer: BitWriter, rng: random.Random) -> None:
    """Reference picture sets with their meaning followed as §7.4.8 derives it, sign by sign."""
    count = rng.randrange(1, 12)
    writer.ue(count)
    negative: list[int] = []
    positive: list[int] = []
    for number in range(count):
        if number:
            writer.flag(predicted := rng.random() < 0.6)
        if number and predicted:
            delta = rng.choice((-3, -2, -1, 1, 2, 3))
            writer.flag(delta < 0).ue(abs(delta) - 1)
            keep = [rng.random() < 0.7 for _ in range(len(negative) + len(positive) + 1)]
            for kept in keep:
                if kept and rng.random() < 0.5:
                    writer.flag(1)
                else:
                    writer.flag(0).flag(kept)
            negative, positive = predicted_set(negative, positive, delta, keep)
        else:
            negative, positive = [], []
            writer.ue(below := rng.randrange(4), above := rng.randrange(4))
            for poc, sign, size in ((negative, -1, below), (positive, 1, above)):
                for _ in range(size):
                    step = rng.randrange(3)
                    poc.append((poc[-1] if poc else 0) + sign * (step + 1))
                    writer.ue(step).flag(rng.random() < 0.5)


def predicted_set(
    negative: list[int], positive: list[int], delta: int, keep: list[bool]
) -> tuple[list[int], list[int]]:
    """Equations 7-61 and 7-62, written as the standard writes them."""
    below, above = [], []
    for index in reversed(range(len(positive))):
        poc = positive[index] + delta
        if poc < 0 and keep[len(negative) + index]:
            below.append(poc)
    if delta < 0 and keep[-1]:
        below.append(delta)
    for index in range(len(negative)):
        poc = negative[index] + delta
        if poc < 0 and keep[index]:
            below.append(poc)
    for index in reversed(range(len(negative))):
        poc = negative[index] + delta
        if poc > 0 and keep[index]:
            above.append(poc)
    if delta > 0 and keep[-1]:
        above.append(delta)
    for index in range(len(positive)):
        poc = positive[index] + delta
        if poc > 0 and keep[len(negative) + index]:
            above.append(poc)
    return below, above


def test_sets_mutated_raise_only_peer_error_and_soon() -> None:
    nals = [bytes(nal) for data in corpus("h265") for nal in split_annexb(data)]
    sps = [nal for nal in nals if nal[0] == 0x42]
    sps.append(full_plan().nal())
    assert_only_peer_error(parse_sps, sps, 4000)
    assert_only_peer_error(parse_vps_fps, [nal for nal in nals if nal[0] == 0x40], 2000)
