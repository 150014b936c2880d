"""The initialisation segment: what is in it, and that libav reads the same out of it."""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from typing import Any, cast

import av
import pytest
from container_samples import aac_track, avc_track, hevc_track, opus_track
from fmp4_reader import boxes, find, tree

from appliance.containers.fmp4_boxes import box, full_box, init_segment, timescale_hz
from appliance.errors import CodecUnsupported
from appliance.media.aac import AacConfig
from appliance.media.ac3 import Ac3Config
from appliance.media.av1 import Av1Config
from appliance.media.flac import FlacConfig
from appliance.media.g711 import G711Config
from appliance.media.mp3 import Mp3Config
from appliance.media.opus import OpusConfig
from appliance.media.track import Codec, Track
from appliance.media.vp9 import Vp9Config

_AV1C = bytes.fromhex("81000c000a0b000000043cffbcfbf90040")
_STREAMINFO = "1200120000037000051d0bb802f00002ee00db3f5d78d31d342d7f038577053dc10d"
AV1 = Track(1, cast("Av1Config", Av1Config.from_av1c(_AV1C)))
VP9 = Track(1, Vp9Config(320, 240))
FLAC = Track(2, FlacConfig(bytes.fromhex(_STREAMINFO)))
AC3 = Track(2, Ac3Config.from_frame(bytes.fromhex("0b77fe95144043e106f46370c0c0c218")))
EAC3 = Track(
    2, Ac3Config.from_frame(bytes.fromhex("0b77017f3487c0002084210838008c06") + bytes(752))
)
MP3 = Track(2, Mp3Config.from_frame(b"\xff\xfb\x94\x64"))
TRAK = """\
  trak
    tkhd
    mdia
      mdhd
      hdlr
      minf
        {head}
        dinf
          dref
        stbl
          stsd
          stts
          stsc
          stsz
          stco"""


def test_init_segment_has_the_boxes_of_a_movie_of_fragments() -> None:
    found = list(tree(init_segment([avc_track(), aac_track()])))
    video, audio = (TRAK.format(head=head).split("\n") for head in ("vmhd", "smhd"))
    assert found == ["ftyp", "moov", "  mvhd", *video, *audio, "  mvex", "    trex", "    trex"]


def test_box_and_full_box_write_size_type_version_and_flags() -> None:
    assert box(b"free", b"ab", b"c") == b"\0\0\0\x0bfreeabc"
    assert full_box(b"tfdt", 1, 2, b"x") == b"\0\0\0\x0dtfdt\x01\0\0\x02x"


@pytest.mark.parametrize(
    ("track", "entry", "description"),
    [
        (avc_track(), b"avc1", b"avcC"),
        (hevc_track(), b"hvc1", b"hvcC"),
        (aac_track(), b"mp4a", b"esds"),
        (opus_track(), b"Opus", b"dOps"),
        (AV1, b"av01", b"av1C"),
        (VP9, b"vp09", b"vpcC"),
        (FLAC, b"fLaC", b"dfLa"),
        (AC3, b"ac-3", b"dac3"),
        (EAC3, b"ec-3", b"dec3"),
        (MP3, b"mp4a", b"esds"),
    ],
)
def test_init_segment_describes_each_codec(track: Track, entry: bytes, description: bytes) -> None:
    path = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
    (stsd,) = find(init_segment([track]), *path)
    ((kind, _, body),) = boxes(stsd[8:])
    assert kind == entry
    fixed_bytes = 78 if track.kind == "video" else 28
    assert [name for name, _, _ in boxes(body[fixed_bytes:])] == [description]


@pytest.mark.parametrize("track", [AV1, VP9, FLAC, AC3, EAC3, MP3])
def test_init_segment_tells_libav_which_codec_it_is(track: Track) -> None:
    config: Any = track.config
    with av.open(io.BytesIO(init_segment([track]))) as container:
        (stream,) = container.streams
        context = stream.codec_context
        assert context.codec.canonical_name == track.codec
        if track.kind == "video":
            assert (stream.width, stream.height) == (config.width_px, config.height_px)
        else:
            found = (context.sample_rate, context.channels)
            assert found == (config.sample_rate_hz, config.channels)


@pytest.mark.parametrize("name", ["baseline", "high10", "interlaced_1080", "high422_odd"])
def test_init_segment_tells_libav_the_size_and_the_parameter_sets(name: str) -> None:
    track = avc_track(name)
    with av.open(io.BytesIO(init_segment([track]))) as container:
        (stream,) = container.streams
        assert stream.codec_context.name == "h264"
        assert (stream.width, stream.height) == (track.config.width_px, track.config.height_px)
        assert stream.codec_context.extradata == track.config.to_avcc()


@pytest.mark.parametrize(
    ("rotation_deg", "left", "right"),
    [(0, (0, 0), (1, 0)), (90, (1, 0), (1, 1)), (180, (1, 1), (0, 1)), (270, (0, 1), (0, 0))],
)
def test_init_segment_matrix_turns_the_picture_clockwise(
    rotation_deg: int, left: tuple[int, int], right: tuple[int, int]
) -> None:
    """Which corners of the shown picture the upper edge's two become (formula of §6.2.2)."""
    track = replace(avc_track(), rotation_deg=rotation_deg)
    (tkhd,) = find(init_segment([track]), b"moov", b"trak", b"tkhd")
    a, b, u, c, d, v, x, y, w = struct.unpack(">9i", tkhd[40:76])
    width, height = (side >> 16 for side in struct.unpack(">II", tkhd[76:84]))
    assert (u, v, w) == (0, 0, 1 << 30)
    assert (width, height) == (track.config.width_px, track.config.height_px)

    def moved(p: int, q: int) -> tuple[int, int]:
        return (a * p + c * q + x) >> 16, (b * p + d * q + y) >> 16

    shown = (height, width) if rotation_deg in {90, 270} else (width, height)
    assert moved(0, 0) == (left[0] * shown[0], left[1] * shown[1])
    assert moved(width, 0) == (right[0] * shown[0], right[1] * shown[1])


@pytest.mark.parametrize(
    "config",
    [
        AacConfig.lc(48_000, 2),
        AacConfig.lc(8_000, 1),
        AacConfig.lc(96_000, 6),
        OpusConfig(),
        OpusConfig(channels=1, pre_skip_samples=3840, gain_q8=-256),
        OpusConfig(6, mapping_family=1, mapping=bytes((4, 2, 0, 4, 1, 2, 3, 5))),
    ],
)
def test_init_segment_tells_libav_the_audio_configuration(config: AacConfig | OpusConfig) -> None:
    with av.open(io.BytesIO(init_segment([Track(1, config)]))) as container:
        (stream,) = container.streams
        if isinstance(config, AacConfig):
            assert stream.codec_context.extradata == config.asc
            assert stream.codec_context.sample_rate == config.sample_rate_hz
        else:
            assert OpusConfig.from_opus_head(stream.codec_context.extradata) == config
        assert stream.codec_context.layout.nb_channels == config.channels


def test_timescale_is_the_sample_rate_of_audio_and_90_khz_of_video() -> None:
    rates = [timescale_hz(track) for track in (avc_track(), aac_track(), opus_track())]
    assert rates == [90_000, 48_000, 48_000]


def test_init_segment_of_an_unknown_codec_is_refused() -> None:
    with pytest.raises(CodecUnsupported):
        init_segment([Track(1, G711Config(Codec.PCMA))])
