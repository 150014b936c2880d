"""MP3, FLAC, AC-3 and E-AC-3: what their headers say."""

from __future__ import annotations

import pytest
from mutation import assert_only_peer_error

from appliance.errors import PeerError
from appliance.media.ac3 import Ac3Config
from appliance.media.flac import FlacConfig
from appliance.media.mp3 import Mp3Config
from appliance.media.track import Codec, Kind

# The first bytes of what libmp3lame, flac, ac3 and eac3 of FFmpeg write
LAME = bytes.fromhex("fffb9464")
STREAMINFO = bytes.fromhex("1200120000037000051d0bb802f00002ee00db3f5d78d31d342d7f038577053dc10d")
AC3 = bytes.fromhex("0b77fe95144043e106f46370c0c0c218")
EAC3 = bytes.fromhex("0b77017f3487c0002084210838008c06") + bytes(768 - 16)


@pytest.mark.parametrize(
    ("header", "expected", "rfc6381"),
    [
        (LAME, Mp3Config(48_000, 2, 1152, True), "mp4a.6B"),
        (b"\xff\xfb\x90\xc4", Mp3Config(44_100, 1, 1152, True), "mp4a.6B"),
        (b"\xff\xfa\x98\x00", Mp3Config(32_000, 2, 1152, True), "mp4a.6B"),
        (b"\xff\xfd\x90\x00", Mp3Config(44_100, 2, 1152, True), "mp4a.6B"),  # layer II
        (b"\xff\xff\x90\x00", Mp3Config(44_100, 2, 384, True), "mp4a.6B"),  # layer I
        (b"\xff\xf3\x90\x00", Mp3Config(22_050, 2, 576, False), "mp4a.69"),
        (b"\xff\xf5\x90\x00", Mp3Config(22_050, 2, 1152, False), "mp4a.69"),
        (b"\xff\xe3\x98\xc0", Mp3Config(8_000, 1, 576, False), "mp4a.69"),
    ],
)
def test_mp3_header_is_read(header: bytes, expected: Mp3Config, rfc6381: str) -> None:
    config = Mp3Config.from_frame(header + b"...")
    assert config == expected
    assert (config.kind, config.codec, config.rfc6381) == (Kind.AUDIO, Codec.MP3, rfc6381)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        LAME[:3],
        b"ID3\x04",
        b"\xff\xeb\x90\x00",  # reserved version
        b"\xff\xf9\x90\x00",  # reserved layer
        b"\xff\xfb\xf0\x00",  # bit rate 15
        b"\xff\xfb\x9c\x00",  # rate 3
    ],
)
def test_mp3_frame_without_header_is_refused(frame: bytes) -> None:
    with pytest.raises(PeerError):
        Mp3Config.from_frame(frame)


@pytest.mark.parametrize(
    "header",
    [
        STREAMINFO,
        b"\x80\0\0\x22" + STREAMINFO,
        b"fLaC\0\0\0\x22" + STREAMINFO + b"\x84\0\0\0",
    ],
)
def test_flac_streaminfo_is_found(header: bytes) -> None:
    config = FlacConfig.from_header(header)
    assert (config.sample_rate_hz, config.channels, config.sample_bits) == (48_000, 2, 16)
    assert config.frame_samples == 4608
    assert (config.kind, config.codec, config.rfc6381) == (Kind.AUDIO, Codec.FLAC, "fLaC")
    assert config.to_blocks() == b"\x80\0\0\x22" + STREAMINFO


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"fLaC",
        b"fLaC\x04\0\0\x22" + STREAMINFO,
        b"fLaC\0\0\0\x21" + STREAMINFO,
        b"fLaC\0\0\0\x22" + STREAMINFO[:-1],
        bytes(34),
    ],
)
def test_flac_header_that_cannot_be_is_refused(header: bytes) -> None:
    with pytest.raises(PeerError):
        FlacConfig.from_header(header)


def test_ac3_frame_describes_its_track() -> None:
    config = Ac3Config.from_frame(AC3)
    assert (config.kind, config.codec, config.rfc6381) == (Kind.AUDIO, Codec.AC3, "ac-3")
    assert (config.sample_rate_hz, config.channels, config.frame_samples) == (48_000, 2, 1536)
    assert config.rate_kbps == 192
    assert config.to_box_body().hex() == "101140"  # as ffmpeg 5.1 writes dac3


def test_ac3_of_six_channels_finds_its_lfe() -> None:
    # fscod 1, acmod 7 with two mix levels, lfeon
    data = b"\x0b\x77\0\0" + bytes((1 << 6 | 30, 8 << 3, 0b111_00_00_1, 0))
    config = Ac3Config.from_frame(data)
    assert (config.sample_rate_hz, config.channels, config.lfe) == (44_100, 6, 1)


def test_eac3_frame_describes_its_track() -> None:
    config = Ac3Config.from_frame(EAC3)
    assert (config.codec, config.rfc6381) == (Codec.EAC3, "ec-3")
    assert (config.sample_rate_hz, config.channels, config.frame_samples) == (48_000, 2, 1536)
    assert config.to_box_body().hex() == "0600200400"  # as ffmpeg 5.1 writes dec3


def test_ac3_configs_differ_by_what_players_must_know_and_not_by_rate() -> None:
    other_rate = AC3[:4] + bytes((AC3[4] + 2,)) + AC3[5:]
    assert Ac3Config.from_frame(other_rate).rate_kbps != 192
    assert Ac3Config.from_frame(other_rate) == Ac3Config.from_frame(AC3)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        AC3[:6],
        b"\x0b\x78" + AC3[2:],
        AC3[:4] + b"\xc0" + AC3[5:],  # rate code 3
        AC3[:4] + b"\x26" + AC3[5:],  # size code 38
        AC3[:5] + b"\xff" + AC3[6:],  # version 31
        EAC3[:-2],
        EAC3 * 2,
        EAC3[:2] + b"\x41" + EAC3[3:],  # a dependent substream
    ],
)
def test_ac3_frame_that_cannot_be_carried_is_refused(frame: bytes) -> None:
    with pytest.raises(PeerError):
        Ac3Config.from_frame(frame)


def test_sound_headers_mutated_raise_nothing_but_peer_error() -> None:
    def describe_all(data: bytes) -> None:
        config = Ac3Config.from_frame(data)
        assert config.to_box_body() and config.channels <= 6 and config.rfc6381

    assert_only_peer_error(describe_all, [AC3, EAC3[:16]])
    assert_only_peer_error(Mp3Config.from_frame, [LAME])
    assert_only_peer_error(FlacConfig.from_header, [STREAMINFO, b"fLaC\0\0\0\x22" + STREAMINFO])
