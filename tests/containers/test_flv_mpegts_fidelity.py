"""One file in = the same frames out, at the same times, as ffmpeg, libav and GStreamer see it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import random
import subprocess
from pathlib import Path

import av
import pytest
from container_samples import Demuxer, demux, joined, mux, sound, tracks_of, units_of
from framehash import (
    KEY_FRAMES,
    assert_same_times,
    clip_hashes,
    clip_units,
    frame_hashes,
    make_clip,
    packet_times,
    packet_times_of_new_libav,
    unit_times,
)
from mutation import CORPUS, assert_only_peer_error, corpus

from appliance.containers.flv import in_band
from appliance.containers.flv_demuxer import FlvDemuxer
from appliance.containers.flv_muxer import FlvMuxer
from appliance.containers.fmp4_muxer import Fmp4Muxer
from appliance.containers.mpegts_demuxer import MpegTsDemuxer
from appliance.containers.mpegts_muxer import MpegTsMuxer
from appliance.errors import CodecUnsupported
from appliance.hub.rendition import Muxer
from appliance.media.g711 import G711Config
from appliance.media.track import Codec, Track
from appliance.media.unit import AccessUnit

KINDS = ("h264+aac", "h264-b+aac", "h265-b+opus", "h265+aac", "h264-b+opus", "h264", "aac", "opus")
FORMATS = ("flv", "mpegts")
RESOLUTION_US = {"flv": 1000, "mpegts": 25}


def muxer_of(format: str) -> Muxer:
    return FlvMuxer() if format == "flv" else MpegTsMuxer()


def demuxer_of(format: str) -> Demuxer:
    return FlvDemuxer() if format == "flv" else MpegTsDemuxer()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_muxed_clip_shows_the_same_frames_at_the_same_times(kind: str, format: str) -> None:
    tracks, units = clip_units(kind)
    data = joined(mux(muxer_of(format), tracks, units))
    assert frame_hashes(data, format) == clip_hashes(kind)
    source, found = packet_times(make_clip(kind)), packet_times(data, format)
    assert_same_times(source, found, resolution_us=RESOLUTION_US[format])


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", ["h264-b+aac", "h265-b+opus", "h265+aac", "opus"])
def test_demuxed_clip_has_the_same_frames_at_the_same_times(kind: str, format: str) -> None:
    path = make_clip(kind, format)
    events = demux(demuxer_of(format), path.read_bytes())
    (tracks,) = tracks_of(events)
    units = units_of(events)
    assert_same_times(packet_times(path, format), unit_times(units), resolution_us=12)
    other = "mpegts" if format == "flv" else "flv"
    data = joined(mux(muxer_of(other), tracks, units))
    assert frame_hashes(data, other) == clip_hashes(kind)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", ["h264-b+aac", "h265-b+opus"])
def test_demuxed_clip_is_the_same_however_it_is_cut(kind: str, format: str) -> None:
    data = make_clip(kind, format).read_bytes()
    whole = demux(demuxer_of(format), data)
    assert demux(demuxer_of(format), data, 1) == whole
    rng, demuxer, events, at = random.Random(1), demuxer_of(format), [], 0
    while at < len(data):
        step = rng.choice((1, 3, 187, 188, 1000, 9000))
        events += demuxer.receive(data[at : at + step])
        at += step
    assert events + demuxer.receive_eof() == whole


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", ["h264-b+aac", "h265+aac"])
def test_viewer_who_joins_at_a_key_sees_every_frame_from_there(kind: str, format: str) -> None:
    tracks, units = clip_units(kind)
    chunks = mux(muxer_of(format), tracks, units)
    keys = [index for index, chunk in enumerate(chunks) if chunk.key]
    pictures = clip_hashes(kind)["video"]
    assert len(keys) * KEY_FRAMES == len(pictures)
    found = frame_hashes(joined(chunks[keys[1] :]), format)
    assert found["video"] == pictures[KEY_FRAMES:]
    assert len(found["audio"]) >= 2 * 48_000 // 1024 - 10


@pytest.mark.parametrize("format", FORMATS)
def test_viewer_who_stays_sees_a_new_picture_size(format: str) -> None:
    first, second = clip_units("h264+aac"), clip_units("h264-small+aac")
    later_us = first[1][-1].dts_us + 40_000 - second[1][0].dts_us
    for unit in second[1]:
        unit.dts_us, unit.pts_us = unit.dts_us + later_us, unit.pts_us + later_us
    muxer = muxer_of(format)
    chunks = mux(muxer, *first) + mux(muxer, *second)
    assert [chunk.discontinuity for chunk in chunks].count(True) == 1
    with av.open(io.BytesIO(joined(chunks)), "r", format=format) as opened:
        sizes = [(frame.width, frame.height) for frame in opened.decode(video=0)]
    assert sizes == [(192, 128)] * 90 + [(160, 96)] * 90


def test_flv_viewer_who_jumps_over_a_change_is_told_by_the_header_in_band() -> None:
    first, second = clip_units("h264+aac"), clip_units("h264-small+aac")
    later_us = first[1][-1].dts_us + 40_000 - second[1][0].dts_us
    for unit in second[1]:
        unit.dts_us, unit.pts_us = unit.dts_us + later_us, unit.pts_us + later_us
    muxer = FlvMuxer()
    before, after = mux(muxer, *first), mux(muxer, *second)
    landing = [index for index, chunk in enumerate(after) if chunk.key][1]
    seen = [chunk.data for chunk in after[landing:]]
    data = b"".join([joined(before), in_band(after[landing].header), *seen])
    with av.open(io.BytesIO(data), "r", format="flv") as opened:
        sizes = [(frame.width, frame.height) for frame in opened.decode(video=0)]
    assert sizes == [(192, 128)] * 90 + [(160, 96)] * 75


def crossing(units: list[AccessUnit], wrap_us: int, first_us: int) -> None:
    """Move all but the first unit so that the clip's middle is `wrap_us` after that one."""
    middle_us = units[len(units) // 2].dts_us
    for unit in units[1:]:
        shift_us = units[0].dts_us + first_us + wrap_us - middle_us
        unit.dts_us, unit.pts_us = unit.dts_us + shift_us, unit.pts_us + shift_us


def test_flv_stamps_beyond_24_bits_are_read_by_ffmpeg() -> None:
    tracks, units = clip_units("h264-b+aac")
    crossing(units, (1 << 24) * 1000, -1_000_000)
    times = unit_times(units)
    data = joined(mux(FlvMuxer(), tracks, units))
    assert_same_times(times, packet_times(data, "flv"), resolution_us=1000)


def test_ts_stamps_beyond_33_bits_are_read_by_ffmpeg() -> None:
    tracks, units = clip_units("h264-b+aac")
    shift_us = (1 << 33) * 100 // 9 - units[len(units) // 2].dts_us - 500_000
    for unit in units:
        unit.dts_us, unit.pts_us = unit.dts_us + shift_us, unit.pts_us + shift_us
    data = joined(mux(MpegTsMuxer(), tracks, units))
    source = packet_times(make_clip("h264-b+aac"))
    assert_same_times(source, packet_times(data, "mpegts"), resolution_us=25)
    assert_same_times(source, unit_times(units_of(demux(MpegTsDemuxer(), data))), resolution_us=25)


def raw_md5_by_gstreamer(path: Path, elements: str, target: Path) -> str:
    """What GStreamer decodes of the picture, as planar 4:2:0."""
    pipeline = f"filesrc location={path} ! {elements} ! video/x-raw,format=I420"
    command = ["gst-launch-1.0", "-q", *f"{pipeline} ! filesink location={target}".split()]
    result = subprocess.run(command, capture_output=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return hashlib.md5(target.read_bytes()).hexdigest()


@pytest.mark.parametrize("format", FORMATS)
def test_gstreamer_shows_the_same_pictures(format: str, tmp_path: Path) -> None:
    tracks, units = clip_units("h264-b+aac")
    path = tmp_path / "clip"
    path.write_bytes(joined(mux(muxer_of(format), tracks, units)))
    raw = ("-f", "rawvideo", "-pix_fmt", "yuv420p", "-")
    command = ("ffmpeg", "-v", "error", "-i", make_clip("h264-b+aac"), *raw)
    expected = subprocess.run(command, capture_output=True, check=True).stdout
    element = "flvdemux" if format == "flv" else "tsdemux"
    found = raw_md5_by_gstreamer(path, f"{element} ! h264parse ! avdec_h264", tmp_path / "raw")
    assert found == hashlib.md5(expected).hexdigest()


@pytest.mark.parametrize(
    ("format", "name"),
    [(path.parent.name, path.stem) for path in sorted(CORPUS.glob("[fm][lp]*/*.bin"))],
)
def test_what_other_muxers_write_is_read_as_libav_reads_it(format: str, name: str) -> None:
    path = CORPUS / format / f"{name}.bin"
    times = unit_times(units_of(demux(demuxer_of(format), path.read_bytes())))
    if name != "multitrack":
        found = packet_times_of_new_libav(path, format)
        assert_same_times(found, times, resolution_us=12)
    assert len(times["video"]) == 7 and len(times["audio"]) >= 3  # long ones in FLAC


@pytest.mark.parametrize("format", FORMATS)
def test_units_of_damaged_streams_can_be_muxed(format: str) -> None:
    def remux_all(data: bytes) -> None:
        for other in FORMATS:
            muxer, is_described = muxer_of(other), False
            for event in demux(demuxer_of(format), data):
                if not isinstance(event, AccessUnit):
                    muxer.flush()
                    with contextlib.suppress(CodecUnsupported):
                        Fmp4Muxer().header(event)
                    with contextlib.suppress(CodecUnsupported):  # AV1 with FLAC, as MPEG-TS
                        muxer.header(event)
                        is_described = True
                elif is_described:
                    muxer.feed(event)

    assert_only_peer_error(remux_all, corpus(format), count=600)


NEW_KINDS = ("av1+flac", "vp9+ac3", "h264+eac3", "h264+mp3", "av1+opus")


@pytest.mark.parametrize("form", ["flv", "mp4"])
@pytest.mark.parametrize("kind", NEW_KINDS)
def test_clip_of_newer_codecs_passes_from_flv_unchanged(kind: str, form: str) -> None:
    path = make_clip(kind, "flv")
    demuxer = FlvDemuxer()
    events = demux(demuxer, path.read_bytes())
    (tracks,) = tracks_of(events)
    assert demuxer.tags.damaged == 0
    assert_same_times(packet_times(path, "flv"), unit_times(units_of(events)), resolution_us=0)
    muxer = FlvMuxer() if form == "flv" else Fmp4Muxer()
    data = joined(mux(muxer, tracks, units_of(events)))
    assert frame_hashes(data, form) == clip_hashes(kind)
    found = packet_times_of_new_libav(data, form)
    assert_same_times(packet_times(path, "flv"), found, resolution_us=3_100)
    assert [t.key for t in found["video"]] == [n % KEY_FRAMES == 0 for n in range(90)]


@pytest.mark.parametrize("kind", NEW_KINDS)
def test_mpegts_carries_of_newer_codecs_those_it_has_a_form_for(kind: str) -> None:
    events = demux(FlvDemuxer(), make_clip(kind, "flv").read_bytes())
    (tracks,) = tracks_of(events)
    expected = {
        str(track.kind): clip_hashes(kind)[track.kind]
        for track in tracks
        if track.codec not in {Codec.AV1, Codec.VP9, Codec.FLAC}
    }
    if not expected:
        with pytest.raises(CodecUnsupported):
            MpegTsMuxer().header(tracks)
        return
    data = joined(mux(MpegTsMuxer(), tracks, units_of(events)))
    assert frame_hashes(data, "mpegts") == expected


def test_flv_g711_is_read_by_ffmpeg() -> None:
    track = Track(1, G711Config())
    units = [sound(track, number * 20_000, bytes(range(160))) for number in range(50)]
    data = joined(mux(FlvMuxer(), (track,), units))
    assert_same_times(unit_times(units), packet_times(data, "flv"), resolution_us=0)
    assert len(frame_hashes(data, "flv")["audio"]) == 50
