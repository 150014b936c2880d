from __future__ import annotations

import random

import pytest

from appliance.media.clock import Unroller, ticks_to_us, us_to_ticks

RATES_HZ = (90_000, 48_000, 44_100, 8_000, 1_000, 27_000_000, 30_000, 1_000_000)


@pytest.mark.parametrize("bits", [16, 24, 31, 32, 33])
def test_unroller_crosses_every_wrap(bits: int) -> None:
    unroller = Unroller(bits)
    step = (1 << bits) // 11
    start = (1 << bits) - 3 * step
    for number in range(100):
        assert unroller.unroll((start + number * step) % (1 << bits)) == start + number * step


@pytest.mark.parametrize("bits", [16, 24, 32, 33])
def test_unroller_follows_reordering_across_a_wrap(bits: int) -> None:
    rng = random.Random(bits)
    unroller = Unroller(bits)
    base = (1 << bits) - 5_000
    assert unroller.unroll(base) == base
    for number in range(2_000):
        stamp = base + number * 10 + rng.choice((0, -400, 300))
        assert unroller.unroll(stamp % (1 << bits)) == stamp


def test_unroller_steps_back_below_its_first_value() -> None:
    unroller = Unroller(32)
    assert unroller.unroll(5) == 5
    assert unroller.unroll(0xFFFF_FFF0) == -16
    assert unroller.unroll(0x10) == 16


def test_unroller_first_value_stays_as_it_is() -> None:
    assert Unroller(33).unroll((1 << 33) - 1) == (1 << 33) - 1
    assert Unroller(32).unroll((7 << 32) + 9) == 9  # only the low bits count


def test_unroller_takes_half_the_range_as_a_step_back() -> None:
    unroller = Unroller(32)
    unroller.unroll(1 << 31)
    assert unroller.unroll((1 << 32) - 1) == (1 << 32) - 1
    assert unroller.unroll((1 << 31) - 1) == (1 << 31) - 1


def test_ticks_to_us_rounds_half_up() -> None:
    assert ticks_to_us(1, 90_000) == 11
    assert ticks_to_us(3, 90_000) == 33
    assert ticks_to_us(1, 2_000_000) == 1  # 0.5 µs
    assert ticks_to_us(-1, 2_000_000) == 0  # -0.5 µs
    assert ticks_to_us(1 << 33, 90_000) == 95_443_717_689
    assert us_to_ticks(500_000, 1) == 1
    assert us_to_ticks(-500_000, 1) == 0
    assert us_to_ticks(499_999, 1) == 0


@pytest.mark.parametrize("rate_hz", [rate_hz for rate_hz in RATES_HZ if rate_hz <= 1_000_000])
def test_ticks_survive_the_way_through_microseconds(rate_hz: int) -> None:
    rng = random.Random(rate_hz)
    for _ in range(2_000):
        ticks = rng.randrange(-(1 << 40), 1 << 40)
        assert us_to_ticks(ticks_to_us(ticks, rate_hz), rate_hz) == ticks


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_conversions_grow_with_their_argument_and_never_drift(rate_hz: int) -> None:
    stamps_us = [ticks_to_us(number * 1024, rate_hz) for number in range(5_000)]
    assert stamps_us == sorted(stamps_us)
    for number, stamp_us in enumerate(stamps_us):
        assert abs(stamp_us * rate_hz - number * 1024 * 1_000_000) <= rate_hz / 2
