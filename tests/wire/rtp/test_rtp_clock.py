"""Timestamps without end, and sender reports that tell the truth, or not."""

from __future__ import annotations

import pytest

from appliance.wire.rtp.clock import (
    NTP_TO_UNIX_S,
    SenderClock,
    StampClock,
    ntp_to_unix_us,
    unix_us_to_ntp,
)
from appliance.wire.rtp.rtcp import SenderReport

NOW_US = 1_790_000_000_000_000


def report(timestamp: int, unix_us: int) -> SenderReport:
    return SenderReport(1, unix_us_to_ntp(unix_us), timestamp & 0xFFFFFFFF, 0, 0)


def clocks(newest: int, rate_hz: int = 90_000) -> tuple[StampClock, SenderClock]:
    stamps = StampClock(rate_hz)
    stamps.unroll(newest)
    return stamps, SenderClock(stamps)


def test_stamps_unroll_across_wraps_without_drift() -> None:
    stamps = StampClock(90_000)
    frames = range(0, 300_000)
    step = 90_000 * 1001 // 30_000
    first = 0xFFFF0000
    for frame in (*frames[:10], *frames[10::500]):
        stamp = stamps.unroll((first + frame * step) & 0xFFFFFFFF)
        assert stamp == first + frame * step
    assert stamps.us(first + 90_000 * 3600) - stamps.us(first) == 3_600_000_000


def test_nearest_looks_both_ways_and_moves_nothing() -> None:
    stamps = StampClock(90_000)
    assert stamps.nearest(5) is None
    stamps.unroll(10)
    assert stamps.nearest(0xFFFFFFFF) == -1
    assert stamps.nearest(15) == 15
    assert stamps.newest == 10


def test_ntp_and_unix_time_convert_both_ways() -> None:
    assert ntp_to_unix_us(NTP_TO_UNIX_S << 32) == 0
    assert abs(ntp_to_unix_us(unix_us_to_ntp(NOW_US)) - NOW_US) <= 1
    assert unix_us_to_ntp(-NTP_TO_UNIX_S * 1_000_000) == 0
    assert 0 <= unix_us_to_ntp(4_000_000_000_000_000) < 1 << 64


def test_report_gives_the_wall_clock_of_stamps_before_and_after_it() -> None:
    _, sender = clocks(90_000)
    assert sender.wall_us(0) is None
    assert sender.note(report(90_000, NOW_US))
    assert sender.wall_us(90_000) == pytest.approx(NOW_US, abs=1)
    assert sender.wall_us(0) == pytest.approx(NOW_US - 1_000_000, abs=1)


def test_report_across_the_wrap_is_understood() -> None:
    stamps, sender = clocks(0xFFFFFFF0)
    assert sender.note(report(0x10, NOW_US))
    assert sender.wall_us(stamps.unroll(0x10)) == pytest.approx(NOW_US, abs=1)


def test_drift_is_followed() -> None:
    stamps, sender = clocks(0)
    for second in range(100):
        stamps.unroll(second * 90_000)
        assert sender.note(report(second * 90_000, NOW_US + second * 1_000_500))
    assert sender.wall_us(99 * 90_000) == pytest.approx(NOW_US + 99 * 1_000_500, abs=1)


@pytest.mark.parametrize("unix_us", [-NTP_TO_UNIX_S * 1_000_000, 0, 5_000_000, 10**9])
def test_camera_whose_clock_was_never_set_tells_no_wall_clock(unix_us: int) -> None:
    _, sender = clocks(90_000)
    sender.note(report(90_000, unix_us))
    assert sender.wall_us(90_000) is None


def test_report_far_from_the_packets_is_not_believed() -> None:
    _, sender = clocks(90_000)
    assert not sender.note(report(90_000 * 60, NOW_US))
    assert sender.offset_us is None


def test_report_before_any_packet_is_not_believed() -> None:
    assert not SenderClock(StampClock(90_000)).note(report(0, NOW_US))


def test_step_of_the_senders_clock_is_believed_when_confirmed() -> None:
    stamps, sender = clocks(0)
    sender.note(report(0, 5_000_000))
    stamps.unroll(90_000)
    assert not sender.note(report(90_000, NOW_US))
    assert sender.wall_us(90_000) is None
    stamps.unroll(180_000)
    assert sender.note(report(180_000, NOW_US + 1_000_000))
    assert sender.wall_us(180_000) == pytest.approx(NOW_US + 1_000_000, abs=1)


def test_one_wild_report_changes_nothing() -> None:
    stamps, sender = clocks(0)
    sender.note(report(0, NOW_US))
    for second in range(1, 10):
        stamps.unroll(second * 90_000)
        wild_us = 7_000_000 if second % 2 else 0
        sender.note(report(second * 90_000, NOW_US + second * 1_000_000 + wild_us))
    assert sender.wall_us(0) == pytest.approx(NOW_US, abs=1)


def test_reports_of_another_clock_rate_are_given_up() -> None:
    stamps, sender = clocks(0, 8000)
    believed = []
    for number in range(20):
        stamps.unroll(number * 8000 * 5)
        said = report(number * 8000 * 5 * 10 // 11, NOW_US + number * 5_000_000)
        believed.append(sender.note(said))
    assert believed == [True] + [False] * 19
    assert sender.wall_us(0) is None
