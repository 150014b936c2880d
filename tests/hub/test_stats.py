from __future__ import annotations

import logging

import pytest
from media_fixture import HeldClock

from appliance.errors import LimitExceeded
from appliance.hub.sessions import SHOWN_CHARS, TOLD_US, Sessions
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
    first = sessions.open("rtmp", "rtmp-play", "10.0.0.1", stream="live/cam")
    second = sessions.open("hls", "hls-play", "10.0.0.2")
    with caplog.at_level(logging.INFO):
        first.log.info("plays")
    assert sessions.watching("live/cam") == 1
    with pytest.raises(LimitExceeded):
        sessions.open("rtmp", "rtmp-play", "10.0.0.3")
    sessions.close(first)
    sessions.close(second)
    assert caplog.records[0].getMessage() == "rtmp#1 live/cam plays"
    assert not sessions.active
    assert sessions.totals == {"rtmp-play": 1, "hls-play": 1}


def test_sessions_tell_of_publishers_that_stay_and_of_few_that_come_and_go(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    clock = HeldClock()
    sessions = Sessions(clock)
    for stays_us in (*[1000] * 9, TOLD_US):
        session = sessions.open("rtsp", "rtsp-publish", "10.0.0.1", stream="live/cam")
        sessions.tell_publishing(session)
        clock.now_us += stays_us
        sessions.tell_published(session, "gone")
        sessions.close(session)
    told = [line.partition(" live/cam ")[2] for line in caplog.messages]
    lines = ["publishes from 10.0.0.1", "ended after 0.0 s, 0 bytes: gone"] * 3
    assert told == [*lines, "ended after 5.0 s, 0 bytes: gone"]


def test_session_keeps_only_the_beginning_of_what_a_peer_says_of_itself() -> None:
    session = Sessions().open("hls", "hls-play", "10.0.0.1", user_agent="a" * 9999, page_url="b")
    assert (session.user_agent, session.page_url) == ("a" * SHOWN_CHARS, "b")


def test_session_of_a_viewer_is_told_at_its_end_unless_it_was_but_a_look(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    session = Sessions(HeldClock()).open("flv", "flv-play", "10.0.0.1", stream="live/cam")
    session.count_sent(900, 1, session.since_us)
    session.count_sent(1000, 2, session.since_us)
    session.tell_watched("gone", session.since_us + TOLD_US - 1)
    assert not caplog.records
    session.tell_watched("gone", session.since_us + TOLD_US)
    assert caplog.messages == ["flv#1 live/cam gone: 1000 bytes, 2 units skipped"]
