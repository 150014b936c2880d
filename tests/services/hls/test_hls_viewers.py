"""The table of viewers: who is in it, and that nothing makes it grow."""

from __future__ import annotations

import logging

import pytest
from hls_site import HeldClock

from appliance.hub.sessions import Sessions
from appliance.services.hls.viewers import IDLE_US, Asker, Viewers


def table(**limits: int) -> tuple[Viewers, Sessions, HeldClock]:
    clock = HeldClock()
    sessions = Sessions(clock)
    return Viewers(sessions, clock, **limits), sessions, clock


def asker(number: int) -> Asker:
    return Asker(number, "192.0.2.1", f"agent {number}", "/live/camera")


def test_viewer_is_a_session_of_kind_hls_play() -> None:
    viewers, sessions, _ = table()
    viewer = viewers.see("live/camera", asker(1))
    (session,) = sessions.active.values()
    assert session is viewer.session
    assert (session.kind, session.stream, session.peer_ip) == (
        "hls-play",
        "live/camera",
        "192.0.2.1",
    )
    assert (session.user_agent, session.url) == ("agent 1", "/live/camera")
    assert viewers.see("live/camera", asker(1)) is viewer
    viewer.count(1000)
    assert session.sent.total_bytes == 1000


def test_viewer_of_two_streams_is_two_viewers() -> None:
    viewers, _, _ = table()
    viewers.see("a", asker(1))
    viewers.see("b", asker(1))
    assert (viewers.count("a"), viewers.count("b"), len(viewers)) == (1, 1, 2)


def test_viewer_who_stays_away_is_forgotten() -> None:
    viewers, sessions, clock = table()
    viewers.see("a", asker(1))
    clock.advance(IDLE_US // 2)
    viewers.see("a", asker(2))
    clock.advance(IDLE_US // 2)
    viewers.sweep()
    assert viewers.count("a") == len(sessions.active) == 1
    clock.advance(IDLE_US)
    viewers.sweep()
    assert len(viewers) == len(sessions.active) == 0


def test_flood_of_one_shot_requests_leaves_the_newest_rows_and_no_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    viewers, sessions, _ = table()
    with caplog.at_level(logging.INFO):
        for number in range(20_000):
            viewers.see(f"live/{number % 10}", asker(number))
    assert len(viewers) <= 1024
    assert len(sessions.active) == len(viewers) <= sessions.max_sessions * 3 // 4
    assert max(viewers.count(f"live/{n}") for n in range(10)) <= 256
    newest = viewers.see("live/9", asker(19_999))
    assert newest.session is not None
    assert not caplog.records


def test_flood_of_viewers_who_ask_a_few_times_leaves_no_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    viewers, _, clock = table()
    with caplog.at_level(logging.INFO):
        for number in range(2_000):
            for _ in range(5):
                viewers.see("live/camera", asker(number)).count(100)
        clock.advance(IDLE_US)
        viewers.sweep()
    assert not len(viewers)
    assert not caplog.records


def test_flood_on_one_stream_leaves_other_streams_their_viewers() -> None:
    viewers, _, _ = table()
    for number in range(100):
        viewers.see("quiet", asker(number))
    for number in range(20_000):
        viewers.see("loud", asker(number))
    assert (viewers.count("quiet"), viewers.count("loud")) == (100, 256)


def test_viewer_is_served_uncounted_when_the_sessions_are_full() -> None:
    viewers, sessions, _ = table()
    for _ in range(sessions.max_sessions):
        sessions.open("rtmp", "rtmp-play", "192.0.2.9")
    viewer = viewers.see("a", asker(1))
    assert viewer.session is None
    viewer.count(10)


def test_kicked_viewer_stays_out_while_it_keeps_asking() -> None:
    viewers, sessions, clock = table()
    viewer = viewers.see("a", asker(1))
    assert viewer.session is not None and viewer.session.kick is not None
    viewer.session.kick()
    assert not sessions.active
    clock.advance(IDLE_US - 1)
    viewers.sweep()
    assert viewers.see("a", asker(1)).kicked
    clock.advance(1)
    viewers.sweep()
    assert not viewers.see("a", asker(1)).kicked


def test_viewer_who_watched_leaves_one_line(caplog: pytest.LogCaptureFixture) -> None:
    viewers, _, clock = table()
    for _ in range(5):
        viewers.see("live/camera", asker(1)).count(100)
        clock.advance(2_000_000)
    with caplog.at_level(logging.INFO):
        viewers.close()
    (record,) = caplog.records
    assert "hls#1 live/camera" in record.getMessage()
    assert "500 bytes" in record.getMessage()
