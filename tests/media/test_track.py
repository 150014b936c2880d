from __future__ import annotations

from h264_writer import SpsPlan, pps

from appliance.media.aac import AacConfig
from appliance.media.g711 import G711Config
from appliance.media.h264 import H264Config
from appliance.media.opus import OpusConfig
from appliance.media.track import Codec, CodecConfig, Kind, Track
from appliance.media.unit import AccessUnit, Chunk


def test_track_speaks_for_its_configuration() -> None:
    configs: list[CodecConfig] = [
        H264Config((SpsPlan().nal(),), (pps(),)),
        AacConfig.lc(48_000, 2),
        OpusConfig(),
        G711Config(Codec.PCMU),
    ]
    tracks = [Track(number, config) for number, config in enumerate(configs)]
    assert [track.kind for track in tracks] == [Kind.VIDEO, *[Kind.AUDIO] * 3]
    assert [track.codec for track in tracks] == [Codec.H264, Codec.AAC, Codec.OPUS, Codec.PCMU]


def test_tracks_and_configurations_are_compared_by_value() -> None:
    assert Track(1, AacConfig.lc(48_000, 2)) == Track(1, AacConfig.lc(48_000, 2))
    assert Track(1, AacConfig.lc(48_000, 2)) != Track(1, AacConfig.lc(48_000, 1))
    assert len({Track(1, OpusConfig()), Track(1, OpusConfig()), Track(2, OpusConfig())}) == 2


def test_unit_and_chunk_know_their_size() -> None:
    track = Track(1, OpusConfig())
    assert AccessUnit(track, 0, 0, True, (b"abc", memoryview(b"de"))).size_bytes == 5
    assert Chunk(b"abc", 0, 20_000, True).size_bytes == 3
