"""Decoding times found again from presentation times alone."""

from __future__ import annotations

import pytest
from framehash import clip_units

from appliance.media.h264 import H264Config
from appliance.media.h265 import H265Config
from appliance.wire.rtp.dts import MAX_DEPTH, DtsFinder

FRAME_US = 40_000
ONE_B = [0, 2, 1, 4, 3, 6, 5, 8, 7]
PYRAMID = [0, 4, 2, 1, 3, 8, 6, 5, 7, 12, 10, 9, 11]


def place(finder: DtsFinder, pts_us: list[int]) -> list[int]:
    """Their decoding times, which grow."""
    dts_us = [finder.dts_us(pts) for pts in pts_us]
    assert all(one < other for one, other in zip(dts_us, dts_us[1:], strict=False))
    return dts_us


def frames(numbers: list[int]) -> list[int]:
    return [number * FRAME_US for number in numbers]


@pytest.mark.parametrize("kind", ["h264", "h264-b", "h265", "h265-b"])
def test_dts_of_a_real_stream_is_the_encoders_but_for_a_constant(kind: str) -> None:
    tracks, units = clip_units(kind)
    config = tracks[0].config
    assert isinstance(config, H264Config | H265Config)
    finder = DtsFinder(config.max_reorder_frames)
    found = place(finder, [unit.pts_us for unit in units])
    assert all(dts_us <= unit.pts_us for dts_us, unit in zip(found, units, strict=True))
    differences = [unit.dts_us - dts_us for dts_us, unit in zip(found, units, strict=True)]
    assert max(differences) - min(differences) <= 1


@pytest.mark.parametrize(("order", "depth"), [(list(range(9)), 0), (ONE_B, 1), (PYRAMID, 2)])
def test_dts_with_known_depth_lags_by_just_that(order: list[int], depth: int) -> None:
    found = place(DtsFinder(depth, FRAME_US), frames(order))
    assert found == frames([number - depth for number in range(len(order))])


@pytest.mark.parametrize("told", [None, 0])
@pytest.mark.parametrize(("order", "depth"), [(ONE_B, 1), (PYRAMID, 2)])
def test_dts_with_unknown_or_false_depth_learns_it(
    told: int | None, order: list[int], depth: int
) -> None:
    finder = DtsFinder(told, FRAME_US)
    start = max(order) + 1
    place(finder, frames(order))
    assert finder.depth_frames == depth
    later = frames([number + start for number in order])
    found = place(finder, later)
    assert all(dts_us <= pts_us for dts_us, pts_us in zip(found, later, strict=True))


def test_dts_without_reordering_is_pts_however_uneven() -> None:
    pts_us = [0, 10, 40_000, 90_000, 91_000, 5_000_000]
    assert place(DtsFinder(None), pts_us) == pts_us


def test_dts_of_repeated_stamps_still_grows_and_learns_nothing() -> None:
    finder = DtsFinder(None)
    assert place(finder, [100, 100, 100, 40_000]) == [100, 101, 102, 40_000]
    assert finder.depth_frames == 0


@pytest.mark.parametrize("jump_us", [-3_600_000_000, -2_000_000, 60_000_000])
def test_dts_after_a_jump_begins_anew(jump_us: int) -> None:
    finder = DtsFinder(2, FRAME_US)
    place(finder, frames(PYRAMID))
    later = [pts_us + 13 * FRAME_US + jump_us for pts_us in frames(PYRAMID)]
    found = place(finder, later)
    assert found == [13 * FRAME_US + jump_us + (n - 2) * FRAME_US for n in range(len(later))]


def test_dts_depth_from_a_small_step_back_is_given_up_again() -> None:
    finder = DtsFinder(None, FRAME_US)
    place(finder, frames(list(range(100))) + frames(list(range(95, 120))))
    assert 0 < finder.depth_frames <= MAX_DEPTH
    place(finder, frames(list(range(200, 600))))
    assert finder.depth_frames == 0


def test_dts_goes_on_growing_when_parameter_sets_change() -> None:
    finder = DtsFinder(2, FRAME_US)
    open_gop = [13, 18, 15, 14, 16]
    before = place(finder, frames(PYRAMID))
    finder.describe(2, FRAME_US)
    assert place(finder, frames(open_gop)) == frames([11, 12, 13, 14, 15])
    assert before[-1] == 10 * FRAME_US


def test_dts_of_pictures_in_reverse_stays_bounded() -> None:
    finder = DtsFinder(None, FRAME_US)
    for pts_us in frames(list(range(5000, 0, -1))):
        finder.dts_us(pts_us)
    assert finder.depth_frames <= MAX_DEPTH
    assert len(finder._seen_us) <= MAX_DEPTH + 1
