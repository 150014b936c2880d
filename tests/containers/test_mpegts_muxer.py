"""The MPEG-TS muxer's packets, taken apart here, and its chunks."""

from __future__ import annotations

from collections import defaultdict

import pytest
from container_samples import (
    AAC_US,
    FRAME_US,
    IDR,
    SLICE,
    Packet,
    aac_track,
    avc_config,
    avc_track,
    demux,
    hevc_config,
    hevc_track,
    interleaved,
    joined,
    mux,
    opus_track,
    packets,
    picture,
    pictures,
    sound,
    sounds,
    tracks_of,
    units_of,
)

from appliance.containers.mpegts import PACKET_BYTES, crc32_mpeg
from appliance.containers.mpegts_demuxer import MAX_STREAMS, MpegTsDemuxer
from appliance.containers.mpegts_lanes import DECODE_DELAY_US, MAX_ADTS_FRAME_BYTES
from appliance.containers.mpegts_muxer import (
    AUDIO_PID,
    MAX_AUDIO_TRACKS,
    MAX_CHUNK_BYTES,
    MAX_SILENCE_US,
    PMT_PID,
    VIDEO_PID,
    MpegTsMuxer,
    carried_tracks,
)
from appliance.containers.mpegts_packets import PacketWriter, adaptation_field
from appliance.errors import CodecUnsupported
from appliance.media.aac import AacConfig
from appliance.media.g711 import G711Config
from appliance.media.opus import OpusConfig
from appliance.media.track import Track
from appliance.media.unit import AccessUnit, Chunk

BOTH = (avc_track(), aac_track())


def two_kinds(frames: int = 75, start_us: int = 0) -> list[AccessUnit]:
    count = round(frames * FRAME_US / AAC_US)
    video, audio = pictures(BOTH[0], frames, start_us=start_us), sounds(BOTH[1], count, start_us)
    return interleaved(video, audio)


def payloads(found: list[Packet], pid: int) -> list[bytes]:
    """The PES packets or sections of one PID."""
    pieces: list[bytes] = []
    for packet in found:
        if packet.pid == pid and packet.starts:
            pieces.append(packet.payload)
        elif packet.pid == pid:
            pieces[-1] += packet.payload
    return pieces


def pmt_streams(found: list[Packet]) -> list[dict[int, int]]:
    """Each PMT's stream types by PID."""
    maps = []
    for section in payloads(found, PMT_PID):
        length = int.from_bytes(section[2:4], "big") & 0xFFF
        assert crc32_mpeg(section[1 : 4 + length]) == 0
        at, end, streams = 13, length, {}
        while at < end:
            streams[int.from_bytes(section[at + 1 : at + 3], "big") & 0x1FFF] = section[at]
            at += 5 + (int.from_bytes(section[at + 3 : at + 5], "big") & 0xFFF)
        maps.append(streams)
    return maps


def assert_counters_go_on(found: list[Packet]) -> None:
    newest: dict[int, int] = {}
    for packet in found:
        step = 1 if packet.payload else 0
        if packet.pid in newest:
            assert packet.counter == (newest[packet.pid] + step) % 16
        newest[packet.pid] = packet.counter


# -- packets -----------------------------------------------------------------------------------


@pytest.mark.parametrize("field", [b"", adaptation_field(0x40), adaptation_field(0x40, 123_456)])
def test_ts_payload_of_every_size_is_cut_and_stuffed_exactly(field: bytes) -> None:
    for size in [*range(1, 400), 184 * 64, 184 * 65 + 1, 184 * 200 + 183]:
        writer = PacketWriter(VIDEO_PID)
        out: list[bytes] = []
        payload = bytes(number % 251 for number in range(size))
        writer.write(out, payload, field)
        found = packets(b"".join(out))
        assert b"".join(packet.payload for packet in found) == payload
        assert [packet.starts for packet in found] == [True] + [False] * (len(found) - 1)
        assert [packet.counter for packet in found] == [n % 16 for n in range(len(found))]
        assert (found[0].adaptation or b"").startswith(field)
        assert all(set(p.adaptation or b"") <= {0, 0xFF} for p in found[1:])
        assert len(found) == -(-(size + len(field) + bool(field)) // 184)


def test_ts_crc_is_that_of_the_specification() -> None:
    assert crc32_mpeg(b"123456789") == 0x0376E6E7


# -- chunks ------------------------------------------------------------------------------------


def test_ts_key_chunks_begin_with_tables_and_open_at_each_keyframe() -> None:
    chunks = mux(MpegTsMuxer(), BOTH, two_kinds())
    assert [c.dts_us for c in chunks if c.key] == [0, 25 * FRAME_US, 50 * FRAME_US]
    for chunk in chunks:
        assert chunk.header == b"" and not chunk.discontinuity
        assert len(chunk.data) % PACKET_BYTES == 0
        if chunk.key:
            found = packets(chunk.data)
            assert [packet.pid for packet in found[:2]] == [0, PMT_PID]
            assert pmt_streams(found) == [{VIDEO_PID: 0x1B, AUDIO_PID: 0x0F}]
            first_video = next(packet for packet in found if packet.pid == VIDEO_PID)
            assert first_video.flags & 0x40  # random_access_indicator


def test_ts_chunks_last_200_ms_and_leave_no_gap() -> None:
    chunks = mux(MpegTsMuxer(), BOTH, two_kinds())
    assert {chunk.duration_us for chunk in chunks} == {200_000}
    for chunk, following in zip(chunks, chunks[1:], strict=False):
        assert chunk.dts_us + chunk.duration_us == following.dts_us


def test_ts_chunk_tells_that_a_key_follows_it() -> None:
    chunks = mux(MpegTsMuxer(), BOTH, two_kinds())
    told = [one.before_key for one in chunks[:-1]]
    assert told.count(True) == 2
    assert told == [one.key for one in chunks[1:]]


def test_ts_interval_is_what_was_asked_for() -> None:
    chunks = mux(MpegTsMuxer(interval_us=500_000), BOTH, two_kinds())
    assert [c.duration_us for c in chunks] == [520_000, 480_000] * 3


def test_ts_continuity_counters_go_on_across_chunks_and_descriptions() -> None:
    muxer = MpegTsMuxer()
    first = mux(muxer, BOTH, two_kinds())
    second = mux(muxer, (hevc_track(),), pictures(hevc_track(), 50, start_us=10**7))
    assert_counters_go_on(packets(joined(first) + joined(second)))


def test_ts_tables_list_the_tracks_that_are_there_and_no_others() -> None:
    cases: list[tuple[tuple[Track, ...], dict[int, int]]] = [
        ((avc_track(),), {VIDEO_PID: 0x1B}),
        ((aac_track(),), {AUDIO_PID: 0x0F}),
        ((hevc_track(), opus_track()), {VIDEO_PID: 0x24, AUDIO_PID: 0x06}),
        ((Track(9, G711Config()), avc_track()), {VIDEO_PID: 0x1B}),
    ]
    for tracks, streams in cases:
        units = [
            unit
            for t in tracks
            for unit in (pictures(t, 10) if t.kind == "video" else sounds(t, 10))
        ]
        found = packets(joined(mux(MpegTsMuxer(), tracks, interleaved(units))))
        assert pmt_streams(found)[0] == streams
        assert {packet.pid for packet in found} == {0, PMT_PID, *streams}


def test_ts_tables_that_change_get_a_new_version() -> None:
    muxer = MpegTsMuxer()
    versions = []
    for tracks in ((avc_track(),), BOTH, BOTH, (hevc_track(),)):
        data = joined(mux(muxer, tracks, [picture(tracks[0], 0, key=True)]))
        versions.append(payloads(packets(data), PMT_PID)[0][6] >> 1 & 0x1F)
    assert versions == [0, 1, 1, 2]


def test_ts_tracks_that_change_mark_the_next_chunk() -> None:
    muxer = MpegTsMuxer()
    mux(muxer, BOTH, two_kinds(5))
    (chunk,) = mux(muxer, BOTH, two_kinds(3, 10**7))
    assert not chunk.discontinuity
    (chunk,) = mux(muxer, (avc_track("intra"),), [picture(avc_track("intra"), 2 * 10**7, key=True)])
    assert chunk.discontinuity


def test_ts_interruption_cuts_and_is_indicated_on_the_clock() -> None:
    units = two_kinds(10)
    late = two_kinds(3, 10**7)
    late[0].discontinuity = True
    chunks = mux(MpegTsMuxer(), BOTH, units + late)
    assert [chunk.discontinuity for chunk in chunks] == [False, False, True]
    (flagged,) = [p for p in packets(joined(chunks)) if p.flags & 0x80]
    assert flagged.pid == VIDEO_PID and flagged.pcr is not None


def test_ts_without_a_track_it_can_carry_is_refused() -> None:
    odd_opus = OpusConfig(3, mapping_family=255, mapping=bytes((3, 0, 0, 1, 2)))
    for config in (G711Config(), odd_opus, AacConfig.lc(47_000, 2)):
        with pytest.raises(CodecUnsupported):
            MpegTsMuxer().header((Track(1, config),))


def test_ts_several_audio_tracks_have_a_pid_each() -> None:
    tracks = (avc_track(), aac_track(), Track(3, OpusConfig()))
    units = interleaved(pictures(tracks[0], 20), sounds(tracks[1], 30), sounds(tracks[2], 30))
    events = demux(MpegTsDemuxer(), joined(mux(MpegTsMuxer(), tracks, units)))
    assert [t.config for t in tracks_of(events)[0]] == [tracks[0].config, tracks[1].config] + [
        OpusConfig(pre_skip_samples=0)
    ]
    assert len(units_of(events)) == len(units)


def test_ts_carries_the_first_video_and_audio_tracks_to_the_limit() -> None:
    audio = [Track(10 + number, AacConfig.lc(48_000, 2)) for number in range(6)]
    tracks = [Track(1, G711Config()), hevc_track(), Track(3, avc_config()), *audio]
    assert carried_tracks(tracks) == (hevc_track(), *audio[:MAX_AUDIO_TRACKS])
    units = [picture(hevc_track(), 0, key=True), *(sound(track, 0) for track in audio)]
    events = demux(MpegTsDemuxer(), joined(mux(MpegTsMuxer(), tracks, units)))
    assert len(tracks_of(events)[0]) == len(units_of(events)) == MAX_STREAMS


# -- video -------------------------------------------------------------------------------------


def test_ts_access_unit_has_a_delimiter_and_a_key_its_parameter_sets() -> None:
    config = avc_config()
    key, other = payloads(
        packets(joined(mux(MpegTsMuxer(), BOTH[:1], pictures(BOTH[0], 2)))), VIDEO_PID
    )
    start = b"\0\0\0\1"
    sets = b"".join(start + nal for nal in config.sps + config.pps)
    assert key[:4] == other[:4] == b"\0\0\1\xe0"
    assert key.endswith(start + b"\x09\xf0" + sets + start + IDR)
    assert other.endswith(start + b"\x09\xf0" + start + SLICE)
    assert int.from_bytes(key[4:6], "big") == len(key) - 6


def test_ts_hevc_has_its_own_delimiter_and_registration() -> None:
    config, track = hevc_config(), hevc_track()
    data = joined(mux(MpegTsMuxer(), (track,), pictures(track, 1)))
    (pes,) = payloads(packets(data), VIDEO_PID)
    nals = (b"\x46\x01\x50", *config.vps, *config.sps, *config.pps)
    assert b"".join(b"\0\0\0\1" + nal for nal in nals) in pes
    assert b"\x05\x04HEVC" in data


def test_ts_large_picture_has_no_announced_length() -> None:
    unit = picture(BOTH[0], 0, key=True, size_bytes=70_000)
    (pes,) = payloads(packets(joined(mux(MpegTsMuxer(), BOTH[:1], [unit]))), VIDEO_PID)
    assert pes[4:6] == b"\0\0"
    assert pes.endswith(unit.parts[0])


def test_ts_stamps_wrap_at_33_bits_and_are_read_on() -> None:
    wrap_us = (1 << 33) * 100 // 9
    start_us = wrap_us - DECODE_DELAY_US - 10 * FRAME_US
    units = two_kinds(50, start_us)
    for unit in units:
        unit.pts_us += 2 * FRAME_US if unit.track is BOTH[0] else 0
    data = joined(mux(MpegTsMuxer(), BOTH, units))
    assert len({pes[9] for pes in payloads(packets(data), VIDEO_PID)}) > 1
    found = units_of(demux(MpegTsDemuxer(), data))
    found.sort(key=lambda unit: (unit.dts_us, str(unit.track.kind)))
    units.sort(key=lambda unit: (unit.dts_us, str(unit.track.kind)))
    shifts = {new.dts_us - old.dts_us for new, old in zip(found, units, strict=True)}
    shifts |= {new.pts_us - old.pts_us for new, old in zip(found, units, strict=True)}
    assert max(shifts) - min(shifts) <= 25  # two roundings of 11 µs


def clocks(found: list[Packet]) -> list[tuple[int, int]]:
    return [(packet.pid, packet.pcr // 27) for packet in found if packet.pcr is not None]


@pytest.mark.parametrize("frame_us", [33_333, 100_000, 1_000_000])
def test_ts_clock_comes_often_grows_and_stays_before_the_stamps(frame_us: int) -> None:
    video = [picture(BOTH[0], n * frame_us, key=True) for n in range(4_000_000 // frame_us)]
    units = interleaved(video, sounds(BOTH[1], 180))
    found = packets(joined(mux(MpegTsMuxer(), BOTH, units)))
    assert {pid for pid, _ in clocks(found)} == {VIDEO_PID}
    times = [time for _, time in clocks(found)]
    assert all(0 <= b - a <= 102_000 for a, b in zip(times, times[1:], strict=False))
    assert_counters_go_on(found)
    newest_us = 0
    for packet in found:
        newest_us = packet.pcr // 27 if packet.pcr is not None else newest_us
        if packet.starts and packet.pid in (VIDEO_PID, AUDIO_PID):
            stamp = packet.payload[9:14]
            bits = int.from_bytes(stamp, "big")
            pts = (bits >> 33 & 7) << 30 | (bits >> 17 & 0x7FFF) << 15 | bits >> 1 & 0x7FFF
            assert 50_000 < pts * 100 // 9 - newest_us <= DECODE_DELAY_US + 102_000


def test_ts_clock_of_audio_alone_is_on_the_audio() -> None:
    track = aac_track()
    chunks = mux(MpegTsMuxer(), (track,), sounds(track, 100))
    assert all(chunk.key for chunk in chunks)
    found = packets(joined(chunks))
    times = [time for pid, time in clocks(found) if pid == AUDIO_PID]
    assert all(0 < b - a <= 102_000 for a, b in zip(times, times[1:], strict=False))
    assert all(p.flags & 0x40 for p in found if p.starts and p.pid == AUDIO_PID)


# -- audio -------------------------------------------------------------------------------------


def test_ts_several_aac_frames_share_a_pes_packet() -> None:
    found = packets(joined(mux(MpegTsMuxer(), BOTH, two_kinds())))
    frames = [pes.count(b"\xff\xf1\x4c\x80") for pes in payloads(found, AUDIO_PID)]
    assert sum(frames) == round(75 * FRAME_US / AAC_US)
    assert min(frames[1:-1]) >= 9


def test_ts_gap_in_audio_begins_a_pes_packet_with_its_own_stamp() -> None:
    track = aac_track()
    units = [*sounds(track, 3), *sounds(track, 3, 100_000)]
    found = units_of(demux(MpegTsDemuxer(), joined(mux(MpegTsMuxer(), (track,), units))))
    assert found[3].dts_us - found[0].dts_us == pytest.approx(100_000, abs=12)


def test_ts_aac_frame_too_long_for_adts_is_left_out() -> None:
    units = [sound(BOTH[1], 0, b"x" * (MAX_ADTS_FRAME_BYTES + extra)) for extra in (0, 1)]
    units = [picture(BOTH[0], 0, key=True), *units]
    found = units_of(demux(MpegTsDemuxer(), joined(mux(MpegTsMuxer(), BOTH, units))))
    assert [unit.size_bytes for unit in found if unit.track.kind == "audio"] == [
        MAX_ADTS_FRAME_BYTES
    ]


def test_ts_opus_packets_have_control_headers() -> None:
    track = opus_track()
    units = [
        sound(track, n * 20_000, b"\xf8" + bytes(size)) for n, size in enumerate((9, 254, 600))
    ]
    data = joined(mux(MpegTsMuxer(), (track,), units))
    (pes,) = payloads(packets(data), AUDIO_PID)
    assert pes[3] == 0xBD
    expected = (b"\x0a", b"\xff\x00", b"\xff\xff\x5b")
    assert pes[14:] == b"".join(
        b"\x7f\xe0" + size + unit.parts[0] for size, unit in zip(expected, units, strict=True)
    )
    assert b"\x05\x04Opus\x7f\x02\x80\x02" in data


@pytest.mark.parametrize("channels", range(1, 9))
def test_ts_opus_channels_are_told_and_read(channels: int) -> None:
    counts = {
        1: (1, 0),
        2: (1, 1),
        3: (2, 1),
        4: (2, 2),
        5: (3, 2),
        6: (4, 2),
        7: (4, 3),
        8: (5, 3),
    }
    orders = {
        3: (0, 2, 1),
        5: (0, 4, 1, 2, 3),
        6: (0, 4, 1, 2, 3, 5),
        7: (0, 4, 1, 2, 3, 5, 6),
        8: (0, 6, 1, 2, 3, 4, 5, 7),
    }
    mapping = bytes((*counts[channels], *orders.get(channels, range(channels))))
    config = OpusConfig(channels, 0, mapping_family=1, mapping=mapping)
    if channels <= 2:
        config = OpusConfig(channels, 0)
    data = joined(mux(MpegTsMuxer(), (Track(2, config),), [sound(opus_track(), 0)]))
    assert tracks_of(demux(MpegTsDemuxer(), data))[0][0].config == config


# -- silence, floods, ends ---------------------------------------------------------------------


def test_ts_audio_ahead_of_the_first_picture_waits_for_it() -> None:
    units = [*sounds(BOTH[1], 5), picture(BOTH[0], 110_000, key=True)]
    (chunk,) = mux(MpegTsMuxer(), BOTH, units)
    assert chunk.key and chunk.dts_us == 110_000
    assert len(units_of(demux(MpegTsDemuxer(), chunk.data))) == 6


def test_ts_audio_goes_on_when_video_stops_or_never_comes() -> None:
    audio = list(sounds(BOTH[1], 500))
    for video in ([], list(pictures(BOTH[0], 5))):
        muxer = MpegTsMuxer()
        muxer.header(BOTH)
        newest_us = audio[0].dts_us
        for unit in interleaved(video, audio):
            for chunk in muxer.feed(unit):
                newest_us = chunk.dts_us + chunk.duration_us
            assert unit.dts_us - newest_us <= 2 * MAX_SILENCE_US + 500_000


def test_ts_keyless_stream_of_any_bitrate_is_cut_by_size() -> None:
    muxer = MpegTsMuxer(interval_us=10**9)
    muxer.header(BOTH[:1])
    chunks: list[Chunk] = []
    for number in range(12):
        chunks += muxer.feed(picture(BOTH[0], number, size_bytes=1 << 20))
    assert chunks and all(chunk.size_bytes < MAX_CHUNK_BYTES * 1.5 for chunk in chunks)
    assert not any(chunk.key for chunk in chunks)


def test_ts_flush_ends_a_chunk_with_its_last_frame_and_is_empty_after() -> None:
    muxer = MpegTsMuxer()
    (chunk,) = mux(muxer, BOTH[:1], pictures(BOTH[0], 3))
    assert chunk.duration_us == 3 * FRAME_US
    assert muxer.flush() == []
    (chunk,) = mux(muxer, (aac_track(),), sounds(aac_track(), 3, 10**7))
    assert chunk.duration_us == 64_000


def test_ts_unit_of_a_track_that_is_not_described_is_ignored() -> None:
    muxer = MpegTsMuxer()
    muxer.header(BOTH)
    assert muxer.feed(sound(Track(77, AacConfig.lc(48_000, 2)), 0)) == []
    assert muxer.flush() == []


def test_ts_pieces_of_different_pids_never_mix() -> None:
    found = packets(joined(mux(MpegTsMuxer(), BOTH, two_kinds())))
    by_pid = defaultdict(list)
    for packet in found:
        by_pid[packet.pid].append(packet)
    for pid in (VIDEO_PID, AUDIO_PID):
        for pes in payloads(found, pid):
            length = int.from_bytes(pes[4:6], "big")
            assert length == len(pes) - 6
        assert by_pid[pid][0].starts
