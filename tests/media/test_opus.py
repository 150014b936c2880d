from __future__ import annotations

import io

import av
import pytest
from codec_samples import Sample, encode
from mutation import assert_only_peer_error, corpus, mutations

from appliance.errors import PeerError
from appliance.media.opus import OpusConfig, packet_duration_us
from appliance.media.track import Codec, Kind

SURROUND = OpusConfig(6, 312, 48_000, 0, 1, bytes((4, 2, 0, 4, 1, 2, 3, 5)))


def test_config_tells_its_stream() -> None:
    config = OpusConfig()
    assert (config.kind, config.codec, config.rfc6381) == (Kind.AUDIO, Codec.OPUS, "opus")
    assert (config.sample_rate_hz, config.channels) == (48_000, 2)


def test_opus_head_is_little_endian_in_the_order_of_the_rfc() -> None:
    config = OpusConfig(1, 0x1234, 0x01020304, -2)
    assert config.to_opus_head() == b"OpusHead\x01\x01\x34\x12\x04\x03\x02\x01\xfe\xff\x00"


@pytest.mark.parametrize(
    "config",
    [
        OpusConfig(),
        OpusConfig(1, 0, 8_000, -256),
        OpusConfig(2, 0xFFFF, 0xFFFF_FFFF, 0x7FFF),
        OpusConfig(gain_q8=-0x8000),
        SURROUND,
        OpusConfig(1, 312, 48_000, 0, 255, b"\x01\x00\xff"),
        OpusConfig(255, 312, 48_000, 0, 255, b"\xff\x00" + bytes(range(255))),
    ],
)
def test_opus_head_round_trip(config: OpusConfig) -> None:
    assert OpusConfig.from_opus_head(memoryview(config.to_opus_head())) == config
    assert OpusConfig.from_opus_head(config.to_opus_head() + b"more") == config


@pytest.mark.parametrize("config", [OpusConfig(), SURROUND])
def test_opus_head_cut_at_any_byte_raises(config: OpusConfig) -> None:
    head = config.to_opus_head()
    for end in range(len(head)):
        with pytest.raises(PeerError):
            OpusConfig.from_opus_head(head[:end])


def test_opus_head_of_minor_versions_is_taken_and_of_major_ones_not() -> None:
    head = OpusConfig().to_opus_head()
    for version in (0, 1, 15):
        assert OpusConfig.from_opus_head(head[:8] + bytes((version,)) + head[9:]) == OpusConfig()
    for version in (16, 255):
        with pytest.raises(PeerError):
            OpusConfig.from_opus_head(head[:8] + bytes((version,)) + head[9:])


@pytest.mark.parametrize(
    "fields",
    [
        {"channels": 0},
        {"channels": 3},
        {"channels": 2, "mapping": b"\x01\x01\x00\x01"},
        {"pre_skip_samples": -1},
        {"pre_skip_samples": 1 << 16},
        {"input_rate_hz": 1 << 32},
        {"gain_q8": 1 << 15},
        {"mapping_family": 256},
        {"mapping_family": 1},
        {"mapping_family": 1, "channels": 0, "mapping": b"\1\0"},
        {"mapping_family": 1, "mapping": b"\0\0\0\0"},
        {"mapping_family": 1, "mapping": b"\1\2\0\0"},
        {"mapping_family": 1, "mapping": b"\xff\x01\0\0"},
        {"mapping_family": 1, "mapping": b"\1\1\0\2"},
        {"mapping_family": 1, "mapping": b"\1\1\0"},
    ],
)
def test_config_out_of_range_raises(fields: dict[str, int | bytes]) -> None:
    with pytest.raises(PeerError):
        OpusConfig(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("toc", "duration_us"),
    [
        (0 << 3, 10_000),
        (3 << 3, 60_000),
        (8 << 3, 10_000),
        (11 << 3, 60_000),
        (12 << 3, 10_000),
        (13 << 3, 20_000),
        (15 << 3, 20_000),
        (16 << 3, 2_500),
        (17 << 3, 5_000),
        (31 << 3, 20_000),
        (31 << 3 | 1, 40_000),
        (31 << 3 | 2, 40_000),
        (3 << 3 | 1, 120_000),
        (31 << 3 | 4, 20_000),  # stereo
    ],
)
def test_packet_duration_by_its_first_byte(toc: int, duration_us: int) -> None:
    assert packet_duration_us(bytes((toc,))) == duration_us


@pytest.mark.parametrize(
    ("toc", "count", "duration_us"),
    [
        (31, 1, 20_000),
        (31, 6, 120_000),
        (16, 48, 120_000),
        (31, 0x40 | 2, 40_000),
        (16, 0x81, 2_500),
    ],
)
def test_packet_duration_by_its_frame_count(toc: int, count: int, duration_us: int) -> None:
    assert packet_duration_us(memoryview(bytes((toc << 3 | 3, count)) + b"rest")) == duration_us


@pytest.mark.parametrize(
    "packet",
    [b"", b"\xff", bytes((31 << 3 | 3, 0)), bytes((31 << 3 | 3, 7)), bytes((16 << 3 | 3, 49))],
)
def test_packet_without_count_or_too_long_raises(packet: bytes) -> None:
    with pytest.raises(PeerError):
        packet_duration_us(packet)


@pytest.mark.parametrize("frame_ms", ["2.5", "5", "10", "20", "40", "60", "120"])
def test_packet_durations_of_a_real_encoder(frame_ms: str) -> None:
    options = f"-b:a 24k -frame_duration {frame_ms}"
    data = encode(Sample("durations", "opus", "1", "48000", options))
    with av.open(io.BytesIO(data), "r") as container:
        packets = [bytes(packet) for packet in container.demux() if packet.size]
    durations_us = {packet_duration_us(packet) for packet in packets}
    assert durations_us == {int(float(frame_ms) * 1000)}


def test_opus_mutated_raises_only_peer_error() -> None:
    assert_only_peer_error(OpusConfig.from_opus_head, corpus("opus_head"), 3000)
    assert_only_peer_error(packet_duration_us, [b"\xfc", b"\xff\x02ab"], 500)


def test_opus_head_that_parses_is_written_so_that_it_parses_the_same() -> None:
    parsed = 0
    for head in mutations(corpus("opus_head"), 1500, seed=3):
        try:
            config = OpusConfig.from_opus_head(head)
        except PeerError:
            continue
        parsed += 1
        assert OpusConfig.from_opus_head(config.to_opus_head()) == config
    assert parsed > 100
