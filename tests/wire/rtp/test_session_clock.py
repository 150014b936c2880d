"""Tracks of one sender brought together by its reports."""

from __future__ import annotations

import pytest

from appliance.wire.rtp.clock import unix_us_to_ntp
from appliance.wire.rtp.rtcp import SenderReport
from appliance.wire.rtp.session_clock import SessionClock, TrackClock

NOW_US = 1_790_000_000_000_000
ARRIVAL_US = 50_000_000
AUDIO_BASE = 777_000


def session(audio_delay_us: int) -> tuple[SessionClock, TrackClock, TrackClock]:
    """Video and audio of the same moment; audio arrives later by so much."""
    clock = SessionClock()
    video, audio = clock.track(90_000), clock.track(8000)
    assert video.us(video.stamps.unroll(0), ARRIVAL_US) == ARRIVAL_US
    arrival_us = ARRIVAL_US + audio_delay_us
    assert audio.us(audio.stamps.unroll(AUDIO_BASE), arrival_us) == arrival_us
    return clock, video, audio


def report(timestamp: int, unix_us: int) -> SenderReport:
    return SenderReport(1, unix_us_to_ntp(unix_us), timestamp, 0, 0)


@pytest.mark.parametrize("epoch_us", [NOW_US, 1_000_000])
def test_reports_bring_the_second_track_to_the_first(epoch_us: int) -> None:
    _, video, audio = session(audio_delay_us=400_000)
    audio.note(report(AUDIO_BASE, epoch_us))
    assert audio.shifts == 0
    video.note(report(0, epoch_us))
    audio.note(report(AUDIO_BASE + 8000, epoch_us + 1_000_000))
    one_us, other_us = video.us(90_000, 0), audio.us(AUDIO_BASE + 8000, 0)
    assert abs(one_us - other_us) <= 1
    assert video.shifts + audio.shifts == 1


def test_small_differences_move_nothing() -> None:
    _, video, audio = session(audio_delay_us=10_000)
    video.note(report(0, NOW_US))
    audio.note(report(AUDIO_BASE, NOW_US))
    assert audio.us(AUDIO_BASE, 0) == ARRIVAL_US + 10_000


def test_tracks_with_clocks_of_their_own_stay_where_they_are() -> None:
    _, video, audio = session(audio_delay_us=100_000)
    video.note(report(0, NOW_US))
    audio.note(report(AUDIO_BASE, NOW_US - 30_000_000))
    assert audio.us(AUDIO_BASE, 0) == ARRIVAL_US + 100_000
    assert audio.shifts == 0


@pytest.mark.parametrize("late_us", [600_000, 12_000])
def test_report_before_the_first_packet_counts_once_that_comes(late_us: int) -> None:
    """To the microsecond, as nothing was given yet."""
    clock = SessionClock()
    video, audio = clock.track(90_000), clock.track(8000)
    video.note(report(0, NOW_US))
    audio.note(report(AUDIO_BASE, NOW_US))
    video.us(video.stamps.unroll(0), ARRIVAL_US)
    audio_us = audio.us(audio.stamps.unroll(AUDIO_BASE + 80), ARRIVAL_US + late_us)
    assert abs(audio_us - ARRIVAL_US - 10_000) <= 1


@pytest.mark.parametrize(
    ("video_begins", "audio_begins", "expected_us"),
    [
        (0, AUDIO_BASE, 10_000),
        (-4500 & 0xFFFFFFFF, AUDIO_BASE - 400, 10_000),  # both before the first packets
        (0, None, 70_000),
        (None, AUDIO_BASE, 70_000),
        (0, 0, 70_000),  # of cameras that say so whatever they send
        (0, AUDIO_BASE + 8000, 70_000),
    ],
)
def test_stamps_of_one_moment_place_a_track_if_they_can_be_true(
    video_begins: int | None, audio_begins: int | None, expected_us: int
) -> None:
    clock = SessionClock()
    video, audio = clock.track(90_000), clock.track(8000)
    for track, stamp in ((video, video_begins), (audio, audio_begins)):
        if stamp is not None:
            track.begin(stamp)
    video.us(video.stamps.unroll(0), ARRIVAL_US)
    audio_us = audio.us(audio.stamps.unroll(AUDIO_BASE + 80), ARRIVAL_US + 70_000)
    assert audio_us == ARRIVAL_US + expected_us


def test_wall_clock_of_the_axis_is_told_once_reports_do() -> None:
    _, video, audio = session(audio_delay_us=0)
    assert video.wall_offset_us is None
    video.note(report(90_000, NOW_US))
    offset_us = video.wall_offset_us
    assert offset_us is not None
    assert abs(video.us(90_000, 0) + offset_us - NOW_US) <= 1
    audio.note(report(AUDIO_BASE, 77))
    assert audio.wall_offset_us is None


def test_track_that_restarts_finds_its_place_by_arrival_and_then_by_reports() -> None:
    _, video, audio = session(audio_delay_us=0)
    video.note(report(0, NOW_US))
    audio.note(report(AUDIO_BASE, NOW_US))
    audio.restart()
    assert audio.us(audio.stamps.unroll(5), ARRIVAL_US + 3_000_000) == ARRIVAL_US + 3_000_000
    audio.note(report(5, NOW_US + 2_800_000))
    assert abs(audio.us(5, 0) - ARRIVAL_US - 2_800_000) <= 1


def test_stamps_stay_exact_over_hours_and_wraps() -> None:
    _, video, _ = session(0)
    for second in range(0, 100_000, 10_000):
        stamp = video.stamps.unroll(second * 90_000 & 0xFFFFFFFF)
        assert video.us(stamp, 0) == ARRIVAL_US + second * 1_000_000
