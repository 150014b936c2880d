from __future__ import annotations

import pytest
from bit_writer import BitWriter
from mutation import assert_only_peer_error

from appliance.errors import PeerError
from appliance.media.track import Codec, Kind
from appliance.media.vp9 import Vp9Config, parse_key_frame

# FFmpeg 8's sequence header in FLV, and the first frame of libvpx, both of 320x240
VPCC = bytes.fromhex("010000000014820202020000")
KEY = bytes.fromhex("824983420013f00ef60638241c184a000d405fcd")


def key_frame(profile: int, colour: tuple[tuple[int, int], ...]) -> bytes:
    """An uncompressed header's beginning (§6.2) of 640x480; colour: bits and value."""
    bits = BitWriter().u(2, 2).u(1, profile & 1).u(1, profile >> 1)
    if profile == 3:
        bits.u(1, 0)
    bits.u(1, 0).u(1, 0).u(1, 1).u(1, 0).u(24, 0x498342)
    for size, value in colour:
        bits.u(size, value)
    return bits.u(16, 639).u(16, 479).u(32, 0).u(1, 1).to_bytes()


def test_vpcc_and_key_of_real_encoder_describe_the_track() -> None:
    record = Vp9Config.from_vpcc(VPCC)
    assert record == Vp9Config(level_idc=20)
    config = parse_key_frame(KEY, record)
    assert config is not None
    assert (config.kind, config.codec, config.rfc6381) == (Kind.VIDEO, Codec.VP9, "vp09.00.20.08")
    assert (config.width_px, config.height_px, config.fps) == (320, 240, None)
    assert config.to_vpcc() == VPCC


def test_vpcc_is_read_without_version_too() -> None:
    assert Vp9Config.from_vpcc(VPCC[4:]) == Vp9Config.from_vpcc(VPCC)
    bare = bytes((1, 31, 0xA6, 9, 16, 9, 0, 0))  # profile 1
    assert Vp9Config.from_vpcc(bare) == Vp9Config(0, 0, 1, 31, 10, 3, False, b"\x09\x10\x09")


@pytest.mark.parametrize(
    ("profile", "colour", "expected"),
    [
        (0, ((3, 2), (1, 1)), (8, 1, True)),
        (1, ((3, 2), (1, 0), (1, 0), (1, 0), (1, 0)), (8, 3, False)),
        (1, ((3, 7), (1, 0)), (8, 3, True)),
        (2, ((1, 0), (3, 2), (1, 0)), (10, 1, False)),
        (3, ((1, 1), (3, 2), (1, 0), (1, 1), (1, 0), (1, 0)), (12, 2, False)),
    ],
)
def test_key_of_every_profile_is_read(
    profile: int, colour: tuple[tuple[int, int], ...], expected: tuple[int, int, bool]
) -> None:
    config = parse_key_frame(key_frame(profile, colour), Vp9Config())
    assert config is not None
    assert (config.width_px, config.height_px, config.profile) == (640, 480, profile)
    assert (config.bit_depth, config.chroma, config.is_full_range) == expected
    assert Vp9Config.from_vpcc(config.to_vpcc()).bit_depth == config.bit_depth


def test_chroma_position_is_that_of_the_record() -> None:
    config = parse_key_frame(KEY, Vp9Config(chroma=0))
    assert config is not None and config.chroma == 0


@pytest.mark.parametrize(
    ("size", "level"),
    [((160, 120), 10), ((1280, 720), 31), ((1920, 1080), 40), ((7680, 4320), 60)],
)
def test_level_that_nobody_told_follows_from_the_size(size: tuple[int, int], level: int) -> None:
    assert Vp9Config(*size).level == level


@pytest.mark.parametrize("frame", [b"\x86\x00", b"\x88\x00", b"\x8a"])
def test_other_frames_describe_nothing(frame: bytes) -> None:
    """Inter frames, and such as only show another again."""
    assert parse_key_frame(frame, Vp9Config()) is None


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x02" + KEY[1:],
        KEY[:8],
        KEY[:2] + b"x" + KEY[3:],
        KEY[:4] + b"\xff" * 20,
        key_frame(0, ((3, 7),)),
    ],
)
def test_frame_that_is_no_vp9_is_refused(frame: bytes) -> None:
    with pytest.raises(PeerError):
        parse_key_frame(frame, Vp9Config())


@pytest.mark.parametrize("record", [b"", VPCC[:6], VPCC[:4] + b"\x04" + VPCC[5:], bytes(12)])
def test_vpcc_that_cannot_be_is_refused(record: bytes) -> None:
    with pytest.raises(PeerError):
        Vp9Config.from_vpcc(record)


def test_vp9_mutated_raises_nothing_but_peer_error() -> None:
    assert_only_peer_error(Vp9Config.from_vpcc, [VPCC, VPCC[4:]])
    seeds = [KEY, key_frame(3, ((1, 1), (3, 7), (1, 0)))]
    assert_only_peer_error(lambda data: parse_key_frame(data, Vp9Config()), seeds)
