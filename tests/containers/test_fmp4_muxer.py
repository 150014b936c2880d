"""The fMP4 muxer: its fragments byte by byte, and that ffmpeg finds in them what went in."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
from container_samples import (
    AAC_US,
    FRAME_US,
    aac_track,
    avc_config,
    avc_track,
    hevc_track,
    interleaved,
    joined,
    mux,
    opus_track,
    picture,
    pictures,
    sound,
    sounds,
)
from fmp4_reader import Sample, fragments
from framehash import (
    assert_same_times,
    clip_units,
    frame_hashes,
    make_clip,
    packet_times,
    unit_times,
)

from appliance.containers.fmp4_muxer import MAX_CHUNK_BYTES, MAX_SILENCE_US, Fmp4Muxer
from appliance.errors import CodecUnsupported
from appliance.media.clock import us_to_ticks
from appliance.media.g711 import G711Config
from appliance.media.nal import join_length_prefixed
from appliance.media.track import Codec, Track
from appliance.media.unit import AccessUnit, Chunk

VIDEO, AUDIO = 1, 2  # track numbers in the file
START_US = 3_000_000_000_000  # five weeks of uptime: more than 32 bits of 90 kHz


def samples(chunks: list[Chunk], track_id: int) -> list[Sample]:
    runs = [run for chunk in chunks for each in fragments(chunk.data) for run in each]
    return [sample for run in runs if run.track_id == track_id for sample in run.samples]


def feed(muxer: Fmp4Muxer, units: list[AccessUnit]) -> list[Chunk]:
    return [chunk for unit in units for chunk in muxer.feed(unit)]


@pytest.mark.parametrize(
    "kind",
    ["h264", "h264-b+aac", "h265+aac", "h265-b+opus", "h264+opus", "aac", "opus"],
)
def test_fmp4_of_a_clip_has_its_frames_and_times(kind: str) -> None:
    tracks, units = clip_units(kind)
    expected = unit_times(units)
    data = joined(mux(Fmp4Muxer(), tracks, units))
    assert frame_hashes(data) == frame_hashes(make_clip(kind))
    assert_same_times(expected, packet_times(data), resolution_us=23)


@pytest.mark.parametrize(
    ("rotation_deg", "turning"),
    [(90, "transpose=clock"), (180, "hflip,vflip"), (270, "transpose=cclock")],
)
def test_fmp4_of_a_turned_track_is_shown_turned(rotation_deg: int, turning: str) -> None:
    """By whoever heeds the matrix, as ffmpeg does."""
    tracks, units = clip_units("h264")
    turned = tuple(replace(track, rotation_deg=rotation_deg) for track in tracks)
    for unit in units:
        unit.track = turned[0]
    data = joined(mux(Fmp4Muxer(), turned, units))
    assert frame_hashes(data) == frame_hashes(make_clip("h264"), filters=turning)


def test_fmp4_chunks_tile_the_timeline_and_start_at_keys() -> None:
    track = avc_track()
    chunks = mux(Fmp4Muxer(), [track], pictures(track, 53, gop=13, start_us=START_US))
    assert chunks[0].dts_us == START_US
    for one, following in zip(chunks, chunks[1:], strict=False):
        assert one.dts_us + one.duration_us == following.dts_us
    assert chunks[-1].dts_us + chunks[-1].duration_us == START_US + 53 * FRAME_US
    assert max(chunk.duration_us for chunk in chunks) == 200_000
    keys = [chunk.dts_us for chunk in chunks if chunk.key]
    assert keys == [START_US + number * 13 * FRAME_US for number in range(5)]
    for chunk in chunks:
        flags = [sample.is_sync for sample in samples([chunk], VIDEO)]
        assert flags == [chunk.key, *[False] * (len(flags) - 1)]


def test_fmp4_decode_times_are_converted_one_by_one_and_do_not_drift() -> None:
    track = avc_track()
    stamps = [START_US + round(number * 1_000_000 / 29.97) for number in range(3000)]
    units = [picture(track, stamp, key=number % 60 == 0) for number, stamp in enumerate(stamps)]
    found = samples(mux(Fmp4Muxer(), [track], units), VIDEO)
    assert [sample.dts for sample in found] == [us_to_ticks(stamp, 90_000) for stamp in stamps]


def test_fmp4_composition_offsets_carry_reordering() -> None:
    track = avc_track()
    units = [
        picture(track, n * FRAME_US, key=n == 0, reorder_us=n % 3 * FRAME_US) for n in range(9)
    ]
    found = samples(mux(Fmp4Muxer(), [track], units), VIDEO)
    assert [sample.composition for sample in found] == [n % 3 * 3600 for n in range(9)]


def test_fmp4_samples_are_length_prefixed_nal_units_and_raw_frames() -> None:
    video, audio = avc_track(), aac_track()
    units = interleaved(pictures(video, 10), sounds(audio, 20))
    chunks = mux(Fmp4Muxer(), [video, audio], units)
    stored = [sample.data for sample in samples(chunks, VIDEO)]
    assert stored == [join_length_prefixed(u.parts) for u in units if u.track is video]
    stored = [sample.data for sample in samples(chunks, AUDIO)]
    assert stored == [u.parts[0] for u in units if u.track is audio]


def test_fmp4_audio_stamped_in_milliseconds_has_no_gaps() -> None:
    track = aac_track()
    stamps = [START_US + int(number * AAC_US) // 1000 * 1000 for number in range(2000)]
    found = samples(mux(Fmp4Muxer(), [track], [sound(track, stamp) for stamp in stamps]), 1)
    assert {sample.duration for sample in found} == {1024}
    for stamp, sample in zip(stamps, found, strict=True):
        assert abs(sample.dts - us_to_ticks(stamp, 48_000)) <= 48


def test_fmp4_audio_clock_that_drifts_is_followed() -> None:
    track = aac_track()
    stamps = [START_US + round(number * AAC_US * 1.001) for number in range(5000)]
    found = samples(mux(Fmp4Muxer(), [track], [sound(track, stamp) for stamp in stamps]), 1)
    offsets = [s.dts - us_to_ticks(us, 48_000) for us, s in zip(stamps, found, strict=True)]
    assert max(map(abs, offsets)) <= us_to_ticks(3_001, 48_000)


def test_fmp4_audio_only_chunks_are_all_keys() -> None:
    track = opus_track()
    chunks = mux(Fmp4Muxer(), [track], sounds(track, 100))
    assert [chunk.key for chunk in chunks] == [True] * 10
    assert {chunk.duration_us for chunk in chunks} == {200_000}


def test_fmp4_opus_packets_last_as_long_as_they_say() -> None:
    track = opus_track()
    short, long = b"\xf0" + b"o" * 9, b"\xfb\x03" + b"o" * 9  # 10 ms; three of 20 ms
    units = [sound(track, 0, short), sound(track, 10_000, long), sound(track, 70_000, short)]
    found = samples(mux(Fmp4Muxer(), [track], units), 1)
    assert [sample.duration for sample in found] == [480, 2880, 480]


def test_fmp4_opus_packet_without_a_duration_does_no_harm() -> None:
    track = opus_track()
    units = [
        sound(track, number * 20_000, b"\xfb\x00" if number % 2 else b"\xf8") for number in range(9)
    ]
    assert len(samples(mux(Fmp4Muxer(), [track], units), 1)) == 9


def test_fmp4_video_before_the_first_key_is_dropped_and_audio_just_before_it_kept() -> None:
    video, audio = avc_track(), aac_track()
    units = interleaved(
        [picture(video, n * FRAME_US, key=n in {5, 30}) for n in range(40)], sounds(audio, 75)
    )
    chunks = mux(Fmp4Muxer(), [video, audio], units)
    first = next(chunk for chunk in chunks if samples([chunk], VIDEO))
    assert first.key
    assert first.dts_us in range(4 * FRAME_US, 6 * FRAME_US)
    assert samples(chunks, AUDIO)[0].dts == 0


def test_fmp4_missing_audio_does_not_hold_back_video() -> None:
    video, audio = avc_track(), aac_track()
    units = interleaved(pictures(video, 250), sounds(audio, 40), sounds(audio, 40, 8_000_000))
    muxer = Fmp4Muxer()
    muxer.header([video, audio])
    for unit in units:
        for chunk in muxer.feed(unit):
            assert unit.dts_us - (chunk.dts_us + chunk.duration_us) <= FRAME_US
            if unit.dts_us > 2_000_000 + MAX_SILENCE_US and unit.dts_us < 8_000_000:
                assert not samples([chunk], AUDIO)


def test_fmp4_silence_leaves_a_gap_in_decode_times_not_a_long_frame() -> None:
    video, audio = avc_track(), aac_track()
    units = interleaved(pictures(video, 250), sounds(audio, 40), sounds(audio, 40, 8_000_000))
    found = samples(mux(Fmp4Muxer(), [video, audio], units), AUDIO)
    assert {sample.duration for sample in found} == {1024}
    assert found[40].dts == 8 * 48_000


def test_fmp4_missing_video_does_not_hold_back_audio() -> None:
    video, audio = avc_track(), aac_track()
    units = interleaved(pictures(video, 10), sounds(audio, 1000))
    muxer = Fmp4Muxer()
    muxer.header([video, audio])
    chunks = feed(muxer, units)
    late_us = units[-1].dts_us - (chunks[-1].dts_us + chunks[-1].duration_us)
    assert late_us <= MAX_SILENCE_US
    assert max(chunk.duration_us for chunk in chunks) <= MAX_SILENCE_US + AAC_US
    assert not any(chunk.key for chunk in chunks if chunk.dts_us > 1_000_000)


def test_fmp4_picture_shown_for_seconds_lasts_until_the_next_one() -> None:
    video, audio = avc_track(), aac_track()
    stills = [picture(video, stamp, key=True) for stamp in (0, 4_000_000, 8_000_000)]
    chunks = mux(Fmp4Muxer(), [video, audio], interleaved(stills, sounds(audio, 400)))
    found = samples(chunks, VIDEO)
    assert [(s.dts, s.duration) for s in found[:2]] == [(0, 360_000), (360_000, 360_000)]
    assert len(samples(chunks, AUDIO)) == 400


def test_fmp4_keyframe_each_frame_makes_a_chunk_each() -> None:
    track = avc_track()
    chunks = mux(Fmp4Muxer(), [track], pictures(track, 20, gop=1))
    assert [chunk.duration_us for chunk in chunks] == [FRAME_US] * 20
    assert all(chunk.key for chunk in chunks)


def test_fmp4_huge_pictures_end_a_chunk_early() -> None:
    track = avc_track()
    units = [picture(track, n * 1000, key=n == 0, size_bytes=1 << 20) for n in range(40)]
    chunks = mux(Fmp4Muxer(), [track], units)
    assert max(len(chunk.data) for chunk in chunks) <= MAX_CHUNK_BYTES + (2 << 20)


def test_fmp4_discontinuity_is_told_once_and_starts_with_a_key() -> None:
    video, audio = avc_track(), aac_track()
    before = interleaved(pictures(video, 30), sounds(audio, 56))
    after = interleaved(
        [picture(video, 5_000_000 + n * FRAME_US, key=n == 4) for n in range(30)],
        sounds(audio, 56, 5_000_000),
    )
    for track in (video, audio):
        next(unit for unit in after if unit.track is track).discontinuity = True
    muxer = Fmp4Muxer()
    muxer.header([video, audio])
    chunks = feed(muxer, before + after) + muxer.flush()
    marked = [chunk for chunk in chunks if chunk.discontinuity]
    assert len(marked) == 1
    assert samples(marked, VIDEO)[0].is_sync
    assert samples(marked, VIDEO)[0].dts == us_to_ticks(5_000_000 + 4 * FRAME_US, 90_000)
    old = [chunk for chunk in chunks if chunk.dts_us < 5_000_000]
    assert old[-1].dts_us + old[-1].duration_us == 30 * FRAME_US
    assert len(samples(chunks, AUDIO)) == 112


def test_fmp4_last_picture_lasts_as_long_as_the_one_before_it() -> None:
    """A still picture a second, and two more where it ends and something else begins."""
    muxer, track = Fmp4Muxer(), avc_track()
    muxer.header([track])
    stamps_us = (0, 1_000_000, 2_000_000, 2_040_000, 2_080_000)
    units = [picture(track, at_us, key=at_us <= 2_000_000) for at_us in stamps_us]
    chunks = feed(muxer, units) + muxer.flush()
    assert sum(chunk.duration_us for chunk in chunks) == 2_120_000
    assert samples(chunks, VIDEO)[-1].duration == us_to_ticks(40_000, 90_000)


def test_fmp4_same_description_again_keeps_the_header_object() -> None:
    muxer, track = Fmp4Muxer(), avc_track()
    header = muxer.header([track])
    chunks = feed(muxer, list(pictures(track, 30))) + muxer.flush()
    again = Track(track.id, avc_config())
    assert muxer.header([again]) is header
    chunks += feed(muxer, [picture(again, 2_000_000), picture(again, 3_000_000, key=True)])
    chunks += muxer.flush()
    assert {id(chunk.header) for chunk in chunks} == {id(header)}
    assert not any(chunk.discontinuity for chunk in chunks)
    assert samples(chunks, VIDEO)[-2].dts == 180_000


def test_fmp4_new_parameter_sets_make_a_new_header_and_a_discontinuity() -> None:
    muxer, track = Fmp4Muxer(), avc_track()
    header = muxer.header([track])
    feed(muxer, list(pictures(track, 30)))
    muxer.flush()
    other = avc_track("high_1080p50")
    assert muxer.header([other]) != header
    start_us = 5_000_000
    units = [picture(other, start_us + n * FRAME_US, key=n == 3) for n in range(20)]
    chunks = feed(muxer, units) + muxer.flush()
    assert [chunk.discontinuity for chunk in chunks] == [True, *[False] * (len(chunks) - 1)]
    assert chunks[0].key and chunks[0].dts_us == start_us + 3 * FRAME_US
    assert chunks[0].header != header


def test_fmp4_carries_the_first_track_of_each_kind_it_knows() -> None:
    muxer = Fmp4Muxer()
    g711 = Track(3, G711Config(Codec.PCMA))
    second = Track(4, avc_config())
    header = muxer.header([g711, aac_track(), second, hevc_track()])
    assert b"avc1" in header and b"mp4a" in header and b"hvc1" not in header
    assert feed(muxer, [sound(g711, 0), picture(avc_track(), 0, key=True)]) == []
    assert muxer.flush() == []


def test_fmp4_without_a_track_it_knows_is_unsupported() -> None:
    with pytest.raises(CodecUnsupported):
        Fmp4Muxer().header([Track(3, G711Config(Codec.PCMU))])


def test_fmp4_empty_units_and_an_empty_flush_make_nothing() -> None:
    muxer, track = Fmp4Muxer(), avc_track()
    muxer.header([track])
    assert muxer.flush() == []
    assert muxer.feed(AccessUnit(track, 0, 0, True, ())) == []
    assert muxer.flush() == []


@pytest.mark.parametrize("seed", range(40))
def test_fmp4_of_any_lawful_sequence_of_units_is_sound(seed: int) -> None:
    """Gaps, stalls, bursts, interruptions and new descriptions in any order; nothing gets lost."""
    dice = random.Random(seed)
    tracks = [
        (avc_track(), aac_track()),
        (avc_track(),),
        (opus_track(),),
        (hevc_track(), opus_track()),
    ]
    chosen = dice.choice(tracks)
    clocks = {track.id: dice.randrange(3_000_000) for track in chosen}
    muxer, chunks, sent = Fmp4Muxer(), [], []
    muxer.header(chosen)
    needs_key = chosen[0].kind == "video"
    for _ in range(400):
        track = dice.choice(chosen)
        clocks[track.id] += dice.choice([100, 1_000, 20_000, 33_333, 40_000, 300_000, 9_000_000])
        unit = sound(track, clocks[track.id])
        if track.kind == "video":
            unit = picture(
                track, clocks[track.id], key=dice.random() < 0.2, reorder_us=dice.randrange(90_000)
            )
        unit.discontinuity = dice.random() < 0.02
        if unit.discontinuity and track is chosen[0] and track.kind == "video":
            needs_key = True
        if track is chosen[0]:
            needs_key = needs_key and not unit.key
        if track is not chosen[0] or not needs_key:
            sent.append(unit)
        chunks += muxer.feed(unit)
        if dice.random() < 0.01:
            chunks += muxer.flush()
        if dice.random() < 0.005:
            chunks += muxer.flush()
            muxer.header(chosen)
    chunks += muxer.flush()
    for number, track in enumerate(chosen, 1):
        found = samples(chunks, number)
        mine = [unit for unit in sent if unit.track is track]
        assert len(found) == len(mine)
        for unit, sample in zip(mine, found, strict=True):
            expected = us_to_ticks(unit.dts_us, 90_000 if track.kind == "video" else 48_000)
            assert abs(sample.dts - expected) <= 150
            assert sample.duration > 0
        assert all(one.dts < other.dts for one, other in itertools.pairwise(found))


@pytest.mark.parametrize("has_video", [True, False])
def test_fmp4_chunk_tells_that_a_key_follows_it(has_video: bool) -> None:
    video, audio = avc_track(), aac_track()
    tracks = [video, audio] if has_video else [audio]
    streams = [sounds(audio, 140), *([pictures(video, 75)] if has_video else [])]
    chunks = mux(Fmp4Muxer(), tracks, interleaved(*streams))
    told = [one.before_key for one in chunks[:-2]]  # the last two come of its end
    assert told.count(True) >= 2
    assert told == [one.key for one in chunks[1:-1]]
