"""A sound device's clock over a day, on simulated time, and what the resampler makes of it."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

import pytest

from appliance.capture.microphone.alsa import plausible_stamp_us
from appliance.capture.microphone.drift import MAX_PPM, OUTLIER_WINDOWS, SampleClock
from appliance.capture.voice import BEND_S, HARD_S, MAX_BEND

RATE_HZ = 48_000
HOUR_US = 3_600_000_000
LIMIT_US = 40_000  # what viewers notice


@dataclass
class Bender:
    """aresample's rule, as voice.py sets it: bend towards the stamps, cut at a gross error.

    test_microphone_voice.py holds it against the real one.
    """

    end_us: float = -1.0

    def feed(self, length_us: float, heard_us: float) -> None:
        error_us = heard_us - self.end_us
        if self.end_us < 0 or abs(error_us) > HARD_S * 1e6:
            self.end_us, error_us = heard_us, 0.0
        bend = min(max(error_us / 1e6, -MAX_BEND), MAX_BEND) / BEND_S
        self.end_us += length_us * (1 + bend)


@dataclass
class Device:
    """A crystal that is `ppm` fast, wanders with temperature, and a thread that wakes late."""

    ppm: float
    seed: int = 1
    chunk: int = 4096
    count: int = 0
    now_us: float = 60e6
    random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    @property
    def true_ppm(self) -> float:
        return self.ppm + 10 * math.sin(2 * math.pi * self.now_us / HOUR_US)

    def run(self) -> None:
        self.now_us += self.chunk * 1e6 / (RATE_HZ * (1 + self.true_ppm / 1e6))
        self.count += self.chunk

    def late_us(self) -> float:
        """Mostly 2 ms; now and then a stall."""
        stall_us = self.random.uniform(0, 300_000) if self.random.random() < 0.001 else 0.0
        return self.random.expovariate(1 / 2000) + stall_us


@pytest.mark.parametrize("ppm", [200, -200])
def test_sound_of_a_drifting_device_stays_with_the_picture_for_a_day(ppm: int) -> None:
    device, clock, bender = Device(ppm), SampleClock(RATE_HZ), Bender()
    # A board without a battery: wall time is time since boot, until it is set
    wall_us, set_at_us = 0.0, 12 * HOUR_US
    nominal_us = device.chunk * 1e6 / RATE_HZ
    worst_us, overruns = 0.0, 0
    while device.now_us < 24 * HOUR_US:
        before_us = device.now_us
        device.run()
        wall_us = device.now_us + (1.8e15 if device.now_us > set_at_us else 0.0)
        if device.random.random() < 1e-4:  # an overrun, or a suspend: told, as ALSA does
            overruns += 1
            lost_us = device.random.uniform(1e4, 5e6)
            device.now_us, before_us = device.now_us + lost_us, before_us + lost_us
            clock.restart(device.count, round(device.now_us + device.random.expovariate(1 / 2000)))
            bender = Bender()
        else:
            # A driver that ignores which clock it was told to use
            woken_us = round(device.now_us + device.late_us())
            clock.observe(device.count, plausible_stamp_us(round(wall_us), woken_us))
        heard_us = clock.time_us(device.count - device.chunk)
        bender.feed(nominal_us, heard_us)
        skew_us = bender.end_us - device.now_us
        worst_us = max(worst_us, abs(skew_us))
    assert overruns > 50
    assert worst_us < LIMIT_US
    assert abs(clock.drift_ppm - device.true_ppm) < 20


def test_clock_follows_the_rate_within_a_minute() -> None:
    device, clock = Device(150), SampleClock(RATE_HZ)
    while device.now_us < 120e6:
        device.run()
        clock.observe(device.count, round(device.now_us + device.late_us()))
    assert abs(clock.drift_ppm - device.true_ppm) < 20
    assert clock.restarts == 0


def test_clock_is_not_moved_by_late_observations() -> None:
    device, clock = Device(0, chunk=960), SampleClock(RATE_HZ)
    while device.now_us < 120e6:
        device.run()
        clock.observe(device.count, round(device.now_us))
    before_us = clock.time_us(device.count)
    for _ in range(25):  # half a second in which every look was late
        device.run()
        clock.observe(device.count, round(device.now_us + 200_000))
    for _ in range(50):
        device.run()
        clock.observe(device.count, round(device.now_us))
    assert clock.restarts == 0
    assert abs(clock.time_us(device.count) - device.now_us) < 1000
    assert abs(before_us - (device.now_us - 75 * 20_000)) < 1000


def test_clock_believes_the_earliest_of_many_late_observations() -> None:
    device, clock, worst_us = Device(120, chunk=960), SampleClock(RATE_HZ), 0.0
    while device.now_us < 240e6:
        device.run()
        clock.observe(device.count, round(device.now_us + device.random.expovariate(1 / 15_000)))
        if device.now_us > 120e6:
            worst_us = max(worst_us, abs(clock.time_us(device.count) - device.now_us))
    assert worst_us < 3000  # of looks that are 15 ms late on average
    assert abs(clock.drift_ppm - device.true_ppm) < 20


@pytest.mark.parametrize("lost_us", [50_000, 400_000, -60_000])
def test_clock_notices_an_untold_gap_within_seconds(lost_us: int) -> None:
    device, clock = Device(100), SampleClock(RATE_HZ)
    while device.now_us < 120e6:
        device.run()
        clock.observe(device.count, round(device.now_us + device.late_us()))
    device.now_us += lost_us
    since_us = device.now_us
    while abs(clock.time_us(device.count) - device.now_us) > LIMIT_US / 2:
        device.run()
        clock.observe(device.count, round(device.now_us + device.late_us()))
    assert device.now_us - since_us < 2_500_000
    assert clock.restarts == 1
    assert abs(clock.drift_ppm - device.true_ppm) < 20  # the crystal is the same


def test_clock_keeps_the_rate_over_a_told_gap() -> None:
    device, clock = Device(-180), SampleClock(RATE_HZ)
    while device.now_us < 120e6:
        device.run()
        clock.observe(device.count, round(device.now_us))
    known_ppm = clock.drift_ppm
    clock.restart(0, 10**12)  # another counting, another time
    assert clock.drift_ppm == known_ppm
    assert clock.time_us(0) == 10**12


@pytest.mark.parametrize("seed", range(8))
def test_clock_survives_nonsense(seed: int) -> None:
    source, clock = random.Random(seed), SampleClock(RATE_HZ)
    count = 0
    for _ in range(2000):
        count += source.choice((0, 1, 960, 48_000, 10**9))
        clock.observe(count, source.choice((0, 1, source.randrange(10**13), count * 21)))
        assert math.isfinite(clock.time_us(count))
        assert abs(clock.drift_ppm) <= MAX_PPM + 1e-6
    # and is of use again, once what it hears makes sense
    device = Device(50)
    for _ in range(1000):
        device.run()
        clock.observe(count + device.count, round(10**13 + device.now_us))
    assert clock.restarts <= 2000 / OUTLIER_WINDOWS + 1
    assert abs(clock.time_us(count + device.count) - 10**13 - device.now_us) < LIMIT_US
