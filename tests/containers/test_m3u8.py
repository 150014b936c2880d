"""The text of playlists."""

from __future__ import annotations

import pytest

from appliance.containers.m3u8 import (
    MediaPlaylist,
    MultivariantPlaylist,
    SegmentLine,
    Variant,
    utc_text,
)
from appliance.errors import MisuseError


def test_media_playlist_of_fmp4_renders_every_tag() -> None:
    segments = [
        SegmentLine("a-7.m4s", 2_000_000, map_uri="init-1.mp4", unix_us=1_700_000_000_123_456),
        SegmentLine("a-8.m4s", 1_967_000, map_uri="init-1.mp4"),
        SegmentLine("a-9.m4s", 33_000, discontinuity=True, map_uri="init-2.mp4", unix_us=0),
    ]
    assert MediaPlaylist(2, 7, 3, segments, ended=True).render() == (
        "#EXTM3U\n"
        "#EXT-X-VERSION:6\n"
        "#EXT-X-TARGETDURATION:2\n"
        "#EXT-X-MEDIA-SEQUENCE:7\n"
        "#EXT-X-DISCONTINUITY-SEQUENCE:3\n"
        "#EXT-X-INDEPENDENT-SEGMENTS\n"
        '#EXT-X-MAP:URI="init-1.mp4"\n'
        "#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:20.123Z\n"
        "#EXTINF:2.000,\n"
        "a-7.m4s\n"
        "#EXTINF:1.967,\n"
        "a-8.m4s\n"
        "#EXT-X-DISCONTINUITY\n"
        '#EXT-X-MAP:URI="init-2.mp4"\n'
        "#EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:00.000Z\n"
        "#EXTINF:0.033,\n"
        "a-9.m4s\n"
        "#EXT-X-ENDLIST\n"
    )


def test_media_playlist_of_ts_needs_no_map_and_a_lower_version() -> None:
    text = MediaPlaylist(
        10, 0, 0, [SegmentLine("0.ts", 9_999_000)], independent_segments=False
    ).render()
    assert text == (
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXT-X-MEDIA-SEQUENCE:0\n"
        "#EXT-X-DISCONTINUITY-SEQUENCE:0\n#EXTINF:9.999,\n0.ts\n"
    )


def test_multivariant_playlist_renders_what_is_known() -> None:
    video = Variant(
        "v.m3u8", 2_500_000, 2_000_000, ["avc1.64001F", "mp4a.40.2"], (1280, 720), 29.97
    )
    audio = Variant("a.m3u8", 64_000, 63_000, ["opus"])
    assert MultivariantPlaylist([video, audio]).render() == (
        "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n"
        "#EXT-X-STREAM-INF:BANDWIDTH=2500000,AVERAGE-BANDWIDTH=2000000,"
        'CODECS="avc1.64001F,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=29.970\nv.m3u8\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=64000,AVERAGE-BANDWIDTH=63000,CODECS="opus"\na.m3u8\n'
    )


@pytest.mark.parametrize("codec", ['av"c1', "avc1\n#EXT-X-ENDLIST", "avc1\r"])
def test_playlist_refuses_what_would_break_out_of_a_quoted_string(codec: str) -> None:
    with pytest.raises(MisuseError):
        MultivariantPlaylist([Variant("v.m3u8", 1, 1, [codec])]).render()


@pytest.mark.parametrize(
    ("unix_us", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_709_164_799_999_999, "2024-02-28T23:59:59.999Z"),
        (1_709_164_800_000_000, "2024-02-29T00:00:00.000Z"),
        (4_102_444_800_000_500, "2100-01-01T00:00:00.000Z"),
        (-5, "1970-01-01T00:00:00.000Z"),
        (10**30, "9999-12-31T23:59:59.000Z"),
    ],
)
def test_utc_text_is_iso_8601_with_milliseconds(unix_us: int, text: str) -> None:
    assert utc_text(unix_us) == text
