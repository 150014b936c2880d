"""The FLV demuxer: every form of tag, and what hostile and broken peers send."""

from __future__ import annotations

import re

import pytest
from container_samples import (
    IDR,
    SLICE,
    Event,
    aac_track,
    avc_config,
    avc_frame_body,
    avc_header_body,
    avc_track,
    demux,
    flv,
    hevc_config,
    hevc_track,
    interleaved,
    joined,
    mux,
    opus_track,
    pictures,
    sounds,
    tracks_of,
    units_of,
)
from mutation import assert_only_peer_error, corpus

from appliance.containers.flv import (
    MAX_MEDIA_TAG_BYTES,
    MAX_SCRIPT_TAG_BYTES,
    TagType,
    file_header,
    tag,
)
from appliance.containers.flv_demuxer import FlvDemuxer
from appliance.containers.flv_muxer import FlvMuxer
from appliance.containers.flv_tag_parser import MAX_MOD_EX, parse_audio_tag, parse_video_tag
from appliance.containers.flv_tag_reader import (
    AUDIO_TRACK_ID,
    MAX_DAMAGED_IN_ROW,
    MAX_UNSUPPORTED_TAGS,
    VIDEO_TRACK_ID,
    FlvTagReader,
)
from appliance.errors import PeerError
from appliance.media.opus import OpusConfig
from appliance.media.track import Track

VIDEO, AUDIO, SCRIPT = TagType.VIDEO, TagType.AUDIO, TagType.SCRIPT
ASC = b"\x11\x90"
AVC = avc_header_body()


def read(*tags: tuple[TagType, int, bytes]) -> tuple[FlvDemuxer, list[Event]]:
    demuxer = FlvDemuxer()
    return demuxer, demux(demuxer, flv(*tags))


@pytest.mark.parametrize(
    "tracks",
    [
        (avc_track(), aac_track()),
        (hevc_track(), opus_track()),
        (avc_track(),),
        (opus_track(),),
    ],
)
@pytest.mark.parametrize("step", [None, 1, 7, 4096])
def test_flv_is_read_as_it_was_written_however_it_is_cut(
    tracks: tuple[Track, ...], step: int | None
) -> None:
    streams = [pictures(t, 30) if t.kind == "video" else sounds(t, 50) for t in tracks]
    units = interleaved(*streams)
    events = demux(FlvDemuxer(), joined(mux(FlvMuxer(), tracks, units)), step)
    assert [[t.config for t in found] for found in tracks_of(events)] == [
        [t.config for t in tracks]
    ]
    found = units_of(events)
    assert [(u.key, u.parts) for u in found] == [(u.key, u.parts) for u in units]
    shift_us = found[0].dts_us - units[0].dts_us
    for ours, read_back in zip(units, found, strict=True):
        assert abs(read_back.dts_us - ours.dts_us - shift_us) <= 500
        assert abs(read_back.pts_us - ours.pts_us - shift_us) <= 500


def test_flv_legacy_hevc_is_read() -> None:
    header = b"\x1c\0\0\0\0" + hevc_config().to_hvcc()
    frame = b"\x1c\x01\0\0\x28\0\0\0\x05\x26\x01abc"
    _, events = read((VIDEO, 0, header), (VIDEO, 40, frame))
    (unit,) = units_of(events)
    assert tracks_of(events)[0][0].config == hevc_config()
    assert unit.key and unit.parts == (b"\x26\x01abc",)
    assert unit.pts_us - unit.dts_us == 40_000


@pytest.mark.parametrize("length_bytes", [1, 2, 4])
def test_flv_lengths_of_nal_units_are_as_the_record_says(length_bytes: int) -> None:
    record = bytearray(avc_config().to_avcc())
    record[4] = 0xFC | length_bytes - 1
    nal = IDR[:60]
    frame = b"\x17\x01\0\0\0" + len(nal).to_bytes(length_bytes, "big") + nal
    _, events = read((VIDEO, 0, avc_header_body(bytes(record))), (VIDEO, 0, frame))
    assert units_of(events)[0].parts == (nal,)


def test_flv_composition_time_may_be_negative() -> None:
    frame = avc_frame_body(IDR, composition_ms=-40)
    _, events = read((VIDEO, 0, AVC), (VIDEO, 1000, frame))
    (unit,) = units_of(events)
    assert (unit.dts_us, unit.pts_us) == (1_000_000, 960_000)


def test_flv_stamps_go_on_across_24_and_32_bits() -> None:
    at_ms = [0xFFFFFF, 0x1000000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0x00000010, 0x00000008]
    frames = [(VIDEO, time_ms, avc_frame_body(IDR)) for time_ms in at_ms]
    _, events = read((VIDEO, at_ms[0], AVC), *frames)
    found = [unit.dts_us // 1000 for unit in units_of(events)]
    assert found == [*at_ms[:5], 0x100000010, 0x100000008]


def test_flv_sequence_header_that_is_repeated_changes_nothing() -> None:
    audio = b"\xaf\0" + ASC
    _, events = read(
        (VIDEO, 0, AVC),
        (AUDIO, 0, audio),
        (VIDEO, 0, avc_frame_body(IDR)),
        (VIDEO, 40, AVC),
        (AUDIO, 40, audio),
        (VIDEO, 40, avc_frame_body(SLICE, key=False)),
    )
    assert len(tracks_of(events)) == 1
    first, second = units_of(events)
    assert first.track is second.track


def test_flv_sequence_header_that_differs_makes_a_new_track_of_the_same_id() -> None:
    other = avc_header_body(avc_config("high_1080p50").to_avcc())
    frame = avc_frame_body(IDR)
    _, events = read((VIDEO, 0, AVC), (VIDEO, 0, frame), (VIDEO, 40, other), (VIDEO, 40, frame))
    (first,), (second,) = tracks_of(events)
    assert first.id == second.id == VIDEO_TRACK_ID
    assert second.config == avc_config("high_1080p50")
    assert [unit.track for unit in units_of(events)] == [first, second]


def test_flv_parameter_sets_in_a_frame_make_a_new_track() -> None:
    config = avc_config("high_1080p50")
    frame = avc_frame_body(*config.sps, *config.pps, IDR)
    _, events = read((VIDEO, 0, AVC), (VIDEO, 0, avc_frame_body(IDR)), (VIDEO, 40, frame))
    assert [tracks[0].config for tracks in tracks_of(events)] == [avc_config(), config]
    assert units_of(events)[1].parts == (IDR,)


def test_flv_second_kind_that_comes_late_is_announced_with_the_first() -> None:
    _, events = read(
        (VIDEO, 0, AVC),
        (VIDEO, 0, avc_frame_body(IDR)),
        (AUDIO, 20, b"\xaf\0" + ASC),
        (AUDIO, 20, b"\xaf\x01raw"),
    )
    assert [[t.id for t in tracks] for tracks in tracks_of(events)] == [
        [VIDEO_TRACK_ID],
        [VIDEO_TRACK_ID, AUDIO_TRACK_ID],
    ]


def test_flv_key_flag_that_lies_is_not_believed() -> None:
    frames = (avc_frame_body(SLICE, key=True), avc_frame_body(IDR, key=False))
    _, events = read((VIDEO, 0, AVC), *((VIDEO, 40 * i, body) for i, body in enumerate(frames)))
    assert [unit.key for unit in units_of(events)] == [False, True]


def test_flv_metadata_is_kept_behind_any_command_name() -> None:
    plain = b"\x02\0\x0aonMetaData\x08\0\0\0\0\0\x05width\0\x40\x84\0\0\0\0\0\0\0\0\x09"
    for body in (plain, b"\x02\0\x0d@setDataFrame" + plain):
        demuxer, _ = read((SCRIPT, 0, body))
        assert demuxer.tags.metadata == {"width": 640.0}
    demuxer, _ = read((SCRIPT, 0, plain[:-3]))
    assert demuxer.tags.ignored == {"damaged script": 1}


# -- Enhanced RTMP -----------------------------------------------------------------------------

OPUS_HEAD = OpusConfig().to_opus_head()


def test_enhanced_avc_and_aac_are_read() -> None:
    _, events = read(
        (VIDEO, 0, b"\x90avc1" + avc_config().to_avcc()),
        (AUDIO, 0, b"\x90mp4a" + ASC),
        (VIDEO, 40, b"\x91avc1\xff\xff\xd8" + avc_frame_body(IDR)[5:]),
        (VIDEO, 80, b"\xa3avc1" + avc_frame_body(SLICE)[5:]),
        (AUDIO, 80, b"\x91mp4araw"),
    )
    first, second, third = units_of(events)
    assert (first.dts_us, first.pts_us, first.key) == (40_000, 0, True)
    assert (second.dts_us, second.pts_us, second.key) == (80_000, 80_000, False)
    assert third.parts == (b"raw",)


def mod_ex(packet: int, data: bytes, kind: int = 0) -> bytes:
    """A modifier and the packet type behind it."""
    size = bytes((len(data) - 1,)) if len(data) < 256 else b"\xff" + (len(data) - 1).to_bytes(2)
    return size + data + bytes((kind << 4 | packet,))


@pytest.mark.parametrize(
    ("modifiers", "offset_us"),
    [
        (mod_ex(1, (999_999).to_bytes(3, "big")), 999),
        (mod_ex(7, b"x" * 300, kind=5) + mod_ex(1, (500_000).to_bytes(3, "big")), 500),
        (mod_ex(1, b"\xff\xff\xff"), 999),
        (mod_ex(1, b"\x01"), 0),
        (mod_ex(1, b"\0\x10\0", kind=3), 0),
    ],
)
def test_enhanced_nanosecond_offset_is_added(modifiers: bytes, offset_us: int) -> None:
    _, events = read(
        (AUDIO, 0, b"\x90Opus" + OPUS_HEAD), (AUDIO, 20, b"\x97" + modifiers + b"Opus\xf8raw")
    )
    (unit,) = units_of(events)
    assert unit.dts_us == unit.pts_us == 20_000 + offset_us
    assert unit.parts == (b"\xf8raw",)


def test_enhanced_modifiers_are_read_to_the_limit_and_refused_beyond() -> None:
    chain = mod_ex(7, b"x", kind=1) * (MAX_MOD_EX - 2)
    end = mod_ex(1, b"x", kind=1) + b"Opus\xf8"
    assert bytes(parse_audio_tag(b"\x97" + chain + end)[0].data) == b"\xf8"
    for count in (MAX_MOD_EX, 1000):
        with pytest.raises(PeerError, match="modifiers"):
            parse_audio_tag(b"\x97" + mod_ex(7, b"x", kind=1) * count + end)


def sized(wire_track: int, data: bytes) -> bytes:
    return bytes((wire_track,)) + len(data).to_bytes(3, "big") + data


MULTITRACK_OPUS = {
    "one track": (b"\x01Opus\x05\xf8one", {"further track": 1}),
    "many tracks": (
        b"\x11Opus" + sized(5, b"\xf8one") + sized(6, b"\xf8two"),
        {"further track": 2},
    ),
    "many codecs": (
        b"\x21Opus" + sized(5, b"\xf8one") + b"spex" + sized(6, b"\xf8two"),
        {"further track": 1, "spex": 1},
    ),
}


@pytest.mark.parametrize("name", MULTITRACK_OPUS)
def test_enhanced_multitrack_uses_the_first_track_and_counts_others(name: str) -> None:
    frames, ignored = MULTITRACK_OPUS[name]
    header = b"\x95\x00Opus\x05" + OPUS_HEAD
    other = b"\x95\x00Opus\x06" + OPUS_HEAD
    demuxer, events = read((AUDIO, 0, header), (AUDIO, 0, other), (AUDIO, 20, b"\x95" + frames))
    (unit,) = units_of(events)
    assert unit.parts == (b"\xf8one",)
    assert demuxer.tags.ignored == ignored


def test_enhanced_multitrack_video_carries_composition_times() -> None:
    config, frame = avc_config().to_avcc(), avc_frame_body(IDR, composition_ms=40)[2:]
    _, events = read(
        (VIDEO, 0, b"\x96\x10avc1" + sized(0, config) + sized(1, config)),
        (VIDEO, 0, b"\x96\x11avc1" + sized(0, frame) + sized(1, frame)),
    )
    (unit,) = units_of(events)
    assert unit.pts_us == 40_000 and unit.parts == (IDR,)


UNSUPPORTED = {
    "vp08": (VIDEO, b"\x91vp08frame"),
    "vvc1": (VIDEO, b"\x91vvc1\0\0\0frame"),
    "spex": (AUDIO, b"\xb6frame"),
    "h263": (VIDEO, b"\x12frame"),
    "unknown codec": (VIDEO, b"\x91????frame"),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_flv_codec_that_is_not_carried_is_counted_beside_one_that_is(name: str) -> None:
    kind, body = UNSUPPORTED[name]
    other = (VIDEO, 0, AVC), (VIDEO, 0, avc_frame_body(IDR))
    if kind is VIDEO:
        other = (AUDIO, 0, b"\xaf\0" + ASC), (AUDIO, 0, b"\xaf\x01raw")
    demuxer, events = read((kind, 0, body), *other, *[(kind, 0, body)] * (MAX_UNSUPPORTED_TAGS + 9))
    assert len(units_of(events)) == 1
    assert demuxer.tags.ignored == {name: MAX_UNSUPPORTED_TAGS + 10}
    assert demuxer.tags.take_rejects() == {name: MAX_UNSUPPORTED_TAGS + 10}
    assert not demuxer.tags.take_rejects()


def test_flv_damage_is_a_reject_and_what_every_encoder_sends_is_none() -> None:
    damaged = VIDEO, 40, avc_frame_body(IDR)[:-1]
    end_of_sequence = VIDEO, 60, b"\x17\x02\0\0\0"
    demuxer, _ = read((VIDEO, 0, AVC), (VIDEO, 0, avc_frame_body(IDR)), damaged, end_of_sequence)
    assert demuxer.tags.ignored == {"no media": 1}
    assert demuxer.tags.take_rejects() == {"damaged frame": 1}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_flv_codec_that_is_not_carried_is_refused_when_it_is_alone(name: str) -> None:
    kind, body = UNSUPPORTED[name]
    read(*[(kind, 0, body)] * MAX_UNSUPPORTED_TAGS)
    with pytest.raises(PeerError, match=re.escape(f"no codec that can be carried: {name}")):
        read(*[(kind, 0, body)] * (MAX_UNSUPPORTED_TAGS + 1))


def test_enhanced_commands_metadata_and_ends_are_passed_over() -> None:
    bodies = (
        b"\xd1\x00",
        b"\xd4hvc1\x02\0\0",
        b"\x92hvc1",
        b"\x95av01",
        b"\x52\x00",
        b"\x17\x02\0\0\0",
    )
    demuxer, events = read(*((VIDEO, 0, body) for body in bodies))
    assert events == [] and demuxer.tags.damaged == 0


# -- Hostile input -----------------------------------------------------------------------------

RECORD = avc_config().to_avcc()
BAD_HEADERS = {
    "version 0": (VIDEO, avc_header_body(b"\0" + RECORD[1:])),
    "31 SPS of 65535 bytes": (VIDEO, avc_header_body(RECORD[:5] + b"\xff\xff\xff" + RECORD[8:])),
    "no SPS": (VIDEO, avc_header_body(RECORD[:5] + b"\xe0" + RECORD[-10:])),
    "255 PPS": (VIDEO, avc_header_body(RECORD[:5] + b"\xe1\0\x05gggg\xff\xff")),
    "hvcC of 255 arrays": (VIDEO, b"\x90hvc1\x01" + b"\0" * 21 + b"\xff" + b"\x20\xff\xff" * 4),
    "ASC of a reserved rate": (AUDIO, b"\xaf\0\x17\x90"),
    "ASC cut off": (AUDIO, b"\xaf\0\x17"),
    "ASC of type 31": (AUDIO, b"\xaf\0\xff"),
    "ASC without channels": (AUDIO, b"\xaf\0\x11\x80"),
    "OpusHead of another magic": (AUDIO, b"\x90OpusOpusHeaX" + OPUS_HEAD[8:]),
    "OpusHead cut off": (AUDIO, b"\x90Opus" + OPUS_HEAD[:-1]),
}


@pytest.mark.parametrize("name", BAD_HEADERS)
def test_flv_codec_configuration_that_cannot_be_is_refused(name: str) -> None:
    kind, body = BAD_HEADERS[name]
    with pytest.raises(PeerError):
        read((kind, 0, body))


def test_flv_codec_configuration_cut_anywhere_is_refused() -> None:
    for size in range(6, len(AVC) - 1):
        with pytest.raises(PeerError):
            read((VIDEO, 0, AVC[:size]))
    hevc = hevc_config().to_hvcc()
    for size in range(1, len(hevc) - 1):
        with pytest.raises(PeerError):
            read((VIDEO, 0, b"\x90hvc1" + hevc[:size]))


def test_flv_empty_sequence_header_waits_for_a_better_one() -> None:
    demuxer, events = read(
        (AUDIO, 0, b"\xaf\0"), (AUDIO, 0, b"\xaf\0" + ASC), (AUDIO, 0, b"\xaf\x01raw")
    )
    assert demuxer.tags.ignored == {"empty sequence header": 1}
    assert len(units_of(events)) == 1


DROPPED_FRAMES = {
    "NAL unit of 0 bytes": b"\0\0\0\0",
    "delimiter only": b"\0\0\0\x02\x09\xf0",
    "nothing": b"",
}
DAMAGED_FRAMES = {
    "100000 NAL units of 0 bytes": b"\0\0\0\0" * 100_000,
    "NAL unit of 2^32 - 1 bytes": b"\xff\xff\xff\xff\x65",
    "NAL unit one byte beyond": b"\0\0\0\x03\x65\x88",
    "length cut off": b"\0\0\0",
    "Annex B": b"\0\0\0\x01\x65\x88\x84\0\0\0\x01\x41",
    "100000 NAL units of 1 byte": b"\0\0\0\x01\x41" * 100_000,
}


@pytest.mark.parametrize("name", DROPPED_FRAMES)
def test_flv_frame_without_a_picture_is_dropped_and_counted(name: str) -> None:
    frame = b"\x17\x01\0\0\0" + DROPPED_FRAMES[name]
    demuxer, events = read((VIDEO, 0, AVC), (VIDEO, 0, frame), (VIDEO, 40, avc_frame_body(IDR)))
    assert len(units_of(events)) == 1
    assert demuxer.tags.ignored == {"empty": 1}


@pytest.mark.parametrize("name", DAMAGED_FRAMES)
def test_flv_damaged_frame_is_dropped_and_counted_until_nothing_else_comes(name: str) -> None:
    frame = b"\x17\x01\0\0\0" + DAMAGED_FRAMES[name]
    demuxer, events = read((VIDEO, 0, AVC), (VIDEO, 0, frame), (VIDEO, 40, avc_frame_body(IDR)))
    assert len(units_of(events)) == 1
    assert demuxer.tags.damaged == 1
    reader = FlvTagReader()
    reader.receive(VIDEO, 0, AVC)
    for _ in range(MAX_DAMAGED_IN_ROW):
        assert reader.receive(VIDEO, 0, frame) == []
    with pytest.raises(PeerError, match="in a row"):
        reader.receive(VIDEO, 0, frame)


def test_flv_large_sei_goes_along() -> None:
    sei = b"\x06" + b"\x05" + b"\xff" * 4112 + b"\x10" + b"s" * (1 << 20)
    _, events = read((VIDEO, 0, AVC), (VIDEO, 0, avc_frame_body(sei, IDR)))
    assert units_of(events)[0].parts == (sei, IDR)


def test_flv_frame_before_its_configuration_is_dropped_and_counted() -> None:
    demuxer, events = read((VIDEO, 0, avc_frame_body(IDR)), (AUDIO, 0, b"\xaf\x01raw"))
    assert events == []
    assert demuxer.tags.ignored == {"before its sequence header": 2}


def test_flv_configuration_that_changes_with_every_frame_is_followed() -> None:
    headers = [avc_header_body(avc_config(name).to_avcc()) for name in ("baseline", "intra")]
    tags = []
    for number in range(100):
        tags += [(VIDEO, number, headers[number % 2]), (VIDEO, number, avc_frame_body(IDR))]
    _, events = read(*tags)
    assert len(tracks_of(events)) == len(units_of(events)) == 100


def test_flv_empty_tags_are_passed_over() -> None:
    assert read((VIDEO, 0, b""), (AUDIO, 0, b""), (SCRIPT, 0, b""))[1] == []
    assert parse_video_tag(b"") == parse_audio_tag(b"") == []


TRUNCATED = {
    "AVC tag without composition time": (VIDEO, b"\x17\x01\0\0"),
    "AAC tag of one byte": (AUDIO, b"\xaf"),
    "FourCC cut off": (VIDEO, b"\x91hvc"),
    "composition time cut off": (VIDEO, b"\x91hvc1\0\0"),
    "modifier longer than the tag": (VIDEO, b"\x97\xff\xff\xffxx"),
    "multitrack of type 3": (VIDEO, b"\x96\x31hvc1\0"),
    "track longer than the tag": (VIDEO, b"\x96\x11hvc1\0\0\0\xffxx"),
    "track longer than the audio tag": (AUDIO, b"\x95\x11Opus\0\xff\xff\xff\xf8"),
    "more tracks than ids": (AUDIO, b"\x95\x11Opus" + sized(1, b"\xf8") * 1000),
}


@pytest.mark.parametrize("name", TRUNCATED)
def test_flv_tag_that_breaks_its_own_form_is_refused(name: str) -> None:
    kind, body = TRUNCATED[name]
    with pytest.raises(PeerError):
        read((kind, 0, body))


def test_flv_back_pointers_are_not_believed() -> None:
    data = flv((VIDEO, 0, AVC))[:-4] + b"\xde\xad\xbe\xef" + tag(VIDEO, 0, avc_frame_body(IDR))
    assert len(units_of(demux(FlvDemuxer(), data))) == 1


@pytest.mark.parametrize("first", [0xFF, 0x29, 0x49, 0x89])
def test_flv_reserved_or_encrypted_tag_is_refused(first: int) -> None:
    with pytest.raises(PeerError, match="tag type"):
        demux(FlvDemuxer(), flv() + bytes((first,)) + b"\0" * 10)


def test_flv_tag_of_an_unknown_type_is_passed_over() -> None:
    data = flv() + b"\x0f" + tag(VIDEO, 0, b"whatever")[1:] + flv((VIDEO, 0, AVC))[13:]
    demuxer = FlvDemuxer()
    assert demux(demuxer, data) == []
    assert demuxer.tags.ignored == {"tag type": 1}


NOT_FLV = {
    "other magic": b"FLX\x01\x05\0\0\0\x09\0\0\0\0",
    "other version": b"FLV\x02\x05\0\0\0\x09\0\0\0\0",
    "header of 8 bytes": b"FLV\x01\x05\0\0\0\x08\0\0\0\0",
    "header of 4 GiB": b"FLV\x01\x05\xff\xff\xff\xff\0\0\0\0",
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("data", NOT_FLV.values(), ids=NOT_FLV.keys())
def test_flv_of_another_form_is_refused(data: bytes) -> None:
    with pytest.raises(PeerError):
        demux(FlvDemuxer(), data)


def test_flv_header_that_is_longer_is_passed_over() -> None:
    data = b"FLV\x01\x05\0\0\x04\0" + b"?" * (1024 - 9) + flv((VIDEO, 0, AVC))[9:]
    assert demux(FlvDemuxer(), data, 100) == []


@pytest.mark.parametrize(
    ("kind", "limit"), [(VIDEO, MAX_MEDIA_TAG_BYTES), (SCRIPT, MAX_SCRIPT_TAG_BYTES)]
)
def test_flv_tag_is_read_to_its_limit_and_refused_beyond_before_it_comes(
    kind: TagType, limit: int
) -> None:
    demux(FlvDemuxer(), flv((kind, 0, b"\x52" * limit)))
    demuxer = FlvDemuxer()
    demuxer.receive(file_header(has_audio=True, has_video=True))
    with pytest.raises(PeerError, match="at most"):
        demuxer.receive(bytes((kind,)) + (limit + 1).to_bytes(3, "big") + b"\0" * 7)


def test_flv_that_ends_anywhere_gives_what_was_complete() -> None:
    whole = flv((VIDEO, 0, AVC), (VIDEO, 0, avc_frame_body(IDR)), (VIDEO, 40, avc_frame_body(IDR)))
    counts = [len(units_of(demux(FlvDemuxer(), whole[:size]))) for size in range(len(whole) + 1)]
    assert counts == sorted(counts) and counts[-1] == 2


def test_flv_mutants_raise_only_peer_error() -> None:
    assert_only_peer_error(lambda data: demux(FlvDemuxer(), data), corpus("flv"))


def test_flv_tag_mutants_raise_only_peer_error() -> None:
    bodies = [
        AVC,
        avc_frame_body(IDR, SLICE),
        b"\xaf\0" + ASC,
        b"\x97" + mod_ex(1, b"abc") + b"Opus",
    ]
    bodies += [b"\x95" + body for body, _ in MULTITRACK_OPUS.values()]
    bodies += [b"\x90hvc1" + hevc_config().to_hvcc(), b"\x96\x11avc1" + sized(0, RECORD)]

    def parse(body: bytes) -> None:
        for kind in (VIDEO, AUDIO, SCRIPT):
            reader = FlvTagReader()
            reader.receive(VIDEO, 0, AVC)
            reader.receive(kind, 0, body)

    assert_only_peer_error(parse, bodies)
