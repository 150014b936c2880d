"""The FLV muxer's chunks, headers and stamps, read back byte by byte."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest
from container_samples import (
    FRAME_US,
    aac_track,
    avc_config,
    avc_track,
    demux,
    hevc_track,
    interleaved,
    joined,
    mux,
    opus_track,
    picture,
    pictures,
    sound,
    sounds,
    tracks_of,
    units_of,
)

from appliance.containers.flv import TagType
from appliance.containers.flv_demuxer import FlvDemuxer
from appliance.containers.flv_muxer import LEAD_US, FlvMuxer
from appliance.containers.flv_tag_writer import metadata_body, tag_body
from appliance.errors import CodecUnsupported, MisuseError
from appliance.media.amf0 import decode
from appliance.media.g711 import G711Config
from appliance.media.track import Codec, Track
from appliance.media.unit import AccessUnit

HEADER_BYTES = 13  # with the first back pointer


def tags(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Type, time and body of each tag, with the back pointers checked."""
    while data:
        size = int.from_bytes(data[1:4], "big")
        time_ms = int.from_bytes(data[7:8] + data[4:7], "big")
        assert data[8:11] == b"\0\0\0"
        assert int.from_bytes(data[11 + size : 15 + size], "big") == 11 + size
        yield data[0], time_ms, data[11 : 11 + size]
        data = data[15 + size :]


@pytest.mark.parametrize(
    ("tracks", "flags"),
    [
        ((avc_track(), aac_track()), 0x05),
        ((avc_track(),), 0x01),
        ((aac_track(),), 0x04),
        ((opus_track(), hevc_track()), 0x05),
    ],
)
def test_flv_header_says_which_kinds_there_are(tracks: tuple[Track, ...], flags: int) -> None:
    header = FlvMuxer().header(tracks)
    assert header[:HEADER_BYTES] == b"FLV\x01" + bytes((flags,)) + b"\0\0\0\x09\0\0\0\0"


def test_flv_header_holds_metadata_and_sequence_headers() -> None:
    header = FlvMuxer().header((avc_track(), aac_track()))
    script, video, audio = tags(header[HEADER_BYTES:])
    assert [kind for kind, _, _ in (script, video, audio)] == [18, 9, 8]
    name, facts = decode(script[2])
    config = avc_config()
    assert name == "onMetaData"
    assert facts == {
        "videocodecid": 7,
        "width": config.width_px,
        "height": config.height_px,
        "framerate": config.fps,
        "audiocodecid": 10,
        "audiosamplerate": 48_000,
        "audiosamplesize": 16,
        "stereo": True,
    }
    assert video[2] == b"\x17\0\0\0\0" + config.to_avcc()
    assert audio[2] == b"\xaf\0\x11\x90"


def test_flv_metadata_writes_a_fourcc_as_number() -> None:
    _, facts = decode(metadata_body((hevc_track(), opus_track())))
    assert isinstance(facts, dict)
    assert facts["videocodecid"] == int.from_bytes(b"hvc1", "big")
    assert facts["audiocodecid"] == int.from_bytes(b"Opus", "big")


def test_flv_chunk_is_one_tag_and_key_at_keyframes_only() -> None:
    tracks = (avc_track(), aac_track())
    units = interleaved(pictures(tracks[0], 50), sounds(tracks[1], 90))
    chunks = mux(FlvMuxer(), tracks, units)
    assert len(chunks) == len(units)
    for unit, chunk in zip(units, chunks, strict=True):
        ((kind, _, _),) = tags(chunk.data)
        assert kind == (TagType.VIDEO if unit.track is tracks[0] else TagType.AUDIO)
        assert chunk.key == (unit.track is tracks[0] and unit.key)
        assert chunk.dts_us == unit.dts_us
        assert not chunk.discontinuity


def test_flv_chunk_of_audio_alone_is_always_key() -> None:
    track = aac_track()
    assert all(chunk.key for chunk in mux(FlvMuxer(), (track,), sounds(track, 10)))


def test_flv_chunk_lasts_as_long_as_the_step_before_it() -> None:
    track = avc_track()
    durations = [chunk.duration_us for chunk in mux(FlvMuxer(), (track,), pictures(track, 4))]
    assert durations == [0, FRAME_US, FRAME_US, FRAME_US]


def test_flv_chunks_share_one_header_until_the_tracks_change() -> None:
    muxer = FlvMuxer()
    first = muxer.header((avc_track(), aac_track()))
    (chunk,) = muxer.feed(picture(avc_track(), 0, key=True))
    assert chunk.header is first
    assert muxer.header((avc_track(), aac_track())) is first
    (chunk,) = muxer.feed(picture(avc_track(), FRAME_US))
    assert chunk.header is first and not chunk.discontinuity


def test_flv_tracks_that_change_are_described_in_band() -> None:
    muxer = FlvMuxer()
    before = muxer.header((avc_track(), aac_track()))
    muxer.feed(picture(avc_track(), 0, key=True))
    changed = avc_track("high_1080p50")
    after = muxer.header((changed, aac_track()))
    assert after != before
    (chunk,) = muxer.feed(picture(changed, FRAME_US, key=True))
    assert chunk.header is after and chunk.discontinuity and chunk.key
    found = list(tags(chunk.data))
    assert [kind for kind, _, _ in found] == [9, 8, 9]
    assert found[0][2] == b"\x17\0\0\0\0" + avc_config("high_1080p50").to_avcc()
    assert len({time_ms for _, time_ms, _ in found}) == 1
    (chunk,) = muxer.feed(picture(changed, 2 * FRAME_US))
    assert len(list(tags(chunk.data))) == 1 and not chunk.discontinuity


def test_flv_unit_that_was_interrupted_marks_its_chunk() -> None:
    muxer = FlvMuxer()
    muxer.header((avc_track(),))
    unit = picture(avc_track(), 0, key=True)
    unit.discontinuity = True
    assert muxer.feed(unit)[0].discontinuity


def test_flv_takes_the_first_track_of_each_kind_that_it_can_carry() -> None:
    wide = Track(3, G711Config(Codec.PCMA, 16_000))
    second = Track(4, avc_config())
    muxer = FlvMuxer()
    muxer.header((wide, avc_track(), second, aac_track()))
    assert not muxer.feed(sound(wide, 0))
    assert not muxer.feed(picture(second, 0, key=True))
    assert muxer.feed(picture(avc_track(), 0, key=True))
    assert muxer.feed(sound(aac_track(), 0))


def test_flv_without_a_track_it_can_carry_is_refused() -> None:
    track = Track(1, G711Config(Codec.PCMA, 16_000))
    with pytest.raises(CodecUnsupported):
        FlvMuxer().header((track,))
    with pytest.raises(MisuseError):
        tag_body(AccessUnit(Track(1, _Unknown()), 0, 0, True, (b"x",)))


class _Unknown:
    """A codec that is not there yet."""

    kind = avc_config().kind
    codec = cast("Codec", "vvc")
    rfc6381 = "vvc1"


@pytest.mark.parametrize(
    ("reorder_us", "written"),
    [(0, "000000"), (40_000, "000028"), (80_499, "000050"), (-1000, "ffffff"), (10**11, "7fffff")],
)
def test_flv_composition_time_is_signed_and_bounded(reorder_us: int, written: str) -> None:
    muxer = FlvMuxer()
    muxer.header((avc_track(),))
    (chunk,) = muxer.feed(picture(avc_track(), 0, key=True, reorder_us=reorder_us))
    ((_, _, body),) = tags(chunk.data)
    assert body[:2] == b"\x17\x01"
    assert body[2:5].hex() == written


def test_flv_hevc_without_reordering_takes_the_short_form() -> None:
    muxer = FlvMuxer()
    muxer.header((hevc_track(),))
    bodies = [
        next(tags(muxer.feed(unit)[0].data))[2]
        for unit in (
            picture(hevc_track(), 0, key=True),
            picture(hevc_track(), FRAME_US, reorder_us=FRAME_US),
        )
    ]
    assert bodies[0][:5] == b"\x93hvc1"
    assert bodies[1][:8] == b"\xa1hvc1\0\0\x28"


def test_flv_stamps_count_from_the_first_unit_and_cross_24_and_32_bits() -> None:
    track = avc_track()
    muxer = FlvMuxer()
    muxer.header((track,))
    origin_us = 7_000_000_400
    at_ms = (0, 1, 0xFFFFFF - 1001, 0x1000000, 0xFFFFFFFF - 1000, 1 << 32)
    found = []
    for time_ms in at_ms:
        (chunk,) = muxer.feed(picture(track, origin_us + time_ms * 1000, key=True))
        found += [time_ms for _, time_ms, _ in tags(chunk.data)]
    assert found == [(LEAD_US // 1000 + time_ms) & 0xFFFFFFFF for time_ms in at_ms]


def test_flv_audio_a_little_ahead_of_the_first_picture_keeps_its_time() -> None:
    tracks = (avc_track(), aac_track())
    units = [picture(tracks[0], 500_000, key=True), sound(tracks[1], 300_000)]
    found = units_of(demux(FlvDemuxer(), joined(mux(FlvMuxer(), tracks, units))))
    assert found[1].dts_us - found[0].dts_us == -200_000


@pytest.mark.parametrize("codec", [Codec.PCMA, Codec.PCMU])
@pytest.mark.parametrize("channels", [1, 2])
def test_flv_g711_is_read_as_it_was_written(codec: Codec, channels: int) -> None:
    track = Track(2, G711Config(codec, 8000, channels))
    data = joined(mux(FlvMuxer(), (track,), [sound(track, 0, b"\xd5" * 160)]))
    events = demux(FlvDemuxer(), data)
    assert tracks_of(events)[0][0].config == track.config
    assert units_of(events)[0].parts[0] == b"\xd5" * 160
