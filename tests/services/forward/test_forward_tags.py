"""What a publisher says, message by message, and its stamps where they wrap."""

from __future__ import annotations

from dataclasses import replace

import pytest
from container_samples import aac_track, avc_track, picture, sound

from appliance.errors import CodecUnsupported
from appliance.media.amf0 import decode
from appliance.media.h264 import H264Config
from appliance.media.track import Track
from appliance.services.forward.tags import Tag, TagFeed
from appliance.wire.rtmp.chunks import ChunkReader, ChunkWriter
from appliance.wire.rtmp.message import Message, MessageType

VIDEO, AUDIO = avc_track(), aac_track()
TRACKS = (VIDEO, AUDIO)


def kinds(tags: list[Tag]) -> list[tuple[int, bytes]]:
    return [(int(tag.kind), tag.payload[:2]) for tag in tags]


def test_tags_begin_with_metadata_and_headers() -> None:
    tags = list(TagFeed().feed(picture(VIDEO, 7_000_040, key=True), TRACKS))
    assert kinds(tags)[1:] == [(9, b"\x17\x00"), (8, b"\xaf\x00"), (9, b"\x17\x01")]
    assert decode(tags[0].payload)[:2] == ["@setDataFrame", "onMetaData"]
    assert {tag.timestamp_ms for tag in tags} == {1000}


def test_tags_are_stamped_from_the_first_unit_also_what_is_a_little_before_it() -> None:
    feed = TagFeed()
    list(feed.feed(picture(VIDEO, 7_000_000, key=True), TRACKS))
    (before,) = feed.feed(sound(AUDIO, 6_980_000), TRACKS)
    (after,) = feed.feed(picture(VIDEO, 7_040_000), TRACKS)
    assert (before.timestamp_ms, after.timestamp_ms) == (980, 1040)
    (late,) = feed.feed(sound(AUDIO, 0), TRACKS)
    assert late.timestamp_ms == 0


@pytest.mark.parametrize("edge_ms", [1 << 24, 1 << 31, 1 << 32], ids=["24", "31", "32"])
def test_stamps_cross_the_edges_of_24_and_32_bits(edge_ms: int) -> None:
    """Begun 2 s before the edge, written as chunks and read as a server does."""
    feed = TagFeed(start_us=(edge_ms - 2000) * 1000)
    writer, reader = ChunkWriter(), ChunkReader()
    seen = []
    for dts_us in range(0, 4_000_000, 40_000):
        for tag in feed.feed(picture(VIDEO, dts_us, key=not dts_us), (VIDEO,)):
            data = writer.write(Message(tag.kind, 1, tag.timestamp_ms, tag.payload), 6)
            seen += [(m.kind, m.timestamp_ms) for m in reader.receive(data)]
    stamps = [stamp for kind, stamp in seen if kind == MessageType.VIDEO][1:]
    expected = [(edge_ms - 2000 + ms) & 0xFFFF_FFFF for ms in range(0, 4000, 40)]
    assert stamps == expected


def test_header_is_told_again_when_it_changes_and_only_then() -> None:
    feed = TagFeed()
    list(feed.feed(picture(VIDEO, 0, key=True), TRACKS))
    assert isinstance(VIDEO.config, H264Config)
    same = replace(VIDEO, config=VIDEO.config)
    tags = list(feed.feed(picture(same, 40_000, key=True), (same, AUDIO)))
    assert kinds(tags)[1:] == [(9, b"\x17\x01")]
    other = Track(VIDEO.id, avc_track("high_1080p50").config)
    tracks = (other, AUDIO)
    old = list(feed.feed(picture(same, 80_000), tracks))
    assert kinds(old)[1:] == [(9, b"\x27\x01")], "what came before the change keeps its header"
    new = list(feed.feed(picture(other, 120_000, key=True), tracks))
    assert kinds(new) == [(9, b"\x17\x00"), (9, b"\x17\x01")]


def test_track_that_comes_later_is_introduced() -> None:
    feed = TagFeed()
    list(feed.feed(picture(VIDEO, 0, key=True), (VIDEO,)))
    tags = list(feed.feed(picture(VIDEO, 40_000), TRACKS))
    assert kinds(tags)[1:] == [(8, b"\xaf\x00"), (9, b"\x27\x01")]


def test_second_track_of_a_kind_is_left_out() -> None:
    second = Track(3, VIDEO.config)
    feed = TagFeed()
    tracks = (VIDEO, second)
    assert list(feed.feed(picture(second, 0, key=True), tracks)) == []
    assert kinds(list(feed.feed(picture(VIDEO, 0, key=True), tracks)))[-1] == (9, b"\x17\x01")


def test_tracks_that_rtmp_cannot_carry_are_refused() -> None:
    with pytest.raises(CodecUnsupported):
        list(TagFeed().feed(picture(VIDEO, 0, key=True), ()))
