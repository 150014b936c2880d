from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from appliance.media.clock import Unroller, ticks_to_us
from appliance.media.timeline import (
    MAX_BACK_US,
    MAX_JUMP_US,
    MAX_LAG_US,
    MAX_REORDER_US,
    MAX_TRACKS,
    MIN_STEP_US,
    Placement,
    Timeline,
)

START_US = 1_000_000_000
VIDEO, AUDIO = 1, 2
FRAME_US, SAMPLES_US = 40_000, 23_220
HOUR_US = 3_600_000_000
JUMPS_US = [
    sign * jump_us
    for jump_us in (1_500_000, 5_000_000, 9_900_000, 10_050_000, 60_000_000, HOUR_US, 95 * HOUR_US)
    for sign in (1, -1)
]


@dataclass(slots=True)
class Bench:
    """Places units and checks what must hold for every one of them."""

    timeline: Timeline
    placed: dict[int, list[Placement]] = field(default_factory=dict)

    def place(self, track_id: int, dts_us: int, pts_us: int | None = None) -> Placement:
        placement = self.timeline.place(track_id, dts_us, dts_us if pts_us is None else pts_us)
        assert placement.pts_us >= placement.dts_us
        before = self.placed.setdefault(track_id, [])
        if before:
            assert placement.dts_us >= before[-1].dts_us + MIN_STEP_US
        before.append(placement)
        return placement

    def last_us(self, track_id: int) -> int:
        return self.placed[track_id][-1].dts_us

    def marks(self) -> int:
        return sum(placement.discontinuity for track in self.placed.values() for placement in track)


def fresh() -> Bench:
    return Bench(Timeline(START_US))


def interleaved(duration_us: int, *, skew_us: int = 0) -> Iterator[tuple[int, int]]:
    """(track, content time) in order of arrival; audio arrives skew_us after its video."""
    units = [(at, VIDEO, at) for at in range(0, duration_us, FRAME_US)]
    units += [(at + skew_us, AUDIO, at) for at in range(7, duration_us, SAMPLES_US)]
    return ((track_id, at_us) for _, track_id, at_us in sorted(units))


def shift_us(bench: Bench, track_id: int, content_us: int) -> int:
    return bench.last_us(track_id) - content_us


# -- one track -------------------------------------------------------------------------------------


def test_timeline_begins_at_its_start_and_keeps_distances() -> None:
    bench = fresh()
    for number, source_us in enumerate((777, 40_777, 80_778, 200_000)):
        placement = bench.place(VIDEO, source_us)
        assert placement.dts_us == START_US + source_us - 777
        assert not placement.discontinuity, number
    assert bench.timeline.repairs == 0


def test_timeline_of_stamped_source_changes_nothing() -> None:
    bench = Bench(Timeline(None))
    for track_id, at_us in interleaved(5_000_000):
        placement = bench.place(track_id, 5 * HOUR_US + at_us)
        assert placement == Placement(5 * HOUR_US + at_us, 5 * HOUR_US + at_us, False)
    assert bench.timeline.repairs == 0


def test_timeline_of_stamped_source_may_begin_anywhere() -> None:
    for first_us in (0, 1, 95 * HOUR_US):
        assert Timeline(None).place(VIDEO, first_us, first_us).dts_us == first_us


@pytest.mark.parametrize("gap_us", [200_000, 1_100_000, MAX_JUMP_US])
def test_gap_stays_a_gap(gap_us: int) -> None:
    bench = fresh()
    bench.place(VIDEO, 0)
    assert bench.place(VIDEO, gap_us) == Placement(START_US + gap_us, START_US + gap_us, False)
    assert bench.place(VIDEO, gap_us + FRAME_US).dts_us == START_US + gap_us + FRAME_US
    assert bench.timeline.repairs == 0


@pytest.mark.parametrize(
    "jump_us", [MAX_JUMP_US + 1, 60_000_000, 95 * HOUR_US, -MAX_BACK_US - 1, -HOUR_US]
)
def test_jump_is_bridged_by_one_step_and_marked(jump_us: int) -> None:
    bench = fresh()
    bench.place(VIDEO, 0)
    bench.place(VIDEO, FRAME_US)
    placement = bench.place(VIDEO, FRAME_US + jump_us)
    assert placement == Placement(START_US + 2 * FRAME_US, START_US + 2 * FRAME_US, True)
    assert bench.place(VIDEO, 2 * FRAME_US + jump_us).dts_us == START_US + 3 * FRAME_US
    assert bench.timeline.repairs == 1


def test_jump_after_a_slow_step_is_bridged_by_a_second_at_most() -> None:
    bench = fresh()
    for number in range(6):
        bench.place(VIDEO, number * 5_000_000)
    assert bench.place(VIDEO, HOUR_US).dts_us == START_US + 26_000_000


def test_slow_source_is_not_repaired() -> None:
    bench = fresh()
    for number in range(100):
        assert bench.place(VIDEO, number * 9_000_000).dts_us == START_US + number * 9_000_000
    assert bench.timeline.repairs == 0


def test_repeated_stamps_are_nudged() -> None:
    bench = fresh()
    stamps = [bench.place(VIDEO, at_us).dts_us - START_US for at_us in (0, 0, 0, 40_000, 40_000)]
    assert stamps == [0, 100, 200, 40_000, 40_100]
    assert bench.timeline.repairs == 3


def test_slightly_backward_stamps_are_nudged_and_the_clock_stays() -> None:
    bench = fresh()
    stamps_us = [0, 40_000, 80_000, 40_000, 60_000, 120_000]
    assert [bench.place(VIDEO, at_us).dts_us - START_US for at_us in stamps_us] == [
        *(0, 40_000, 80_000),
        *(80_100, 80_200, 120_000),
    ]
    assert bench.marks() == 0


@pytest.mark.parametrize("stamp_us", [0, 5, -7])
def test_constant_stamps_grow_for_ever(stamp_us: int) -> None:
    bench = fresh()
    for _ in range(30_000):
        bench.place(VIDEO, stamp_us)
    assert bench.last_us(VIDEO) < START_US + 30_000 * MIN_STEP_US + 10 * MAX_BACK_US


def test_wild_single_stamp_leaves_no_trace() -> None:
    for jump_us in JUMPS_US:
        bench = fresh()
        for at_us in range(0, 40_000_000, FRAME_US):
            bench.place(VIDEO, at_us + (jump_us if at_us == 4_000_000 else 0))
        moved_us = shift_us(bench, VIDEO, at_us) - START_US
        if 0 < jump_us <= MAX_JUMP_US:  # passes for a gap, and coming back for a jump
            assert moved_us <= jump_us + 4 * FRAME_US
        else:
            assert moved_us == 0, jump_us


# -- presentation ----------------------------------------------------------------------------------


def test_b_frames_keep_their_presentation_order() -> None:
    bench = fresh()
    order = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8]
    for number, shown in enumerate(order):
        placement = bench.place(VIDEO, number * FRAME_US, (shown + 2) * FRAME_US)
        assert placement.dts_us == START_US + number * FRAME_US
        assert placement.pts_us == START_US + (shown + 2) * FRAME_US


@pytest.mark.parametrize("jump_us", JUMPS_US)
def test_b_frames_keep_their_presentation_order_across_a_jump(jump_us: int) -> None:
    bench = fresh()
    for number in range(600):
        at_us = number * FRAME_US + (jump_us if number >= 300 else 0)
        placement = bench.place(VIDEO, at_us, at_us + (2, 4, 1, 1)[number % 4] * FRAME_US)
        assert placement.pts_us - placement.dts_us == (2, 4, 1, 1)[number % 4] * FRAME_US


def test_nudged_stamps_keep_the_presentation_time() -> None:
    bench = fresh()
    bench.place(VIDEO, 0, 80_000)
    placement = bench.place(VIDEO, 0, 40_000)
    assert placement == Placement(START_US + MIN_STEP_US, START_US + 40_000, False)
    placement = bench.place(VIDEO, 0, 0)
    assert placement.pts_us == placement.dts_us == START_US + 2 * MIN_STEP_US


@pytest.mark.parametrize(
    ("reorder_us", "expected_us"),
    [
        (-40_000, 0),
        (-95 * HOUR_US, 0),
        (MAX_REORDER_US, MAX_REORDER_US),
        (MAX_REORDER_US + 1, MAX_REORDER_US),
        (1 << 70, MAX_REORDER_US),
    ],
)
def test_absurd_presentation_times_are_bounded(reorder_us: int, expected_us: int) -> None:
    placement = fresh().place(VIDEO, 1000, 1000 + reorder_us)
    assert placement.pts_us - placement.dts_us == expected_us


# -- two tracks ------------------------------------------------------------------------------------


def test_tracks_keep_the_source_s_sync() -> None:
    bench = fresh()
    for track_id, at_us in interleaved(10_000_000, skew_us=300_000):
        assert bench.place(track_id, at_us).dts_us == START_US + at_us


def test_second_track_that_began_earlier_keeps_sync() -> None:
    bench = fresh()
    bench.place(VIDEO, 500_000)
    for at_us in range(0, 1_000_000, 20_000):
        assert bench.place(AUDIO, at_us).dts_us == START_US - 500_000 + at_us


@pytest.mark.parametrize("apart_us", [HOUR_US, -HOUR_US, MAX_JUMP_US + 10, -MAX_JUMP_US - 10])
def test_tracks_of_distant_clocks_are_brought_together(apart_us: int) -> None:
    bench = fresh()
    for track_id, at_us in interleaved(10_000_000):
        placement = bench.place(track_id, at_us + (apart_us if track_id == AUDIO else 0))
        assert abs(placement.dts_us - START_US - at_us) <= FRAME_US
    assert bench.timeline.repairs == 0


@pytest.mark.parametrize("jump_us", [-300_000, 300_000, *JUMPS_US])
@pytest.mark.parametrize("skew_us", [-900_000, -300_000, 0, 10_000, 300_000, 900_000])
@pytest.mark.parametrize("first", [VIDEO, AUDIO])
def test_tracks_that_jump_together_stay_in_sync(jump_us: int, skew_us: int, first: int) -> None:
    """The jump lies in the content, so that it arrives skew_us apart on the two tracks."""
    bench = fresh()
    at_jump_us = 10_000_000 + (3 if first == VIDEO else SAMPLES_US)
    for track_id, at_us in interleaved(25_000_000, skew_us=skew_us):
        bench.place(track_id, at_us + (jump_us if at_us >= at_jump_us else 0))
    video_us, audio_us = (24_960_000, 25_000_000 // SAMPLES_US * SAMPLES_US + 7)
    assert shift_us(bench, VIDEO, video_us) == shift_us(bench, AUDIO, audio_us)
    assert bench.marks() == (2 if abs(jump_us) > MAX_JUMP_US or jump_us < -MAX_BACK_US else 0)


@pytest.mark.parametrize("jump_us", JUMPS_US)
@pytest.mark.parametrize("delay_us", [500_000, 3_000_000, 9_000_000])
@pytest.mark.parametrize("first", [VIDEO, AUDIO])
def test_tracks_that_jump_one_after_the_other_end_in_sync(
    jump_us: int, delay_us: int, first: int
) -> None:
    bench = fresh()
    for track_id, at_us in interleaved(40_000_000):
        at_jump_us = 10_000_000 + (delay_us if track_id != first else 0)
        bench.place(track_id, at_us + (jump_us if at_us >= at_jump_us else 0))
    video_us, audio_us = (39_960_000, (40_000_000 - 8) // SAMPLES_US * SAMPLES_US + 7)
    assert shift_us(bench, VIDEO, video_us) == shift_us(bench, AUDIO, audio_us)


@pytest.mark.parametrize("jump_us", JUMPS_US)
def test_wild_stamps_of_one_track_leave_sync_as_it_was(jump_us: int) -> None:
    for count in (1, 2, 5):
        bench = fresh()
        wild = 0
        for track_id, at_us in interleaved(40_000_000):
            is_wild = track_id == VIDEO and at_us >= 10_000_000 and wild < count
            wild += is_wild
            bench.place(track_id, at_us + (jump_us if is_wild else 0))
        video_us, audio_us = (39_960_000, (40_000_000 - 8) // SAMPLES_US * SAMPLES_US + 7)
        assert shift_us(bench, VIDEO, video_us) == START_US
        assert shift_us(bench, AUDIO, audio_us) == START_US


def test_track_that_paused_and_counts_on_from_where_it_was_is_brought_back() -> None:
    bench = fresh()
    for at_us in range(0, 1_000_000, SAMPLES_US):
        bench.place(AUDIO, at_us)
        bench.place(VIDEO, at_us)
    for at_us in range(1_000_000, 60_000_000, FRAME_US):
        bench.place(VIDEO, at_us)
    placement = bench.place(AUDIO, 1_000_000)
    assert placement.discontinuity
    assert placement.dts_us > bench.last_us(VIDEO)


def test_track_that_paused_and_comes_back_in_time_is_left_alone() -> None:
    bench = fresh()
    bench.place(AUDIO, 0)
    for at_us in range(0, 60_000_000, FRAME_US):
        bench.place(VIDEO, at_us)
    assert bench.place(AUDIO, 59_990_000) == Placement(
        START_US + 59_990_000, START_US + 59_990_000, False
    )


def test_track_may_lag_behind_the_others_up_to_the_limit() -> None:
    bench = fresh()
    bench.place(AUDIO, 0)
    for at_us in range(0, MAX_LAG_US + 1, FRAME_US):
        bench.place(VIDEO, at_us)
    assert not bench.place(AUDIO, 20_000).discontinuity


def test_several_jumps_of_both_tracks_keep_sync_exactly() -> None:
    for seed in range(120):
        rng = random.Random(seed)
        bench = Bench(Timeline(rng.choice((START_US, None))))
        units = list(interleaved(40_000_000, skew_us=rng.choice((0, 100_000, 300_000))))
        jumps_at = set(rng.sample(range(200, len(units) - 200), rng.randrange(1, 5)))
        clock_us, last_us = HOUR_US * 100, {}
        for number, (track_id, at_us) in enumerate(units):
            if number in jumps_at:
                clock_us += rng.choice((-300_000, 300_000, *JUMPS_US))
            bench.place(track_id, clock_us + at_us)
            last_us[track_id] = at_us
        shifts = {shift_us(bench, track_id, at_us) for track_id, at_us in last_us.items()}
        assert len(shifts) == 1, seed


# -- sessions --------------------------------------------------------------------------------------


def test_resumed_session_marks_each_track_once_and_stays_above_the_last() -> None:
    bench = Bench(Timeline(START_US, resumed=True, floor_us=START_US - 1))
    for track_id, at_us in ((VIDEO, 300_000), (AUDIO, 0), (AUDIO, 20_000), (VIDEO, 340_000)):
        assert bench.place(track_id, at_us).dts_us >= START_US - 1 + MIN_STEP_US
    for at_us in range(40_000, 600_000, 20_000):
        bench.place(AUDIO, at_us)
    assert [placement.discontinuity for placement in bench.placed[VIDEO]] == [True, False]
    assert bench.marks() == 2
    assert shift_us(bench, AUDIO, 580_000) == shift_us(bench, VIDEO, 340_000)  # in sync again


@pytest.mark.parametrize("behind_us", [0, 1, 5_000_000, HOUR_US])
def test_resumed_stamped_session_behind_the_last_one_is_moved_as_a_whole(behind_us: int) -> None:
    bench = Bench(Timeline(None, resumed=True, floor_us=START_US))
    for track_id, at_us in interleaved(3_000_000):
        placement = bench.place(track_id, START_US - behind_us + at_us)
        assert placement.dts_us == START_US + MIN_STEP_US + at_us


def test_resumed_stamped_session_ahead_keeps_its_stamps() -> None:
    timeline = Timeline(None, resumed=True, floor_us=START_US)
    placement = timeline.place(VIDEO, START_US + 95 * HOUR_US, START_US + 95 * HOUR_US)
    assert placement.dts_us == START_US + 95 * HOUR_US
    assert placement.discontinuity


def test_sessions_one_after_the_other_grow_whatever_their_clocks() -> None:
    rng = random.Random(8)
    newest_us, now_us = 0, START_US
    for number in range(40):
        stamped = rng.random() < 0.3
        bench = Bench(
            Timeline(
                None if stamped else max(now_us, newest_us + 1),
                resumed=number > 0,
                floor_us=newest_us,
            )
        )
        source_us = now_us if stamped else rng.randrange(1 << 40)
        for track_id, at_us in interleaved(2_000_000, skew_us=rng.choice((0, -500_000, 500_000))):
            assert bench.place(track_id, source_us + at_us).dts_us > newest_us
        newest_us = max(bench.last_us(VIDEO), bench.last_us(AUDIO))
        now_us += rng.choice((100_000, 2_000_000, 9_000_000))


def test_track_numbers_without_end_stay_bounded() -> None:
    bench = Bench(Timeline(START_US))
    for number in range(10 * MAX_TRACKS):
        bench.place(number, number * 1000)
    for number in range(10 * MAX_TRACKS):
        bench.place(number, 10_000_000 + number * 1000)  # the forgotten ones grow too


# -- counters that wrap ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bits", "rate_hz"), [(24, 1000), (32, 1000), (32, 90_000), (32, 48_000), (33, 90_000)]
)
def test_wrapping_counters_leave_no_trace(bits: int, rate_hz: int) -> None:
    """Each track has an unroller of its own; both begin two seconds before the wrap."""
    bench = fresh()
    unrollers = {VIDEO: Unroller(bits), AUDIO: Unroller(bits)}
    first_ticks = (1 << bits) - 2 * rate_hz
    for number, (track_id, at_us) in enumerate(interleaved(6_000_000, skew_us=50_000)):
        ticks = first_ticks + at_us * rate_hz // 1_000_000
        pts_ticks = ticks + (2 * FRAME_US if number % 3 else 0) * rate_hz // 1_000_000
        dts_us = ticks_to_us(unrollers[track_id].unroll(ticks), rate_hz)
        pts_us = ticks_to_us(unrollers[track_id].unroll(pts_ticks), rate_hz)
        placement = bench.place(track_id, dts_us, pts_us)
        assert abs(placement.dts_us - START_US - at_us) <= 2 * 1_000_000 / rate_hz + 1
    assert bench.timeline.repairs == 0


@pytest.mark.parametrize(("bits", "rate_hz"), [(24, 1000), (32, 90_000), (33, 90_000)])
def test_counters_that_nobody_unrolled_are_bridged(bits: int, rate_hz: int) -> None:
    bench = fresh()
    first_ticks = (1 << bits) - 2 * rate_hz
    for track_id, at_us in interleaved(6_000_000, skew_us=50_000):
        ticks = (first_ticks + at_us * rate_hz // 1_000_000) % (1 << bits)
        placement = bench.place(track_id, ticks_to_us(ticks, rate_hz))
        assert abs(placement.dts_us - START_US - at_us) <= 2 * FRAME_US
    assert bench.marks() == 2


# -- whatever comes --------------------------------------------------------------------------------


def test_stamps_of_any_kind_give_growing_output() -> None:
    rng = random.Random(9)
    for _ in range(60):
        bench = Bench(
            Timeline(
                rng.choice((None, 0, START_US)),
                resumed=rng.random() < 0.5,
                floor_us=rng.choice((0, START_US - 1)),
            )
        )
        stamp_us = rng.randrange(-(1 << 34), 1 << 40)
        for _ in range(400):
            kind = rng.randrange(6)
            if kind < 3:
                stamp_us += rng.randrange(50_000)
            elif kind == 3:
                stamp_us += rng.choice((-1, 1)) * rng.randrange(1 << rng.randrange(1, 45))
            elif kind == 4:
                stamp_us = rng.randrange(-(1 << 63), 1 << 63)
            bench.place(rng.randrange(3), stamp_us, stamp_us + rng.randrange(-(1 << 34), 1 << 34))
        for track_id, track in bench.placed.items():
            assert all(placement.pts_us - placement.dts_us <= MAX_REORDER_US for placement in track)
            assert track[0].dts_us >= 0, track_id


def test_output_never_runs_ahead_of_what_its_steps_allow() -> None:
    """However wild the stamps, one unit moves the stream by no more than MAX_JUMP_US."""
    rng = random.Random(10)
    bench = fresh()
    newest_us = START_US
    for _ in range(3000):
        placement = bench.place(rng.randrange(2), rng.randrange(-(1 << 50), 1 << 50))
        assert placement.dts_us <= newest_us + MAX_JUMP_US
        newest_us = max(newest_us, placement.dts_us)
