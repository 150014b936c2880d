"""The linter finds what it is there to find."""

from __future__ import annotations

import pytest
from playlist_linter import lint_media, lint_multivariant, lint_reload

GOOD = """\
#EXTM3U
#EXT-X-VERSION:6
#EXT-X-TARGETDURATION:2
#EXT-X-MEDIA-SEQUENCE:7
#EXT-X-DISCONTINUITY-SEQUENCE:1
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MAP:URI="i.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00.000Z
#EXTINF:2.000,
7.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:02.000Z
#EXTINF:2.000,
8.m4s
#EXT-X-DISCONTINUITY
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:09.000Z
#EXTINF:1.500,
9.m4s
"""
LATER = """\
#EXTM3U
#EXT-X-VERSION:6
#EXT-X-TARGETDURATION:2
#EXT-X-MEDIA-SEQUENCE:8
#EXT-X-DISCONTINUITY-SEQUENCE:1
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MAP:URI="i.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:02.000Z
#EXTINF:2.000,
8.m4s
#EXT-X-DISCONTINUITY
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:09.000Z
#EXTINF:1.500,
9.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:10.500Z
#EXTINF:2.000,
10.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:12.500Z
#EXTINF:2.000,
11.m4s
"""
MASTER = """\
#EXTM3U
#EXT-X-VERSION:6
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-STREAM-INF:BANDWIDTH=2000,AVERAGE-BANDWIDTH=1900,CODECS="avc1.64001F,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=30.000
a.hls/fmp4.m3u8
"""


def test_linter_finds_nothing_in_good_playlists() -> None:
    assert lint_media(GOOD) == []
    assert lint_media(LATER) == []
    assert lint_reload(GOOD, LATER) == []
    assert lint_multivariant(MASTER, segment_bps=[1950, 1900, 1850]) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("#EXTM3U\n", ""),
        ("#EXTM3U\n", "\ufeff#EXTM3U\n"),
        ("VERSION:6", "VERSION:3"),
        ("#EXT-X-VERSION:6\n", ""),
        ("#EXT-X-VERSION:6\n", "#EXT-X-VERSION:6\n#EXT-X-VERSION:6\n"),
        ("TARGETDURATION:2", "TARGETDURATION:1"),
        ("TARGETDURATION:2", "TARGETDURATION:2.0"),
        ("#EXT-X-TARGETDURATION:2\n", ""),
        ("#EXT-X-MEDIA-SEQUENCE:7\n", ""),
        ("MEDIA-SEQUENCE:7", "MEDIA-SEQUENCE:-7"),
        ("#EXT-X-INDEPENDENT-SEGMENTS\n", ""),
        ('#EXT-X-MAP:URI="i.mp4"\n', ""),
        ('URI="i.mp4"', "URI=i.mp4"),
        ('URI="i.mp4"', 'URI="i.mp4",'),
        ("#EXTINF:2.000,\n7", "7"),
        ("#EXTINF:2.000,\n7", "#EXTINF:2.000\n7"),
        ("#EXTINF:2.000,\n7", "#EXTINF:2,\n7"),
        ("#EXTINF:1.500", "#EXTINF:2.500"),
        ("#EXTINF:1.500", "#EXTINF:0.000"),
        ("7.m4s", "7.m4s "),
        ("7.m4s", "8.m4s"),
        ("7.m4s", "http://elsewhere/7.m4s"),
        ("7.m4s", "a:7.m4s"),
        ("T00:00:00.000Z", "T00:00:00Z"),
        ("T00:00:00.000Z", "T00:00:00.000"),
        ("#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00.000Z\n", ""),
        ("T00:00:02.000Z", "T00:00:02.100Z"),
        ("#EXT-X-DISCONTINUITY\n", ""),
        ("#EXT-X-DISCONTINUITY\n", "#EXT-X-DISCONTINUITY\n#EXT-X-DISCONTINUITY\n"),
        ("9.m4s\n", "9.m4s\n#EXT-X-DISCONTINUITY\n"),
        ("9.m4s\n", "9.m4s"),
        ("9.m4s\n", "#EXT-X-ENDLIST\n9.m4s\n#EXT-X-ENDLIST\n"),
        ("8.m4s\n", "8.m4s\n#EXT-X-MEDIA-SEQUENCE:7\n"),
        ("#EXT-X-INDEPENDENT", "#EXT-X-INVENTED"),
        ("9.m4s", "9.m4s\r"),
    ],
)
def test_linter_finds_a_fault_in_a_media_playlist(old: str, new: str) -> None:
    assert old in GOOD
    assert lint_media(GOOD.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("TARGETDURATION:2", "TARGETDURATION:3"),
        ("MEDIA-SEQUENCE:8", "MEDIA-SEQUENCE:6"),
        ("DISCONTINUITY-SEQUENCE:1", "DISCONTINUITY-SEQUENCE:2"),
        ("DISCONTINUITY-SEQUENCE:1", "DISCONTINUITY-SEQUENCE:0"),
        ("#EXTINF:1.500", "#EXTINF:1.501"),
        ("9.m4s", "9b.m4s"),
        ("i.mp4", "j.mp4"),
        ("#EXT-X-DISCONTINUITY\n", ""),
        ("MEDIA-SEQUENCE:8", "MEDIA-SEQUENCE:9"),
        ("#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:12.500Z\n#EXTINF:2.000,\n11.m4s\n", ""),
    ],
)
def test_linter_finds_an_unlawful_change(old: str, new: str) -> None:
    assert old in LATER
    assert lint_reload(GOOD, LATER.replace(old, new, 1))


def test_linter_finds_a_change_after_the_end() -> None:
    assert lint_reload(GOOD + "#EXT-X-ENDLIST\n", LATER)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("BANDWIDTH=2000", "BANDWIDTH=1000"),
        ("BANDWIDTH=2000", "BANDWIDTH=9000"),
        ("AVERAGE-BANDWIDTH=1900", "AVERAGE-BANDWIDTH=1000"),
        ("AVERAGE-BANDWIDTH=1900,", ""),
        ("avc1.64001F", "avc1.64001f"),
        ("mp4a.40.2", "mp4a"),
        (",RESOLUTION=1280x720", ""),
        (",FRAME-RATE=30.000", ""),
        ("#EXT-X-INDEPENDENT-SEGMENTS\n", ""),
        ("a.hls/fmp4.m3u8\n", ""),
        ("30.000", "30"),
        ('"avc1', "avc1"),
    ],
)
def test_linter_finds_a_fault_in_a_multivariant_playlist(old: str, new: str) -> None:
    assert old in MASTER
    assert lint_multivariant(MASTER.replace(old, new, 1), segment_bps=[1950, 1900, 1850])
