"""The sliding window: numbers, target durations, names and what memory it keeps."""

from __future__ import annotations

import gc
import re
from pathlib import Path

import pytest
from playlist_linter import lint_media, lint_reload, read_media

from appliance.hub.stream import Anchor
from appliance.services.hls.formats import FORMS
from appliance.services.hls.live_playlist import KEPT_SEGMENTS, LivePlaylist, Numbering
from appliance.services.hls.segmenter import Cut
from appliance.services.hls.settings import HlsFormat, Settings

START_US = 100_000_000
ANCHOR = Anchor(0, 1_800_000_000_000_000)


def playlist(
    format: HlsFormat = HlsFormat.FMP4, numbering: Numbering | None = None, **settings: int
) -> LivePlaylist:
    return LivePlaylist("live/x", FORMS[format], Settings(**settings), numbering or Numbering())


def cut(start_us: int, duration_us: int = 2_000_000, **more: object) -> Cut:
    values = {"header": b"init", "independent": True, "discontinuity": False, **more}
    size_bytes = values.pop("size_bytes", 1000)
    found = Cut(start_us=start_us, end_us=start_us + duration_us, **values)  # type: ignore[arg-type]
    found.parts = [b"m" * size_bytes]  # type: ignore[operator]
    return found


def fill(live: LivePlaylist, count: int, duration_us: int = 2_000_000, **more: object) -> None:
    for number in range(count):
        live.add(cut(START_US + number * duration_us, duration_us, **more), ANCHOR)


def text(live: LivePlaylist) -> str:
    file = live.file()
    return bytes(file.read(0, file.size_bytes)).decode()


def test_playlist_slides_and_every_reload_is_lawful() -> None:
    live = playlist()
    live.add(cut(START_US), ANCHOR)
    before = text(live)
    for number in range(1, 40):
        live.add(cut(START_US + number * 2_000_000, discontinuity=number % 7 == 0), ANCHOR)
        after = text(live)
        assert lint_media(after) == []
        assert lint_reload(before, after) == []
        before = after
    assert len(live.segments) == 10


def test_playlist_keeps_three_target_durations_however_small_the_window() -> None:
    live = playlist(window_us=1_000_000)
    for number in range(20):
        live.add(cut(START_US + number * 5_000_000, 5_000_000), ANCHOR)
        text(live)
    assert sum(segment.duration_us for segment in live.segments) == 15_000_000


def test_playlist_of_a_huge_bitrate_keeps_within_its_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("appliance.services.hls.live_playlist.MAX_WINDOW_BYTES", 1_000_000)
    live = playlist(window_us=600_000_000)
    fill(live, 40, size_bytes=90_000)
    assert sum(segment.file.size_bytes for segment in live.segments) <= 1_000_000
    assert len(live.segments) == 11
    live = playlist()
    fill(live, 10, size_bytes=900_000)
    assert len(live.segments) == 3


def test_playlist_serves_what_just_left_and_then_forgets_it() -> None:
    live = playlist(window_us=6_000_000)
    names = []
    for number in range(10):
        live.add(cut(START_US + number * 2_000_000), ANCHOR)
        names.append(live.segments[-1].name)
    served = [name for name in names if live.find(name) is not None]
    assert served == names[-3 - KEPT_SEGMENTS :]


def test_playlist_names_follow_the_numbers_and_maps_their_content() -> None:
    live = playlist()
    fill(live, 2)
    live.add(cut(START_US + 4_000_000, header=b"other", discontinuity=True), ANCHOR)
    media = read_media(text(live))
    assert [s.uri for s in media.segments] == [f"fmp4-{media.msn + n}.m4s" for n in range(3)]
    maps = [segment.map_uri for segment in media.segments]
    assert maps[0] == maps[1] != maps[2]
    assert live.find(maps[2]).body == b"other"


def test_playlist_drops_a_map_with_the_last_segment_that_needs_it() -> None:
    live = playlist(window_us=6_000_000)
    live.add(cut(START_US, header=b"old"), ANCHOR)
    old = live.segments[0].init_name
    for number in range(1, 3 + KEPT_SEGMENTS):
        live.add(cut(START_US + number * 2_000_000, header=b"new"), ANCHOR)
    assert live.find(old) is not None
    live.add(cut(START_US + 20_000_000, header=b"new"), ANCHOR)
    assert live.find(old) is None


def test_numbers_go_on_when_the_playlist_is_made_again() -> None:
    numbering = Numbering()
    first = playlist(numbering=numbering)
    fill(first, 15, discontinuity=True)
    again = playlist(numbering=numbering)
    again.add(cut(START_US + 30_000_000), ANCHOR)
    assert lint_reload(text(first), text(again)) == []
    assert again.segments[0].msn > first.segments[-1].msn


@pytest.mark.parametrize("duration_us", [1_000_000, 2_000_000, 9_999_000])
def test_numbers_go_on_when_the_process_is_made_again(duration_us: int) -> None:
    first = playlist()
    fill(first, 50, duration_us)
    restarted = playlist()
    restarted.add(cut(START_US + 50 * duration_us + 1_000_000), ANCHOR)
    assert restarted.segments[0].msn > first.segments[-1].msn
    assert lint_reload(text(first), text(restarted))[1:] == []  # but for the target duration


@pytest.mark.parametrize(
    ("durations_ms", "target_s"),
    [
        ([2000, 2000, 2000], 2),
        ([2000], 2),
        ([1998], 2),  # a sensor that runs a little fast
        ([1999, 2001, 2000], 2),
        ([1967, 2033, 2000], 2),
        ([1967], 2),
        ([1920, 1920, 1920], 2),  # audio in chunks of ten frames
        ([300, 2000, 2000], 2),  # the first after an interruption
        ([2002, 2002, 2002], 2),
        ([2499, 2499], 2),  # the same again rounds to the same
        ([2499, 2466], 3),  # a frame more would round up
        ([2500], 3),
        ([5000, 5000], 5),
        ([5001], 5),
        ([5033], 5),
        ([8333, 8333], 8),
        ([8499, 8333], 9),
        ([2400, 3100, 5960], 6),
    ],
)
def test_target_duration_covers_every_segment(durations_ms: list[int], target_s: int) -> None:
    live = playlist()
    start_us = START_US
    for duration_ms in durations_ms:
        live.add(cut(start_us, duration_ms * 1000), ANCHOR)
        start_us += duration_ms * 1000
    assert read_media(text(live)).target_s == target_s
    assert lint_media(text(live)) == []


def test_target_duration_stays_when_segments_get_shorter() -> None:
    live = playlist()
    fill(live, 5, 5_000_000)
    text(live)
    for number in range(20):
        live.add(cut(START_US + 25_000_000 + number * 2_000_000), ANCHOR)
    assert read_media(text(live)).target_s == 5


def test_target_duration_of_an_irregular_source_stays() -> None:
    live = playlist()
    before, start_us = "", START_US
    for jitter_us in (0, -33_000, 33_000, 1_000, -1_000, 49_000, -49_000) * 3:
        live.add(cut(start_us, 1_990_000 + jitter_us), ANCHOR)
        start_us += 1_990_000 + jitter_us
        assert not before or lint_reload(before, text(live)) == []
        before = text(live)


def test_target_duration_grows_rather_than_lie() -> None:
    live = playlist()
    fill(live, 3)
    assert read_media(text(live)).target_s == 2
    live.add(cut(START_US + 6_000_000, 8_300_000), ANCHOR)
    assert read_media(text(live)).target_s == 8
    assert lint_media(text(live)) == []


@pytest.mark.parametrize("interval_us", [2_000_000, 2_000_000 - 33_333, 2_002_000, 2_033_333])
def test_target_duration_of_two_seconds_between_keyframes_never_changes(interval_us: int) -> None:
    """As an encoder means "2 s", with stamps in whole milliseconds; asked for from the first on."""
    live = playlist()
    for number in range(30):
        start_us, end_us = (
            START_US + (number + more) * interval_us // 1000 * 1000 for more in (0, 1)
        )
        live.add(cut(start_us, end_us - start_us), ANCHOR)
        assert read_media(text(live)).target_s == 2
        assert lint_media(text(live)) == []


def test_dates_follow_the_anchor_and_a_set_clock_is_a_discontinuity() -> None:
    live = playlist()
    fill(live, 2)
    set_clock = Anchor(START_US, 1_900_000_000_000_000)
    for number in (2, 3):
        live.add(cut(START_US + number * 2_000_000), set_clock)
    assert [segment.discontinuity for segment in live.segments] == [False, False, True, False]
    assert live.segments[2].unix_us == 1_900_000_004_000_000
    assert lint_media(text(live)) == []


def test_dates_are_left_out_while_nobody_knows_the_time() -> None:
    live = playlist()
    live.add(cut(START_US), None)
    assert "PROGRAM-DATE-TIME" not in text(live)


def test_rounded_durations_add_up_exactly() -> None:
    live = playlist(window_us=3_600_000_000)
    stamps = [START_US + n * 2_002_000 + n * 1_000_000 // 3 // 1000 for n in range(300)]
    for start_us, end_us in zip(stamps, stamps[1:], strict=False):
        live.add(cut(start_us, end_us - start_us), ANCHOR)
    total_us = sum(segment.duration_us for segment in live.segments)
    assert abs(total_us - (stamps[-1] - stamps[0])) <= 1000
    assert lint_media(text(live)) == []


def test_segment_of_no_duration_is_not_listed() -> None:
    live = playlist()
    fill(live, 1)
    live.add(cut(START_US + 2_000_000, 400), ANCHOR)
    assert len(live.segments) == 1


def test_dependent_segment_takes_back_the_promise_of_independence() -> None:
    live = playlist()
    fill(live, 3)
    assert "INDEPENDENT" in text(live)
    live.add(cut(START_US + 6_000_000, independent=False), ANCHOR)
    assert "INDEPENDENT" not in text(live)


def test_bandwidths_are_the_peak_and_the_mean_of_what_was_sent() -> None:
    live = playlist()
    fill(live, 4, size_bytes=250_000)
    live.add(cut(START_US + 8_000_000, size_bytes=500_000), ANCHOR)
    assert live.peak_bps == 2_000_000
    assert live.average_bps == 1_200_000


def test_playlist_is_rendered_once_per_change() -> None:
    live = playlist()
    fill(live, 3)
    assert live.file() is live.file()
    before = live.file()
    fill(live, 1)
    assert live.file() is not before


def test_query_goes_behind_every_name_and_nowhere_else() -> None:
    live = playlist()
    fill(live, 3)
    plain, signed = text(live), live.file("?t=abc").body.decode()
    assert "\0" not in plain + signed
    assert signed.replace("?t=abc", "") == plain
    assert len(re.findall(r"\.(?:m4s|mp4)\?t=abc", signed)) == 4


def test_ended_playlist_says_so() -> None:
    live = playlist(HlsFormat.TS)
    fill(live, 3, header=b"")
    live.end()
    assert text(live).endswith("#EXT-X-ENDLIST\n")
    assert lint_media(text(live)) == []


def test_window_keeps_neither_memory_files_nor_names_of_what_is_gone() -> None:
    def descriptors() -> int:
        gc.collect()
        links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        return sum("memfd:media" in str(link.readlink()) for link in links)

    before = descriptors()
    live = playlist()
    fill(live, 100, size_bytes=100_000)
    assert descriptors() - before == len(live.segments) + KEPT_SEGMENTS
    assert len(live._files) == len(live.segments) + KEPT_SEGMENTS + 1
    del live
    assert descriptors() == before
