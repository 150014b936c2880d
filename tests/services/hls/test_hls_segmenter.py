"""Where segments are cut."""

from __future__ import annotations

import itertools

import pytest

from appliance.media.unit import Chunk
from appliance.services.hls.segmenter import (
    MAX_SEGMENT_BYTES,
    MAX_SEGMENT_US,
    Cut,
    Segmenter,
)

TARGET_US = 2_000_000
HEADER = b"header"


def chunk(dts_us: int, *, key: bool = False, step_us: int = 200_000, **more: object) -> Chunk:
    data = more.pop("data", b"x" * 10)
    header = more.pop("header", HEADER)
    return Chunk(data, dts_us, step_us, key, header, **more)  # type: ignore[arg-type]


def chunks(duration_us: int, gop_us: int, *, step_us: int = 200_000) -> list[Chunk]:
    stamps = range(0, duration_us, step_us)
    return [chunk(us, key=bool(gop_us) and us % gop_us == 0, step_us=step_us) for us in stamps]


def cut(what: list[Chunk], target_us: int = TARGET_US) -> list[Cut]:
    segmenter = Segmenter(target_us)
    found = [*map(segmenter.feed, what), segmenter.flush()]
    return [segment for segment in found if segment is not None]


@pytest.mark.parametrize(
    ("gop_us", "expected_us"),
    [
        (2_000_000, 2_000_000),
        (1_000_000, 2_000_000),
        (200_000, 2_000_000),
        (1_400_000, 2_800_000),
        (3_000_000, 3_000_000),
        (5_000_000, 5_000_000),
        (10_000_000, 10_000_000),
    ],
)
def test_segment_ends_at_the_first_key_once_it_is_long_enough(
    gop_us: int, expected_us: int
) -> None:
    found = cut(chunks(40_000_000, gop_us))
    assert {segment.duration_us for segment in found[:-1]} == {expected_us}
    assert all(segment.independent for segment in found)


def test_segments_tile_the_timeline_and_lose_nothing() -> None:
    what = chunks(30_000_000, 1_400_000)
    for number, each in enumerate(what):
        each.data = b"%d," % number
    found = cut(what)
    for one, following in zip(found, found[1:], strict=False):
        assert one.end_us == following.start_us
    assert b"".join(part for s in found for part in s.parts) == b"".join(c.data for c in what)


def test_segment_a_frame_short_of_the_target_ends_at_its_key() -> None:
    found = cut([chunk(us, key=True, step_us=1_967_000) for us in range(0, 20_000_000, 1_967_000)])
    assert {segment.duration_us for segment in found} == {1_967_000}


def test_segment_without_any_key_ends_at_the_cap_and_the_next_is_dependent() -> None:
    what = chunks(35_000_000, 0)
    what[0].key = True
    found = cut(what)
    assert [segment.duration_us for segment in found[:-1]] == [MAX_SEGMENT_US] * 3
    assert [segment.independent for segment in found] == [True, False, False, False]


def test_segment_of_huge_chunks_ends_by_bytes() -> None:
    data = bytes(3 << 20)
    found = cut([chunk(n * 200_000, key=n == 0, data=data) for n in range(20)])
    assert max(segment.size_bytes for segment in found) <= MAX_SEGMENT_BYTES
    assert sum(segment.size_bytes for segment in found) == 20 * len(data)


def test_segment_with_a_key_in_each_chunk_waits_for_the_target() -> None:
    found = cut([chunk(n * 33_333, key=True, step_us=33_333) for n in range(300)])
    assert {segment.duration_us for segment in found[:-1]} == {60 * 33_333}


def test_keyframe_made_for_a_viewer_shortens_a_segment_rather_than_lengthen_one() -> None:
    segmenter = Segmenter(TARGET_US)
    segmenter.limit_us = 2_000_000
    keys = {0, 2_000_000, 4_000_000, 5_200_000, 7_200_000, 9_200_000}
    found = [segmenter.feed(chunk(us, key=us in keys)) for us in range(0, 11_000_000, 200_000)]
    lengths = [segment.duration_us for segment in found if segment is not None]
    assert lengths == [2_000_000, 2_000_000, 1_200_000, 2_000_000, 2_000_000]


def test_keyframe_made_for_a_viewer_does_no_harm_within_the_limit() -> None:
    segmenter = Segmenter(TARGET_US)
    segmenter.limit_us = 4_000_000
    keys = {0, 2_000_000, 4_000_000, 5_200_000, 7_200_000, 9_200_000}
    found = [segmenter.feed(chunk(us, key=us in keys)) for us in range(0, 11_000_000, 200_000)]
    lengths = [segment.duration_us for segment in found if segment is not None]
    assert lengths == [2_000_000, 2_000_000, 3_200_000, 2_000_000]


def test_segment_ends_before_a_discontinuity_where_its_chunks_end() -> None:
    what = [*chunks(3_000_000, 2_000_000), chunk(9_000_000, discontinuity=True)]
    what += [chunk(9_200_000, key=True)]
    found = cut(what)
    assert [(s.start_us, s.end_us) for s in found] == [
        (0, 2_000_000),
        (2_000_000, 3_000_000),
        (9_000_000, 9_400_000),
    ]
    assert [s.discontinuity for s in found] == [False, False, True]


def test_segment_ends_before_a_new_header() -> None:
    what = [chunk(0, key=True), chunk(200_000, key=True, header=b"other")]
    assert [segment.header for segment in cut(what)] == [HEADER, b"other"]


def test_interrupt_marks_the_next_segment() -> None:
    segmenter = Segmenter(TARGET_US)
    segmenter.feed(chunk(0, key=True))
    finished = segmenter.interrupt()
    assert finished is not None and finished.end_us == 200_000
    segmenter.feed(chunk(5_000_000, key=True))
    following = segmenter.flush()
    assert following is not None and following.discontinuity


def test_flush_of_nothing_is_nothing() -> None:
    assert Segmenter(TARGET_US).flush() is None


@pytest.mark.parametrize("gop_us", [200_000, 1_000_000, 1_400_000, 3_000_000])
@pytest.mark.parametrize("limit_us", [0, 2_000_000])
def test_segment_that_is_closed_when_a_key_follows_is_the_one_that_the_key_would_end(
    gop_us: int, limit_us: int
) -> None:
    late, early = Segmenter(TARGET_US), Segmenter(TARGET_US)
    late.limit_us = early.limit_us = limit_us
    what = chunks(30_000_000, gop_us)
    for one, following in itertools.pairwise(what):
        one.before_key = following.key
    expected: list[Cut | None] = []
    found: list[Cut | None] = []
    for each in what:
        expected.append(late.feed(each))
        found += [early.feed(each), early.close(each)]
    assert [one for one in found if one] == [one for one in expected if one]
    assert not any(found[::2])  # none has waited for the next chunk
    assert any(found[1::2])
