"""The MPEG-TS demuxer: what is well-formed, what is damaged, and what is meant to harm."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from container_samples import (
    AUDIO_PID,
    FRAME_US,
    IDR,
    PMT_PID,
    SLICE,
    VIDEO_PID,
    Event,
    aac_track,
    avc_config,
    avc_pes,
    avc_track,
    demux,
    hevc_track,
    interleaved,
    joined,
    mux,
    opus_track,
    pictures,
    sound,
    sounds,
    tables,
    tracks_of,
    ts,
    units_of,
)
from mutation import assert_only_peer_error, corpus

from appliance.containers import mpegts, mpegts_sync
from appliance.containers.mpegts import (
    PACKET_BYTES,
    ElementaryStream,
    Pmt,
    SectionAssembler,
    StreamType,
    crc32_mpeg,
    make_pmt,
    parse_pat,
    parse_pmt,
)
from appliance.containers.mpegts_demuxer import (
    MAX_DAMAGED_IN_ROW,
    MAX_PACKETS_WITHOUT_PROGRAM,
    MAX_STREAMS,
    MpegTsDemuxer,
)
from appliance.containers.mpegts_muxer import MpegTsMuxer
from appliance.containers.mpegts_packets import DISCONTINUITY, PacketWriter, adaptation_field
from appliance.containers.mpegts_pes import (
    MAX_VIDEO_PES_BYTES,
    STREAM_AUDIO,
    STREAM_VIDEO,
    make_pes_header,
    parse_pes,
)
from appliance.containers.track_gate import MAX_HELD_UNITS, MAX_HOLD_US
from appliance.errors import PeerError
from appliance.media.aac import AacConfig, adts_header
from appliance.media.bits import Reader
from appliance.media.nal import join_annexb
from appliance.media.opus import OpusConfig
from appliance.media.track import Track

AVC = ElementaryStream(VIDEO_PID, StreamType.H264)
AAC = ElementaryStream(AUDIO_PID, StreamType.AAC_ADTS)
VIDEO_ONLY = tables(Pmt(VIDEO_PID, (AVC,)))
BOTH = tables(Pmt(VIDEO_PID, (AVC, AAC)))
TICKS = 3600  # of a frame at 25 fps


def frame_count(events: list[Event]) -> int:
    return len(units_of(events))


def aac_pes(pts: int, *frames: bytes) -> bytes:
    config = AacConfig.lc(48_000, 2)
    payload = b"".join(adts_header(config, len(frame)) + frame for frame in frames)
    return make_pes_header(STREAM_AUDIO, len(payload), pts, pts) + payload


def video(count: int = 10, *, first: int = 0) -> list[bytes]:
    return [avc_pes((first + n) * TICKS, key=n == 0, sets=n == 0) for n in range(count)]


# -- well-formed -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tracks",
    [(avc_track(), aac_track()), (hevc_track(), opus_track()), (avc_track(),), (aac_track(),)],
)
@pytest.mark.parametrize("step", [None, 1, 187, 188, 1316])
def test_ts_is_read_as_it_was_written_however_it_is_cut(
    tracks: tuple[Track, ...], step: int | None
) -> None:
    streams = [pictures(t, 30) if t.kind == "video" else sounds(t, 40) for t in tracks]
    units = interleaved(*streams)
    data = joined(mux(MpegTsMuxer(), tracks, units))
    demuxer = MpegTsDemuxer()
    events = demux(demuxer, data, step)
    assert events == demux(MpegTsDemuxer(), data)
    assert not demuxer.counts
    assert len(tracks_of(events)) == 1
    for track in tracks_of(events)[0]:
        sent = [unit for unit in units if unit.track.kind == track.kind]
        found = [unit for unit in units_of(events) if unit.track is track]
        assert [(u.key, u.parts) for u in found] == [(u.key, u.parts) for u in sent]
        shifts = [new.dts_us - old.dts_us for new, old in zip(found, sent, strict=True)]
        assert max(shifts) - min(shifts) <= 12


def test_ts_pts_and_dts_are_told_apart() -> None:
    pes = avc_pes(5 * TICKS, dts=2 * TICKS)
    (unit,) = units_of(demux(MpegTsDemuxer(), VIDEO_ONLY + ts(PacketWriter(VIDEO_PID), pes)))
    assert (unit.dts_us, unit.pts_us) == (80_000, 200_000)


def test_ts_announced_length_gives_the_unit_without_waiting() -> None:
    demuxer = MpegTsDemuxer()
    data = VIDEO_ONLY + ts(PacketWriter(VIDEO_PID), avc_pes(0))
    assert frame_count(demuxer.receive(data)) == 1


def test_ts_length_of_zero_ends_with_the_next_start() -> None:
    writer = PacketWriter(VIDEO_PID)
    unbounded = [pes[:4] + b"\0\0" + pes[6:] for pes in video(3)]
    demuxer = MpegTsDemuxer()
    assert frame_count(demuxer.receive(VIDEO_ONLY + ts(writer, *unbounded))) == 2
    assert frame_count(demuxer.receive_eof()) == 1


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_ts_adts_frames_may_be_split_by_pes_packets(cut: int) -> None:
    config = AacConfig.lc(48_000, 2)
    frames = [bytes((0x21, number)) * 12 for number in range(6)]
    stream = b"".join(adts_header(config, len(frame)) + frame for frame in frames)
    frame_bytes = len(stream) // len(frames)
    writer, data = PacketWriter(AUDIO_PID), tables(Pmt(AUDIO_PID, (AAC,)))
    for at in range(0, len(stream), cut):
        begun = -(-at // frame_bytes)  # the first frame that begins in this piece, if one does
        piece = stream[at : at + cut]
        has_start = begun * frame_bytes < at + len(piece)
        pts = round(begun * 1024 * 90_000 / 48_000) if has_start else 77
        header = make_pes_header(STREAM_AUDIO, len(piece), pts, pts)
        data += ts(writer, header + piece)
    found = units_of(demux(MpegTsDemuxer(), data))
    assert [unit.parts[0] for unit in found] == frames
    times = [round(number * 1024 * 1e6 / 48_000) for number in range(6)]
    assert [unit.dts_us for unit in found] == pytest.approx(times, abs=12)


def test_ts_pes_header_may_be_split_by_packets() -> None:
    pes = avc_pes(TICKS)
    for size in range(1, 30):
        writer = PacketWriter(VIDEO_PID)
        pieces: list[bytes] = []
        writer.write(pieces, pes[:size])
        writer.write(pieces, pes[size:])
        rest = bytearray(b"".join(pieces))
        rest[PACKET_BYTES + 1] &= ~0x40  # the second piece does not start a packet
        (unit,) = units_of(demux(MpegTsDemuxer(), VIDEO_ONLY + bytes(rest)))
        assert unit.dts_us == 40_000 and unit.parts == (IDR,)


def test_ts_tracks_are_announced_together_and_late_ones_when_they_come() -> None:
    video_writer, audio_writer = PacketWriter(VIDEO_PID), PacketWriter(AUDIO_PID)
    demuxer = MpegTsDemuxer()
    events = demuxer.receive(BOTH + ts(audio_writer, aac_pes(0, b"raw1"), aac_pes(1920, b"raw2")))
    assert events == []
    events += demuxer.receive(ts(video_writer, avc_pes(0)))
    assert [t.id for t in tracks_of(events)[0]] == [VIDEO_PID, AUDIO_PID]
    assert frame_count(events) == 3 and len(tracks_of(events)) == 1


def test_ts_track_that_is_listed_yet_silent_holds_nothing_up_for_long() -> None:
    demuxer, writer = MpegTsDemuxer(), PacketWriter(VIDEO_PID)
    frames = video(2 + MAX_HOLD_US // FRAME_US)
    assert demuxer.receive(BOTH + ts(writer, *frames[:-1])) == []
    events = demuxer.receive(ts(writer, frames[-1]))
    assert [t.id for t in tracks_of(events)[0]] == [VIDEO_PID]
    assert frame_count(events) == len(frames)
    events = demuxer.receive(ts(PacketWriter(AUDIO_PID), aac_pes(0, b"raw")))
    assert [t.id for t in tracks_of(events)[0]] == [VIDEO_PID, AUDIO_PID]


def test_ts_units_without_progress_are_not_held_for_ever() -> None:
    demuxer, writer = MpegTsDemuxer(), PacketWriter(VIDEO_PID)
    events = demuxer.receive(BOTH + ts(writer, *[avc_pes(0)] * (MAX_HELD_UNITS + 1)))
    assert frame_count(events) == MAX_HELD_UNITS + 1


def test_ts_track_that_leaves_the_pmt_is_gone() -> None:
    writer = PacketWriter(VIDEO_PID)
    data = BOTH + ts(PacketWriter(AUDIO_PID), aac_pes(0, b"raw")) + ts(writer, *video(2))
    data += tables(Pmt(VIDEO_PID, (AVC,)), version=1) + ts(writer, *video(2, first=2))
    events = demux(MpegTsDemuxer(), data)
    assert [[t.id for t in found] for found in tracks_of(events)] == [
        [VIDEO_PID, AUDIO_PID],
        [VIDEO_PID],
    ]
    first, *_, newest = [unit for unit in units_of(events) if unit.track.id == VIDEO_PID]
    assert first.track is newest.track


def test_ts_parameter_sets_that_change_make_a_new_track() -> None:
    other = avc_config("intra")
    payload = join_annexb([*other.sps, *other.pps, IDR])
    changed = make_pes_header(STREAM_VIDEO, len(payload), TICKS, TICKS) + payload
    data = VIDEO_ONLY + ts(
        PacketWriter(VIDEO_PID), avc_pes(0), changed, avc_pes(2 * TICKS, sets=False)
    )
    events = demux(MpegTsDemuxer(), data)
    assert [tracks[0].config for tracks in tracks_of(events)] == [avc_config(), other]


def test_ts_pictures_before_parameter_sets_are_dropped_and_counted() -> None:
    frames = [avc_pes(n * TICKS, sets=n == 3) for n in range(5)]
    demuxer = MpegTsDemuxer()
    assert frame_count(demux(demuxer, VIDEO_ONLY + ts(PacketWriter(VIDEO_PID), *frames))) == 2
    assert demuxer.counts == {"packets without unit": 3}


def test_ts_discontinuity_indicator_marks_the_next_units_of_all_tracks() -> None:
    video_writer, audio_writer = PacketWriter(VIDEO_PID), PacketWriter(AUDIO_PID)
    field = adaptation_field(DISCONTINUITY, 0)
    data = BOTH + ts(video_writer, *video(2)) + ts(audio_writer, aac_pes(0, b"raw1"))
    data += ts(PacketWriter(VIDEO_PID), avc_pes(10**9), adaptation=field)
    data += ts(PacketWriter(AUDIO_PID), aac_pes(10**9, b"raw2"), aac_pes(10**9 + 1920, b"raw3"))
    demuxer = MpegTsDemuxer()
    found = units_of(demux(demuxer, data))
    marked = [(unit.track.id, unit.discontinuity) for unit in found]
    assert marked[3:] == [(VIDEO_PID, True), (AUDIO_PID, True), (AUDIO_PID, False)]
    assert not any(mark for _, mark in marked[:3])
    assert not demuxer.counts


def test_ts_discontinuity_does_not_mark_a_unit_that_began_before_it() -> None:
    writer, field = PacketWriter(VIDEO_PID), adaptation_field(DISCONTINUITY, 0)
    before, after, last = (pes[:4] + b"\0\0" + pes[6:] for pes in video(3))
    data = VIDEO_ONLY + ts(writer, before) + ts(writer, after, adaptation=field) + ts(writer, last)
    found = units_of(demux(MpegTsDemuxer(), data))
    assert [unit.discontinuity for unit in found] == [False, True, False]


def test_ts_discontinuity_is_told_by_the_first_unit_that_survives() -> None:
    writer, field = PacketWriter(VIDEO_PID), adaptation_field(DISCONTINUITY, 0)
    data = VIDEO_ONLY + ts(writer, avc_pes(0)) + ts(writer, BAD_PES["nothing"], adaptation=field)
    found = units_of(demux(MpegTsDemuxer(), data + ts(writer, avc_pes(1), avc_pes(2))))
    assert [unit.discontinuity for unit in found] == [False, True, False]


def test_ts_clock_jumps_and_a_missing_clock_do_not_matter() -> None:
    writer, data = PacketWriter(VIDEO_PID), VIDEO_ONLY
    for number, clock_us in enumerate((0, 10**12, None, 5, (1 << 33) * 11, None)):
        field = adaptation_field(0, clock_us)
        data += ts(writer, avc_pes(number * TICKS), adaptation=field)
    found = units_of(demux(MpegTsDemuxer(), data))
    assert [unit.dts_us for unit in found] == [number * FRAME_US for number in range(6)]


@pytest.mark.parametrize("backwards", [False, True])
def test_ts_stamps_that_jump_are_passed_on(backwards: bool) -> None:
    stamps = [10 * TICKS, 11 * TICKS, 90_000 * 3600, 90_000 * 3600 + TICKS]
    stamps = stamps[2:] + stamps[:2] if backwards else stamps
    data = VIDEO_ONLY + ts(PacketWriter(VIDEO_PID), *map(avc_pes, stamps))
    found = [unit.dts_us for unit in units_of(demux(MpegTsDemuxer(), data))]
    assert found == [stamp * 100 // 9 for stamp in stamps]


def test_ts_first_program_is_read() -> None:
    body = b"\0\1\xf0\0" + b"\0\2\xf0\1"
    pat = mpegts.make_section(0, 1, 0, body)
    out: list[bytes] = []
    PacketWriter(0).write_section(out, pat)
    for program in (2, 1):
        stream = ElementaryStream(VIDEO_PID + program, StreamType.H264)
        section = make_pmt(0, program, Pmt(stream.pid, (stream,)))
        PacketWriter(0x1000).write_section(out, section)  # both on one PID, as some do
    out.append(ts(PacketWriter(VIDEO_PID + 1), avc_pes(0)))
    events = demux(MpegTsDemuxer(), b"".join(out))
    assert [t.id for t in tracks_of(events)[0]] == [VIDEO_PID + 1]


# -- damage ------------------------------------------------------------------------------------


def clip(count: int = 60) -> bytes:
    track = avc_track()
    return joined(mux(MpegTsMuxer(), (track,), pictures(track, count, gop=5)))


@pytest.mark.parametrize("garbage", [b"x", b"G", b"\x47" * 100, b"\0" * 188, bytes(range(256)) * 4])
def test_ts_sync_is_found_again_after_garbage(garbage: bytes) -> None:
    whole = clip()
    at = len(whole) // PACKET_BYTES // 2 * PACKET_BYTES
    demuxer = MpegTsDemuxer()
    events = demux(demuxer, garbage + whole[:at] + garbage + whole[at:], 1000)
    assert frame_count(events) >= 58
    assert demuxer.finder.lost <= 2


def test_ts_bytes_that_are_missing_cost_the_units_they_hit() -> None:
    whole = clip()
    at = len(whole) // 2
    demuxer = MpegTsDemuxer()
    assert frame_count(demux(demuxer, whole[:at] + whole[at + 50 :])) >= 56
    assert demuxer.finder.lost == 1


def longer(pes: bytes, extra_bytes: int, *, is_announced: bool = True) -> bytes:
    """The same with a longer picture."""
    length = len(pes) - 6 + extra_bytes if is_announced else 0
    return pes[:4] + length.to_bytes(2, "big") + pes[6:] + b"." * extra_bytes


@pytest.mark.parametrize("is_announced", [False, True])
def test_ts_lost_packet_costs_the_unit_it_belongs_to(is_announced: bool) -> None:
    first, *others = video(4)
    pes = [first, *(longer(other, 500, is_announced=is_announced) for other in others)]
    data = ts(PacketWriter(VIDEO_PID), *pes)
    pieces = [data[i : i + PACKET_BYTES] for i in range(0, len(data), PACKET_BYTES)]
    assert len(pieces) == 13
    for lost in range(1, 12):
        demuxer = MpegTsDemuxer()
        found = units_of(demux(demuxer, VIDEO_ONLY + b"".join(pieces[:lost] + pieces[lost + 1 :])))
        assert demuxer.counts["packets lost before"] == 1
        was_end = lost in (5, 9) and not is_announced  # maybe the end of the unit before
        assert len(found) == (2 if was_end else 3)
        assert {unit.size_bytes for unit in found[1:]} == {len(SLICE) + 500}


def test_ts_packet_that_comes_twice_is_taken_once() -> None:
    data = ts(PacketWriter(VIDEO_PID), *video(5), longer(avc_pes(5 * TICKS), 600))
    twice = b"".join(data[i : i + PACKET_BYTES] * 2 for i in range(0, len(data), PACKET_BYTES))
    demuxer = MpegTsDemuxer()
    assert demux(demuxer, VIDEO_ONLY + twice) == demux(MpegTsDemuxer(), VIDEO_ONLY + data)
    assert demuxer.counts["packets repeated"] == len(data) // PACKET_BYTES


def test_ts_counter_that_stands_still_is_tolerated() -> None:
    data = bytearray(ts(PacketWriter(VIDEO_PID), *video(5)))
    for at in range(3, len(data), PACKET_BYTES):
        data[at] &= 0xF0
    assert frame_count(demux(MpegTsDemuxer(), VIDEO_ONLY + bytes(data))) == 5


@pytest.mark.parametrize(("at", "bits"), [(1, 0x80), (3, 0x40), (3, 0xC0)])
def test_ts_packet_in_error_or_scrambled_is_not_read(at: int, bits: int) -> None:
    data = bytearray(ts(PacketWriter(VIDEO_PID), *video(3)))
    data[PACKET_BYTES + at] |= bits
    demuxer = MpegTsDemuxer()
    assert frame_count(demux(demuxer, VIDEO_ONLY + bytes(data))) < 3
    assert demuxer.counts["packets in error or scrambled"] == 1


def section_packets(section: bytes, pid: int) -> bytes:
    out: list[bytes] = []
    PacketWriter(pid).write_section(out, section)
    return b"".join(out)


def pmt_with(section: bytes) -> list[Event]:
    """What comes of a stream whose PMT is this section."""
    pat_packet = VIDEO_ONLY[:PACKET_BYTES]
    data = pat_packet + section_packets(section, PMT_PID) + ts(PacketWriter(VIDEO_PID), *video(3))
    return demux(MpegTsDemuxer(), data)


GOOD_PMT = make_pmt(0, 1, Pmt(VIDEO_PID, (AVC,)))


def with_crc(section: bytes) -> bytes:
    return section + crc32_mpeg(section).to_bytes(4, "big")


BAD_SECTIONS = {
    "wrong CRC": GOOD_PMT[:-1] + bytes((GOOD_PMT[-1] ^ 1,)),
    "length 1022": b"\x02\xb3\xfe" + GOOD_PMT[3:],
    "length 4095": b"\x02\xbf\xff" + GOOD_PMT[3:],
    "length 0": b"\x02\xb0\x00" + GOOD_PMT[3:],
    "length 8": b"\x02\xb0\x08" + GOOD_PMT[3:],
    "other table": with_crc(b"\x42" + GOOD_PMT[1:-4]),
    "other program": make_pmt(0, 2, Pmt(VIDEO_PID, (AVC,))),
    "not yet in force": with_crc(GOOD_PMT[:5] + bytes((GOOD_PMT[5] & 0xFE,)) + GOOD_PMT[6:-4]),
    "descriptors beyond the end": with_crc(GOOD_PMT[:-6] + b"\xff\xff"),
    "program descriptors beyond": with_crc(GOOD_PMT[:10] + b"\xff\xff" + GOOD_PMT[12:-4]),
    "no streams": make_pmt(0, 1, Pmt(VIDEO_PID, ())),
}


@pytest.mark.parametrize("name", BAD_SECTIONS)
def test_ts_table_that_is_damaged_or_foreign_is_not_believed(name: str) -> None:
    assert frame_count(pmt_with(GOOD_PMT)) == 3
    assert frame_count(pmt_with(BAD_SECTIONS[name])) == 0


def test_ts_section_is_read_to_its_limit_over_several_packets() -> None:
    filler = b"\x80\xff" + b"." * 255
    streams = (AVC, *(ElementaryStream(0x200 + n, 0x80, filler) for n in range(3)))
    size = 1021 - 13 - sum(5 + len(stream.descriptors) for stream in streams) - 5
    for extra, frames in ((0, 3), (1, 0)):
        last = ElementaryStream(
            0x300, 0x80, b"\x80" + bytes((size + extra - 2,)) + b"." * (size + extra - 2)
        )
        section = make_pmt(0, 1, Pmt(VIDEO_PID, (*streams, last)))
        assert len(section) == 1024 + extra
        assert frame_count(pmt_with(section)) == frames


def test_ts_sections_that_share_packets_are_all_read() -> None:
    other = with_crc(b"\x42" + GOOD_PMT[1:-4])
    assembler = SectionAssembler()
    stream = other * 20 + GOOD_PMT + b"\xff" * 30
    found = assembler.receive(memoryview(b"\0" + stream[:100]), starts=True)
    boundary = len(other) * (100 // len(other) + 1) - 100
    found += assembler.receive(memoryview(bytes((boundary,)) + stream[100:250]), starts=True)
    found += assembler.receive(memoryview(stream[250:]), starts=False)
    assert found == [other] * 20 + [GOOD_PMT]


def test_ts_pointer_beyond_its_packet_is_damage() -> None:
    packet = bytearray(VIDEO_ONLY[:PACKET_BYTES])
    packet[4] = 200
    demuxer = MpegTsDemuxer()
    assert demux(demuxer, bytes(packet) * 3 + VIDEO_ONLY) == []
    assert demuxer.counts["damaged"] == 3


BAD_PES = {
    "no start code": b"\0\0\2\xe0\0\0\x80\x80\x05" + b"\0" * 30,
    "header cut off": b"\0\0\1\xe0\0\0\x80",
    "stamps cut off": b"\0\0\1\xe0\0\0\x80\xc0\x0a\x31\0\1",
    "stamps longer than the header": b"\0\0\1\xe0\0\0\x80\xc0\x05\x31\0\1\0\1" + b"\0" * 20,
    "MPEG-1": b"\0\0\1\xe0\0\0\x21\0\1\0\1" + b"\0" * 30,
    "no stamp": b"\0\0\1\xe0\0\0\x80\0\0" + join_annexb([IDR]),
    "no start code in the payload": make_pes_header(STREAM_VIDEO, 9, 0, 0) + b"123456789",
    "nothing": b"\0\0\1\xe0\0\0\x80\x80\x05\x21\0\1\0\1",
}


@pytest.mark.parametrize("name", BAD_PES)
def test_ts_damaged_pes_packet_is_counted_until_nothing_else_comes(name: str) -> None:
    writer = PacketWriter(VIDEO_PID)
    demuxer = MpegTsDemuxer()
    data = VIDEO_ONLY + ts(writer, avc_pes(0), BAD_PES[name], avc_pes(TICKS))
    assert frame_count(demux(demuxer, data)) == 2
    assert demuxer.counts.total() == 1
    with pytest.raises(PeerError, match="in a row"):
        demuxer.receive(ts(writer, *[BAD_PES[name]] * (MAX_DAMAGED_IN_ROW + 5)))


def test_ts_pes_packet_that_ends_before_its_length_is_damage() -> None:
    pes = avc_pes(TICKS)
    pes = pes[:4] + (len(pes) + 100).to_bytes(2, "big") + pes[6:]
    demuxer = MpegTsDemuxer()
    data = VIDEO_ONLY + ts(PacketWriter(VIDEO_PID), avc_pes(0), pes, avc_pes(2 * TICKS))
    assert frame_count(demux(demuxer, data)) == 2
    assert demuxer.counts == {"damaged": 1}


def test_ts_adts_that_is_damaged_loses_no_more_than_its_neighbours() -> None:
    writer, frames = PacketWriter(AUDIO_PID), [b"\x21" + bytes((n,)) * 30 for n in range(12)]
    pes = [aac_pes(1920 * n, frame) for n, frame in enumerate(frames)]
    pes[4] = pes[4][:14] + b"\0" * (len(pes[4]) - 14)
    demuxer = MpegTsDemuxer()
    found = units_of(demux(demuxer, tables(Pmt(AUDIO_PID, (AAC,))) + ts(writer, *pes)))
    assert {bytes(unit.parts[0]) for unit in found} >= {*frames[:4], *frames[6:11]}
    for unit in found:
        assert unit.dts_us == pytest.approx(unit.parts[0][1] * 1024e6 / 48_000, abs=12)


# -- hostile input -----------------------------------------------------------------------------


@pytest.mark.parametrize("length", [184, 200, 255])
def test_ts_adaptation_field_beyond_its_packet_is_damage(length: int) -> None:
    packet = bytearray(ts(PacketWriter(VIDEO_PID), avc_pes(0))[:PACKET_BYTES])
    packet[3], packet[4] = 0x30, length
    demuxer = MpegTsDemuxer()
    assert demux(demuxer, VIDEO_ONLY + bytes(packet)) == []
    assert demuxer.counts["damaged"] == 1
    with pytest.raises(PeerError, match="adaptation field"):
        demux(demuxer, bytes(packet) * (MAX_DAMAGED_IN_ROW + 1))


def test_ts_all_8191_pids_cost_no_memory() -> None:
    def flood(rounds: int) -> bytes:
        heads = [(0x47000010 | 0x400000 | pid << 8).to_bytes(4, "big") for pid in range(1, 8191)]
        return b"".join(head + b"\0\0\1\xe0" + b"x" * 180 for head in heads * rounds)

    demuxer = MpegTsDemuxer()
    demuxer.receive(VIDEO_ONLY)
    data = flood(1)
    demuxer.receive(data)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    demuxer.receive(data)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 10_000


def test_ts_without_a_program_is_refused() -> None:
    null = (0x471FFF10).to_bytes(4, "big") + b"\xff" * 184
    demuxer = MpegTsDemuxer()
    demuxer.receive(null * MAX_PACKETS_WITHOUT_PROGRAM)
    with pytest.raises(PeerError, match="program"):
        demuxer.receive(null * 4)


def test_ts_with_nothing_that_can_be_carried_is_refused() -> None:
    mp3 = ElementaryStream(AUDIO_PID, StreamType.MPEG1_AUDIO)
    demuxer = MpegTsDemuxer()
    demuxer.receive(tables(Pmt(AUDIO_PID, (mp3,))) * 2)
    assert demuxer.counts == {"stream of MPEG audio": 1}
    packet = ts(PacketWriter(AUDIO_PID), b"x" * 184)
    with pytest.raises(PeerError, match="carried"):
        demuxer.receive(packet * (MAX_PACKETS_WITHOUT_PROGRAM + 4))


def test_ts_something_else_is_refused() -> None:
    demuxer = MpegTsDemuxer()
    noise = random.Random(1).randbytes(65_536).replace(b"\x47", b"\x48")
    with pytest.raises(PeerError, match="no MPEG-TS"):
        for _ in range(mpegts_sync.MAX_SEARCH_BYTES // len(noise) + 1):
            assert demuxer.receive(noise) == []


@pytest.mark.parametrize("byte", [b"\x47", b"\0"])
def test_ts_of_one_byte_value_gives_nothing(byte: bytes) -> None:
    assert demux(MpegTsDemuxer(), byte * 100_000) == []


def test_ts_pes_packet_without_end_is_dropped_at_its_limit() -> None:
    writer, demuxer = PacketWriter(VIDEO_PID), MpegTsDemuxer()
    endless = avc_pes(0)[:4] + b"\0\0" + avc_pes(0)[6:]
    demuxer.receive(VIDEO_ONLY + ts(writer, endless))
    block = bytearray(ts(writer, b"." * 184 * 64))
    block[1] &= ~0x40
    for _ in range(2 * MAX_VIDEO_PES_BYTES // (184 * 64)):
        counter = writer._counter
        assert demuxer.receive(bytes(block)) == []
        block = bytearray(ts(writer, b"." * 184 * 64))
        block[1] &= ~0x40
        assert counter == writer._counter
    assert demuxer.counts["damaged"] == 1
    assert frame_count(demuxer.receive(ts(writer, avc_pes(TICKS)))) == 1


def test_ts_pes_packet_is_read_to_its_limit() -> None:
    head = avc_pes(0)[:4] + b"\0\0" + avc_pes(0)[6:]
    for size, frames in ((MAX_VIDEO_PES_BYTES, 2), (MAX_VIDEO_PES_BYTES + 1, 1)):
        pes = head + b"." * (size - len(head))
        data = VIDEO_ONLY + ts(PacketWriter(VIDEO_PID), pes, avc_pes(TICKS))
        assert frame_count(demux(MpegTsDemuxer(), data)) == frames


def test_ts_pmt_with_more_streams_than_the_limit_uses_the_first() -> None:
    streams = tuple(ElementaryStream(0x100 + n, StreamType.AAC_ADTS) for n in range(150))
    data = tables(Pmt(0x100, streams))
    data += b"".join(ts(PacketWriter(s.pid), aac_pes(0, b"raw")) for s in streams)
    demuxer = MpegTsDemuxer()
    assert len(tracks_of(demux(demuxer, data))[0]) == MAX_STREAMS
    assert demuxer.counts["streams beyond the limit"] == 150 - MAX_STREAMS


def test_ts_pmt_that_lists_pids_of_tables_or_one_twice_is_harmless() -> None:
    streams = tuple(ElementaryStream(pid, 0x1B) for pid in (0, PMT_PID, 0x1FFF, 0x100, 0x100))
    data = tables(Pmt(0x100, streams)) + ts(PacketWriter(VIDEO_PID), avc_pes(0))
    events = demux(MpegTsDemuxer(), data + VIDEO_ONLY)
    assert [t.id for t in tracks_of(events)[0]] == [0x100]


def test_ts_pmt_that_changes_with_every_packet_is_followed_without_growth() -> None:
    demuxer = MpegTsDemuxer()
    for version in range(300):
        stream = ElementaryStream(0x100 + version, StreamType.H264)
        data = tables(Pmt(stream.pid, (stream,)), version=version % 32)
        assert frame_count(demuxer.receive(data + ts(PacketWriter(stream.pid), avc_pes(0)))) == 1
    assert len(demuxer._lanes) == 1


OPUS = ElementaryStream(AUDIO_PID, 0x06, b"\x05\x04Opus\x7f\x02\x80\x02")
BAD_OPUS = {
    "other prefix": b"\x12\x34\x01\xf8",
    "size beyond": b"\x7f\xe0\xff\xff\x10\xf8",
    "size without end": b"\x7f\xe0" + b"\xff" * 100,
    "trim cut off": b"\x7f\xf0\x01\x00",
    "extension beyond": b"\x7f\xe4\x01\xff\xf8",
    "packet of no frames": b"\x7f\xe0\x02\xfb\x00",
    "empty packet": b"\x7f\xe0\x00",
}


@pytest.mark.parametrize("name", BAD_OPUS)
def test_ts_damaged_opus_is_counted(name: str) -> None:
    def pes(payload: bytes) -> bytes:
        return make_pes_header(0xBD, len(payload), 0, 0) + payload

    good = pes(b"\x7f\xfc\x02\x01\x38\0\0\x01x\xf8\0")  # both trims and an extension
    data = tables(Pmt(AUDIO_PID, (OPUS,)))
    data += ts(PacketWriter(AUDIO_PID), good, pes(BAD_OPUS[name]), good)
    demuxer = MpegTsDemuxer()
    events = demux(demuxer, data)
    assert [unit.parts[0] for unit in units_of(events)] == [b"\xf8\0"] * 2
    assert tracks_of(events)[0][0].config == OpusConfig(2, 312)
    assert demuxer.counts == {"damaged": 1}


@pytest.mark.parametrize("descriptors", [b"\x05\x04Opus", b"\x05\x04Opus\x7f\x02\x80\x09"])
def test_ts_opus_of_unknown_channels_gives_no_track(descriptors: bytes) -> None:
    stream = ElementaryStream(AUDIO_PID, 0x06, descriptors)
    payload = b"\x7f\xe0\x02\xf8\0"
    pes = make_pes_header(0xBD, len(payload), 0, 0) + payload
    demuxer = MpegTsDemuxer()
    assert (
        demux(demuxer, tables(Pmt(AUDIO_PID, (stream,))) + ts(PacketWriter(AUDIO_PID), pes)) == []
    )
    assert demuxer.counts == {"damaged": 1}


def test_ts_mutants_raise_only_peer_error() -> None:
    seeds = [*corpus("mpegts"), clip(3), BOTH + ts(PacketWriter(AUDIO_PID), aac_pes(0, b"raw"))]
    assert_only_peer_error(lambda data: demux(MpegTsDemuxer(), data), seeds, count=1500)


def test_ts_table_and_pes_mutants_raise_only_peer_error() -> None:
    rich = make_pmt(0, 1, Pmt(VIDEO_PID, (AVC, AAC, OPUS)))
    assert_only_peer_error(lambda data: parse_pmt(Reader(data)), [rich[8:-4]])
    assert_only_peer_error(lambda data: parse_pat(Reader(data)), [VIDEO_ONLY[13:17]], count=200)
    assert_only_peer_error(parse_pes, [avc_pes(1), aac_pes(2, b"raw"), *BAD_PES.values()])
    assert_only_peer_error(lambda data: pmt_with(with_crc(data)), [rich[:-4]], count=500)


def test_ts_mutated_opus_and_aac_streams_raise_only_peer_error() -> None:
    seeds = [bytes(sound(opus_track(), 0).parts[0]), b"\x7f\xfc\x02\x01\x38\0\0\x01x\xf8\0"]
    head = tables(Pmt(AUDIO_PID, (OPUS,)))

    def parse(payload: bytes) -> None:
        pes = make_pes_header(0xBD, len(payload), 0, 0) + payload
        demux(MpegTsDemuxer(), head + ts(PacketWriter(AUDIO_PID), pes))

    assert_only_peer_error(parse, seeds, count=500)
