from __future__ import annotations

import pytest
from bit_writer import BitWriter
from mutation import assert_only_peer_error

from appliance.errors import PeerError
from appliance.media.av1 import MAX_OBUS, Av1Config, split_temporal_unit
from appliance.media.track import Codec, Kind

# SVT-AV1 1.4, 320x240, main profile, as its av1C and its first temporal unit have it
SVT_HEADER = bytes.fromhex("000000043cffbcfbf90040")
SVT_AV1C = bytes.fromhex("81000c000a0b") + SVT_HEADER
DELIMITER = b"\x12\0"
SEQUENCE = b"\x0a\x0b" + SVT_HEADER
KEY_FRAME = b"\x32\x04\x14key"  # show_existing_frame 0, KEY_FRAME, show_frame 1
INTER_FRAME = b"\x32\x04\x34int"


def sequence_header(
    *,
    profile: int = 0,
    levels: tuple[int, ...] = (8,),
    size: tuple[int, int] = (1920, 1080),
    depth: int = 8,
    timing: tuple[int, int, int] | None = None,
    decoder_model: bool = False,
    monochrome: bool = False,
    reduced: bool = False,
) -> bytes:
    """By the letter of §5.5, written without our parser."""
    bits = BitWriter()
    bits.u(3, profile).u(1, reduced).u(1, reduced)
    if reduced:
        bits.u(5, levels[0])
    else:
        bits.u(1, timing is not None)
        if timing is not None:
            tick, scale, ticks = timing
            bits.u(32, tick).u(32, scale).u(1, 1).ue(ticks - 1).u(1, decoder_model)
            if decoder_model:
                bits.u(5, 9).u(32, 1).u(5, 9).u(5, 9)
        bits.u(1, 1).u(5, len(levels) - 1)
        for level in levels:
            bits.u(12, 0).u(5, level)
            if level > 7:
                bits.u(1, 1)
            if decoder_model:
                bits.u(1, 1).u(10, 5).u(10, 6).u(1, 0)
            bits.u(1, 1).u(4, 3)
    bits.u(4, 11).u(4, 10).u(12, size[0] - 1).u(11, size[1] - 1)
    if not reduced:
        bits.u(1, 1).u(4, 0).u(3, 0)  # frame ids
    bits.u(3, 7)
    if not reduced:
        bits.u(4, 15).u(1, 1).u(2, 3).u(1, 0).u(1, 1).u(1, 0).u(1, 1).u(3, 6)
    bits.u(3, 7)
    bits.u(1, depth > 8)
    if profile == 2 and depth > 8:
        bits.u(1, depth == 12)
    if profile != 1:
        bits.u(1, monochrome)
    bits.u(1, 1).u(8, 1).u(8, 1).u(8, 1).u(1, 0)
    if not monochrome:
        if profile == 2 and depth == 12:
            bits.u(1, 0)
        elif profile == 0:
            bits.u(2, 2)
        bits.u(1, 0)
    bits.u(1, 0)
    return bits.u(1, 1).to_bytes()


def test_config_of_a_real_encoder_is_read_and_written() -> None:
    config = Av1Config.from_av1c(SVT_AV1C)
    assert config is not None
    assert (config.kind, config.codec, config.rfc6381) == (Kind.VIDEO, Codec.AV1, "av01.0.00M.08")
    assert (config.width_px, config.height_px, config.fps) == (320, 240, None)
    assert config.to_av1c() == SVT_AV1C


@pytest.mark.parametrize(
    ("header", "rfc6381", "flags"),
    [
        (sequence_header(), "av01.0.08H.08", 0x8E),
        (sequence_header(levels=(5, 8)), "av01.0.05M.08", 0x0E),
        (sequence_header(depth=10), "av01.0.08H.10", 0xCE),
        (sequence_header(profile=1), "av01.1.08H.08", 0x80),
        (sequence_header(profile=2, depth=12), "av01.2.08H.12", 0xE0),
        (sequence_header(monochrome=True), "av01.0.08H.08", 0x9C),
        (sequence_header(reduced=True), "av01.0.08M.08", 0x0E),
    ],
)
def test_every_profile_is_described(header: bytes, rfc6381: str, flags: int) -> None:
    config = Av1Config(header)
    assert (config.width_px, config.height_px, config.rfc6381) == (1920, 1080, rfc6381)
    record = config.to_av1c()
    assert record[2] == flags
    assert Av1Config.from_av1c(record) == config


@pytest.mark.parametrize("decoder_model", [False, True])
def test_frame_rate_is_that_of_even_pictures(decoder_model: bool) -> None:
    header = sequence_header(timing=(1001, 60_000, 2), decoder_model=decoder_model, levels=(8, 9))
    assert Av1Config(header).fps == pytest.approx(30_000 / 1001)
    assert Av1Config(sequence_header(timing=(0, 0, 1))).fps is None


def test_record_without_sequence_header_leaves_it_to_the_first_key() -> None:
    assert Av1Config.from_av1c(SVT_AV1C[:4]) is None
    with pytest.raises(PeerError):
        Av1Config.from_av1c(b"\x01" + SVT_AV1C[1:])


def test_configs_that_describe_the_same_are_equal() -> None:
    other = bytearray(SVT_HEADER)
    other[-3] ^= 0x02  # a tool
    assert Av1Config(bytes(other)) == Av1Config(SVT_HEADER) != Av1Config(sequence_header())


def test_temporal_unit_loses_what_samples_must_not_have() -> None:
    padding, metadata = b"\x7a\x02..", b"\x2a\x03\x01hi"
    unit = split_temporal_unit(DELIMITER + SEQUENCE + metadata + padding + KEY_FRAME)
    assert unit.obus == [SEQUENCE, metadata, KEY_FRAME]
    assert unit.key and unit.sequence_header == SVT_HEADER


@pytest.mark.parametrize(
    ("data", "key"),
    [
        (SEQUENCE + KEY_FRAME, True),
        (SEQUENCE + b"\x30\x14last without size", True),
        (SEQUENCE + b"\x36\x08\x04\x14key", True),  # of a layer
        (SEQUENCE + b"\x1a\x02\x14k\x22\x01t", True),  # frame header and tile group
        (SEQUENCE + KEY_FRAME + INTER_FRAME, True),
        (SEQUENCE + INTER_FRAME, False),
        (SEQUENCE + b"\x32\x01\x04", False),  # a key that is not shown
        (SEQUENCE + b"\x1a\x01\x94", False),  # show_existing_frame
        (KEY_FRAME, False),
        (SEQUENCE, False),
        (SEQUENCE + b"\x32\0", False),
        (b"", False),
    ],
)
def test_key_is_a_shown_key_frame_behind_a_sequence_header(data: bytes, key: bool) -> None:
    assert split_temporal_unit(data).key is key


@pytest.mark.parametrize(
    "data",
    [
        b"\x92\0",
        b"\x32\x05\x14key",
        b"\x32" + b"\x80" * 8 + b"\0",
        b"\x32\xff\xff\xff\x7f",
        b"\x36",
        DELIMITER * (MAX_OBUS + 1),
    ],
)
def test_temporal_unit_that_cannot_be_is_refused(data: bytes) -> None:
    with pytest.raises(PeerError):
        split_temporal_unit(data)


@pytest.mark.parametrize("header", [b"", b"\x60" + SVT_HEADER[1:], SVT_HEADER[:7], bytes(2000)])
def test_sequence_header_that_cannot_be_is_refused(header: bytes) -> None:
    with pytest.raises(PeerError):
        Av1Config(header)


def test_picture_of_more_than_16384_pixels_is_refused() -> None:
    bits = BitWriter().u(3, 0).u(2, 3).u(5, 8).u(4, 15).u(4, 15).u(16, 16_384).u(16, 9)
    with pytest.raises(PeerError, match="16385x10"):
        Av1Config(bits.u(32, 0).u(32, 0).u(1, 1).to_bytes())


def test_av1_mutated_raises_nothing_but_peer_error() -> None:
    full = sequence_header(timing=(1, 30, 1), decoder_model=True, levels=(8, 3, 12))
    assert_only_peer_error(Av1Config, [SVT_HEADER, full, sequence_header(profile=2, depth=12)])
    assert_only_peer_error(Av1Config.from_av1c, [SVT_AV1C, Av1Config(full).to_av1c()])
    assert_only_peer_error(split_temporal_unit, [DELIMITER + SEQUENCE + KEY_FRAME, INTER_FRAME])
