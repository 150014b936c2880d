"""Fewer pictures of a camera, evenly, whatever its clock does."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from appliance.capture.pipeline.pace import Pace, RateMeter

SECOND_US = 1_000_000


def taken_us(pace: Pace, times_us: list[int]) -> list[int]:
    return [time_us for time_us in times_us if pace.is_due(time_us)]


def camera_us(fps: float, seconds: float, jitter_us: int = 0, seed: int = 1) -> list[int]:
    rng = random.Random(seed)
    return [
        int(n * SECOND_US / fps) + rng.randint(-jitter_us, jitter_us) + 5_000_000
        for n in range(int(seconds * fps))
    ]


@pytest.mark.parametrize(
    ("camera_fps", "fps"), [(30, 20), (30, 15), (30, 10), (30, 7), (60, 25), (25, 10), (120, 30)]
)
def test_pace_thins_to_the_wanted_rate_evenly(camera_fps: int, fps: int) -> None:
    taken = taken_us(Pace(fps), camera_us(camera_fps, 20, jitter_us=2_000))
    assert len(taken) == pytest.approx(20 * fps, rel=0.02)
    steps = [after - before for before, after in pairwise(taken)][2:]
    longest = SECOND_US / fps + SECOND_US / camera_fps + 5_000
    assert max(steps) <= longest


@pytest.mark.parametrize("camera_fps", [29.97, 30, 30.03, 15, 5])
def test_pace_takes_everything_of_a_camera_that_is_not_faster(camera_fps: float) -> None:
    times_us = camera_us(camera_fps, 120, jitter_us=8_000 if camera_fps > 20 else 0)
    assert taken_us(Pace(30), times_us) == times_us


def test_pace_follows_a_new_rate_at_once() -> None:
    pace = Pace(30)
    times_us = camera_us(30, 10)
    first = taken_us(pace, times_us[:150])
    pace.set_fps(10)
    second = taken_us(pace, times_us[150:])
    assert len(first) == 150
    assert 49 <= len(second) <= 52


def test_pace_after_a_gap_goes_on_at_its_rate_and_makes_up_for_nothing() -> None:
    pace = Pace(10)
    times_us = camera_us(30, 4)
    later_us = [time_us + 60 * SECOND_US for time_us in times_us]
    before = taken_us(pace, times_us)
    after = taken_us(pace, later_us)
    assert abs(len(after) - len(before)) <= 1


def test_pace_asked_twice_answers_the_same() -> None:
    pace = Pace(10)
    for time_us in camera_us(30, 5):
        assert pace.is_due(time_us) is pace.is_due(time_us)


def test_rate_meter_tells_the_last_seconds() -> None:
    meter = RateMeter()
    assert meter.fps(0) == 0
    for time_us in camera_us(25, 10):
        meter.note(time_us)
    assert meter.fps(15_000_000) == pytest.approx(25, abs=0.1)
    assert meter.fps(60_000_000) == 0
