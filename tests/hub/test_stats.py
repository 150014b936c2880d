from __future__ import annotations

import logging

import pytest
from media_fixture import HeldClock

from appliance.errors import LimitExceeded
from appliance.hub.sessions import Sessions
from appliance.hub.stats import Faults, RateMeter


def test_rate_meter_fed_evenly_gives_the_rate_and_forgets() -> None:
    meter = RateMeter()
    for second in range(100):
        meter.add(250_000, second * 1_000_000)
    assert meter.rate_bps(100_000_000) == pytest.approx(2_000_000, rel=0.05)
    assert meter.total_bytes == 25_000_000
    assert meter.rate_bps(200_000_000) == 0


def test_faults_of_one_kind_are_counted_all_and_told_once_a_second(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = HeldClock()
    faults = Faults(clock)
    with caplog.at_level(logging.INFO):
        for _ in range(1000):
            faults.count("http", "bad request", "evil\n\x1b[2J" + "x" * 1000)
            clock.advance(2_000)
    assert faults.counts["http", "bad request"] == 1000
    assert len(caplog.records) == 2
    assert "and 499 more" in caplog.records[1].getMessage()
    assert all("\n" not in record.getMessage() for record in caplog.records)
    assert all(len(record.getMessage()) < 500 for record in caplog.records)


def test_sessions_have_one_id_in_every_line_and_a_bounded_table(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sessions = Sessions(HeldClock(), max_sessions=2)
    with (
        caplog.at_level(logging.INFO),
        sessions.session("rtmp", "rtmp-play", "10.0.0.1") as first,
        sessions.session("hls", "hls-play", "10.0.0.2"),
    ):
        first.stream = "live/cam"
        first.log.info("plays")
        assert sessions.watching("live/cam") == 1
        with pytest.raises(LimitExceeded):
            sessions.open("rtmp", "rtmp-play", "10.0.0.3")
    assert caplog.records[0].getMessage() == "rtmp#1 live/cam plays"
    assert not sessions.active
    assert sessions.totals == {"rtmp-play": 1, "hls-play": 1}
