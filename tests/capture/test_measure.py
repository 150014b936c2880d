from __future__ import annotations

import pytest

from appliance.capture.measure import Arrival, SyncMeter, TrackMeter
from appliance.probe_table import find_faults, render_report

STEP_US = 40_000


def packets(stamps: list[int], *, every: int = 25, late_us: tuple[int, ...] = (0,)) -> TrackMeter:
    meter = TrackMeter()
    for number, dts_us in enumerate(stamps):
        arrived_us = number * STEP_US + late_us[number % len(late_us)]
        meter.count(Arrival(dts_us, dts_us, 1000, number % every == 0, arrived_us))
    return meter


def test_meter_of_an_even_track() -> None:
    figures = packets([n * STEP_US for n in range(101)]).figures(live=True)
    assert figures["packet_rate_hz"] == 25.0
    assert figures["bitrate_bps"] == 200_000
    assert figures["keyframe_interval_s"] == {"least": 1.0, "mean": 1.0, "most": 1.0}
    assert figures["jitter_ms"] == 0 and figures["longest_wait_ms"] == 40.0
    assert figures["regressions"] == figures["gaps"] == figures["reordered"] == 0


def test_meter_sees_regressions_and_gaps() -> None:
    stamps = [n * STEP_US for n in range(50)]
    stamps += [stamps[-1] + 5_000_000 + n * STEP_US for n in range(50)]
    stamps += [stamps[-1] - 1_000_000 + n * STEP_US for n in range(50)]
    figures = packets(stamps).figures(live=True)
    assert (figures["gaps"], figures["worst_gap_ms"]) == (1, 5000.0)
    assert (figures["regressions"], figures["worst_regression_ms"]) == (1, 1000.0)


def test_meter_jitter_is_that_of_rfc_3550() -> None:
    figures = packets([n * STEP_US for n in range(400)], late_us=(0, 10_000)).figures(live=True)
    assert figures["jitter_ms"] == pytest.approx(10, abs=0.1)
    assert packets([0, STEP_US]).figures(live=False)["jitter_ms"] is None


def test_meter_slow_frames_are_no_gap() -> None:
    """One frame every two seconds is a slow camera, not a broken one."""
    assert packets([n * 2_000_000 for n in range(20)]).gaps == 0


@pytest.mark.parametrize("count", [0, 1])
def test_meter_of_hardly_anything_has_no_rates(count: int) -> None:
    figures = packets([0] * count).figures(live=True)
    assert figures["bitrate_bps"] is None and figures["packet_rate_hz"] is None
    assert figures["keyframe_interval_s"] is None


def test_meter_counts_packets_without_stamps() -> None:
    meter = TrackMeter()
    for number in range(10):
        meter.count(Arrival(None, None, 10, True, number))
    assert meter.unstamped == 10 and meter.span_us == 0 and meter.keys == 10
    assert meter.figures(live=True)["keyframe_interval_s"] is None


def test_sync_meter_tells_start_and_course() -> None:
    video, audio, sync = TrackMeter(), TrackMeter(), SyncMeter()
    assert sync.figures(video, audio) is None
    for number in range(10):
        for meter, shift_us in ((audio, 30_000), (video, 0)):
            pts_us = number * STEP_US + shift_us
            meter.count(Arrival(pts_us, pts_us, 10, True, number))
            sync.note(pts_us, is_video=meter is video)
    assert sync.figures(video, audio) == {
        "audio_starts_after_video_ms": 30.0,
        "audio_ahead_ms": {"least": 30.0, "mean": 30.0, "most": 30.0},
    }


def report_of(meter: TrackMeter, **changes: object) -> dict[str, object]:
    track = {
        "kind": "video", "codec": "h264", "profile": None, "width": 1, "height": 1,
        "pixel_format": None, "declared_fps": None,
    }  # fmt: skip
    return {
        "format": "x", "live": True, "measured_s": 4.0, "media_s": 4.0, "opened_ms": 1,
        "first_key_ms": None, "duration_s": None, "bitrate_bps": 0,
        "tracks": [track | meter.figures(live=True)], "sync": None, "note": "",
    } | changes  # fmt: skip


@pytest.mark.parametrize(
    ("meter", "fault"),
    [
        (packets([n * STEP_US for n in range(100)]), None),
        (packets([n * STEP_US for n in range(100)], every=1000), None),
        (packets([n * STEP_US for n in range(300)], every=150), "keyframes are far apart"),
        (packets([]), "nothing came"),
        (packets([n * STEP_US for n in range(400)], late_us=(0, 300_000)), "unevenly"),
        (packets([5, 4, 3, 2, 1]), "runs backwards"),
    ],
)
def test_table_says_what_viewers_would_notice(meter: TrackMeter, fault: str | None) -> None:
    report = report_of(meter)
    found = find_faults(report)
    assert (found == []) if fault is None else any(fault in text for text in found)
    text = render_report("rtsp://cam/x", report)
    assert text.startswith("rtsp://cam/x\n")
    assert (fault or "nothing wrong was seen") in text
