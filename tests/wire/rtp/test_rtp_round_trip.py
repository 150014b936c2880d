"""The round trip as report blocks tell it, and as they would like us to believe."""

from __future__ import annotations

import pytest

from appliance.wire.rtp.clock import unix_us_to_ntp
from appliance.wire.rtp.round_trip import DEFAULT_US, RoundTrip
from appliance.wire.rtp.rtcp import ReportBlock

SENT_US = 1_800_000_000_000_000


def block(delay_us: int, *, sent_us: int = SENT_US) -> ReportBlock:
    last_report = unix_us_to_ntp(sent_us) >> 16 & 0xFFFFFFFF
    return ReportBlock(1, last_report=last_report, delay=delay_us * 65_536 // 1_000_000)


def test_round_trip_is_what_the_delay_leaves() -> None:
    trip = RoundTrip()
    trip.note(block(500_000), unix_us_to_ntp(SENT_US + 540_000))
    assert trip.us == pytest.approx(40_000, abs=50)


def test_round_trip_of_rfc_3550s_example() -> None:
    """§6.4.1, figure 2: 6.125 s."""
    trip = RoundTrip()
    report = ReportBlock(1, last_report=0xB705_2000, delay=0x0005_4000)
    trip.note(report, 0xB710_8000 << 16)
    assert trip.us == 6_125_000


def test_round_trip_follows_slowly() -> None:
    trip = RoundTrip()
    for passed_us in (40_000, 120_000):
        trip.note(block(0), unix_us_to_ntp(SENT_US + passed_us))
    assert trip.us == pytest.approx(50_000, abs=100)
    assert trip.newest_us == pytest.approx(120_000, abs=50)


def test_round_trip_without_a_report_of_ours_is_a_guess() -> None:
    trip = RoundTrip()
    trip.note(ReportBlock(1), 0xB710_8000 << 16)
    assert (trip.us, trip.newest_us) == (DEFAULT_US, None)


def test_round_trip_below_nothing_is_nothing() -> None:
    trip = RoundTrip()
    trip.note(block(50_000), unix_us_to_ntp(SENT_US + 49_000))
    assert trip.us == 0


@pytest.mark.parametrize("passed_us", [11_000_000, 10**10])
def test_round_trip_that_cannot_be_is_not_believed(passed_us: int) -> None:
    trip = RoundTrip()
    trip.note(block(0), unix_us_to_ntp(SENT_US + passed_us))
    assert trip.newest_us is None
