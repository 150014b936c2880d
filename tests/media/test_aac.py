from __future__ import annotations

import random

import pytest
from bit_writer import BitWriter
from mutation import assert_only_peer_error, corpus

from appliance.errors import CodecUnsupported, PeerError
from appliance.media.aac import (
    MAX_ASC_BYTES,
    MAX_FRAMES,
    MAX_SEARCH_BYTES,
    SAMPLE_RATES_HZ,
    AacConfig,
    AdtsSplitter,
    adts_header,
    split_adts,
    take_config,
)
from appliance.media.bits import BitReader
from appliance.media.track import Codec, Kind

LC = AacConfig.lc(48_000, 2)
FRAMES = [bytes([number]) * (number * 37 % 300 + 1) for number in range(1, 40)]


def adts(frames: list[bytes], config: AacConfig = LC) -> bytes:
    return b"".join(adts_header(config, len(frame)) + frame for frame in frames)


def split(data: bytes) -> tuple[AacConfig, list[bytes]]:
    config, frames = split_adts(data)
    return config, list(map(bytes, frames))


def asc(object_type: int, rate_index: int, channel_config: int, rest: str = "000") -> bytes:
    writer = BitWriter().u(5, object_type).u(4, rate_index).u(4, channel_config)
    writer.bits += rest
    return writer.to_bytes()


def program(front: str, side: str = "", back: str = "", low: int = 0, comment: bytes = b"") -> str:
    """program_config_element: each letter of the first three is a single or a pair (s, p)."""
    writer = BitWriter().u(4, 0).u(2, 1).u(4, 3)
    writer.u(4, len(front)).u(4, len(side)).u(4, len(back)).u(2, low).u(3, 1).u(4, 1)
    writer.flag(1).u(4, 0).flag(0).flag(1).u(3, 0)
    for letter in front + side + back:
        writer.flag(letter == "p").u(4, 0)
    writer.u(4 * low, 0).u(4, 0).u(5, 0).u(8, len(comment))
    return writer.bits


@pytest.mark.parametrize(
    ("data", "object_type", "rate_hz", "channels", "frame_samples"),
    [
        ("1190", 2, 48_000, 2, 1024),
        ("1210", 2, 44_100, 2, 1024),
        ("1588", 2, 8_000, 1, 1024),
        ("1208", 2, 44_100, 1, 1024),
        ("11b8", 2, 48_000, 8, 1024),
        ("1214", 2, 44_100, 2, 960),
        ("0a10", 1, 44_100, 2, 1024),
        ("1390", 2, 22_050, 2, 1024),
        ("139056e5a5", 2, 22_050, 2, 1024),  # SBR told afterwards
    ],
)
def test_asc_of_plain_aac(
    data: str, object_type: int, rate_hz: int, channels: int, frame_samples: int
) -> None:
    config = AacConfig(bytes.fromhex(data))
    assert (config.kind, config.codec) == (Kind.AUDIO, Codec.AAC)
    assert (config.object_type, config.core_object_type) == (object_type, object_type)
    assert (config.sample_rate_hz, config.channels) == (rate_hz, channels)
    assert config.frame_samples == frame_samples
    assert config.rfc6381 == f"mp4a.40.{object_type}"


def test_asc_of_explicit_sbr_tells_the_core() -> None:
    config = AacConfig(asc(5, 7, 2, "0100" + "00010" + "000"))  # 22.05 kHz, out 44.1 kHz
    assert (config.object_type, config.core_object_type) == (5, 2)
    assert (config.sample_rate_hz, config.channels, config.frame_samples) == (22_050, 2, 1024)
    assert config.rfc6381 == "mp4a.40.5"
    assert AacConfig(adts_header_config(config).asc).sample_rate_hz == 22_050


def test_asc_of_explicit_ps_tells_the_core() -> None:
    config = AacConfig(asc(29, 6, 1, "0011" + "00010" + "000"))
    assert (config.object_type, config.core_object_type) == (29, 2)
    assert (config.sample_rate_hz, config.channels) == (24_000, 1)
    assert config.rfc6381 == "mp4a.40.29"


def adts_header_config(config: AacConfig) -> AacConfig:
    """What a receiver of ADTS makes of a configuration."""
    return split_adts(adts_header(config, 1) + b"x")[0]


@pytest.mark.parametrize(
    ("object_type", "rest", "frame_samples"),
    [
        (23, "000", 512),
        (23, "100", 480),
        (17, "000", 1024),
        (4, "0" + "1" + "0" * 14 + "0", 1024),
    ],
)
def test_asc_of_other_general_types(object_type: int, rest: str, frame_samples: int) -> None:
    config = AacConfig(asc(object_type, 3, 2, rest))
    assert (config.object_type, config.frame_samples) == (object_type, frame_samples)


def test_asc_of_escaped_object_type() -> None:
    writer = BitWriter().u(5, 31).u(6, 39 - 32).u(4, 3).u(4, 1).u(3, 0)
    config = AacConfig(writer.to_bytes())
    assert (config.object_type, config.frame_samples) == (39, 512)
    assert config.rfc6381 == "mp4a.40.39"
    writer = BitWriter().u(5, 31).u(6, 39 - 32).u(4, 3).u(4, 1).u(3, 4)
    assert AacConfig(writer.to_bytes()).frame_samples == 480


def test_asc_of_escaped_sample_rate() -> None:
    writer = BitWriter().u(5, 2).u(4, 15).u(24, 12_345).u(4, 2).u(3, 0)
    config = AacConfig(writer.to_bytes())
    assert (config.sample_rate_hz, config.channels) == (12_345, 2)
    assert AacConfig.lc(12_345, 2) == config


@pytest.mark.parametrize(
    ("element", "channels"),
    [
        (program("s"), 1),
        (program("p"), 2),
        (program("sp", "p", "p", low=1), 8),
        (program("p", comment=b"why"), 2),
        (program("p" * 15, "p" * 15, "p" * 15, low=3), 93),
    ],
)
def test_asc_of_channel_config_0_counts_its_program(element: str, channels: int) -> None:
    assert AacConfig(asc(2, 3, 0, "000" + element)).channels == channels


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\xff",
        b"\x12",
        asc(2, 3, 0),  # no program
        asc(2, 3, 0, "000" + program("")),  # a program of no channel
        asc(2, 3, 0, "000" + program("ppp")[:30]),
        asc(2, 13, 2),
        asc(2, 14, 2),
        asc(2, 15, 2),
        BitWriter().u(5, 2).u(4, 15).u(24, 0).u(4, 2).u(3, 0).to_bytes(),
        BitWriter().u(5, 2).u(4, 15).u(24, 999).u(4, 2).u(3, 0).to_bytes(),
        BitWriter().u(5, 2).u(4, 15).u(24, 384_001).u(4, 2).u(3, 0).to_bytes(),
        BitWriter().u(5, 2).u(4, 15).u(20, 0).to_bytes(),
        asc(2, 3, 8),
        asc(2, 3, 15),
        asc(0, 3, 2),
        asc(31, 3, 2),
        asc(5, 3, 2, "0011" + "00101" + "000"),  # SBR within SBR
        BitWriter().u(5, 31).u(6, 36 - 32).u(4, 3).u(4, 2).u(9, 0).to_bytes(),  # ALS
        b"\x11\x90" + bytes(MAX_ASC_BYTES),
    ],
)
def test_asc_that_is_damaged_or_reserved_raises(data: bytes) -> None:
    with pytest.raises(PeerError):
        AacConfig(data)


@pytest.mark.parametrize("record", [*corpus("asc"), asc(5, 7, 2, "0100" + "00010" + "000")])
def test_asc_cut_at_any_byte_raises(record: bytes) -> None:
    for end in range(len(record)):
        with pytest.raises(PeerError):
            AacConfig(record[:end])


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 6, 7, 8, 24])
@pytest.mark.parametrize("rate_hz", [*SAMPLE_RATES_HZ, 37_800])
def test_lc_tells_what_it_was_given(rate_hz: int, channels: int) -> None:
    config = AacConfig.lc(rate_hz, channels)
    assert (config.sample_rate_hz, config.channels) == (rate_hz, channels)
    assert (config.object_type, config.frame_samples) == (2, 1024)


@pytest.mark.parametrize(
    ("rate_hz", "channels"), [(48_000, 0), (48_000, 9), (48_000, -1), (0, 2), (1 << 24, 2), (-1, 2)]
)
def test_lc_of_what_aac_has_not_raises(rate_hz: int, channels: int) -> None:
    with pytest.raises(PeerError):
        AacConfig.lc(rate_hz, channels)


def test_adts_round_trip() -> None:
    for rate_hz in SAMPLE_RATES_HZ:
        for channels in (1, 2, 3, 4, 5, 6, 8):
            config = AacConfig.lc(rate_hz, channels)
            assert split(adts(FRAMES, config)) == (config, FRAMES)


def test_adts_frames_are_views() -> None:
    data = adts(FRAMES)
    _, frames = split_adts(data)
    assert all(frame.obj is data for frame in frames)


@pytest.mark.parametrize(
    "config",
    [
        AacConfig.lc(12_345, 2),
        AacConfig.lc(48_000, 7),
        AacConfig(asc(23, 3, 2)),
        AacConfig(asc(2, 3, 0, "000" + program("p"))),
    ],
)
def test_adts_cannot_carry_everything(config: AacConfig) -> None:
    with pytest.raises(CodecUnsupported):
        adts_header(config, 100)


def test_adts_frame_at_its_greatest_and_one_past_it() -> None:
    raw = bytes(0x1FFF - 7)
    assert split_adts(adts_header(LC, len(raw)) + raw)[1] == [raw]
    with pytest.raises(CodecUnsupported):
        adts_header(LC, len(raw) + 1)


def with_length(length: int) -> bytes:
    header = int.from_bytes(adts_header(LC, 100), "big") & ~(0x1FFF << 13)
    return (header | length << 13).to_bytes(7, "big")


@pytest.mark.parametrize("length", range(7))
def test_adts_shorter_than_its_header_raises_and_never_loops(length: int) -> None:
    data = with_length(length) + bytes(50)
    with pytest.raises(PeerError):
        split_adts(data)
    assert AdtsSplitter().receive(data) == []


def test_adts_with_checksum_needs_nine_bytes() -> None:
    header = bytearray(with_length(9 + 4))
    header[1] &= 0xFE
    assert split_adts(bytes(header) + b"\xab\xcd" + b"data")[1] == [b"data"]
    header = bytearray(with_length(8))
    header[1] &= 0xFE
    with pytest.raises(PeerError):
        split_adts(bytes(header) + bytes(20))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data[:6],
        lambda data: data + b"\xff",
        lambda data: b"\x00" + data,
        lambda data: data[:7] + b"!" + data[7:],
        lambda data: bytes((data[0], data[1] | 2)) + data[2:],  # layer
        lambda data: data[:2] + bytes((data[2] | 0x3C,)) + data[3:],  # sample rate 15
        lambda data: data[:3] + bytes((data[3] & 0x3F,)) + data[4:],  # no channels
        lambda data: data[:6] + bytes((data[6] | 1,)) + data[7:],  # two blocks in a frame
        lambda data: data + adts([b"x"], AacConfig.lc(44_100, 2)),
        lambda data: adts([b""]) * (MAX_FRAMES + 1),
    ],
)
def test_split_adts_of_damage_raises(damage: object) -> None:
    assert callable(damage)
    with pytest.raises(PeerError):
        split_adts(damage(adts(FRAMES)))


def test_split_adts_leaves_out_empty_frames() -> None:
    assert split(adts([b"", b"a", b""])) == (LC, [b"a"])


def received(splitter: AdtsSplitter, pieces: list[bytes]) -> list[bytes]:
    return [bytes(frame.raw) for piece in pieces for frame in splitter.receive(piece)]


@pytest.mark.parametrize("size", [1, 2, 6, 7, 8, 100, 188, 100_000])
def test_splitter_does_not_mind_where_the_stream_is_cut(size: int) -> None:
    data = adts(FRAMES)
    splitter = AdtsSplitter()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert received(splitter, pieces) == FRAMES
    assert (splitter.pending_bytes, splitter.skipped_bytes) == (0, 0)


def test_splitter_tells_of_a_frame_begun() -> None:
    data = adts(FRAMES[:2])
    splitter = AdtsSplitter()
    splitter.receive(data[:-5])
    assert splitter.pending_bytes == len(adts(FRAMES[1:2])) - 5
    assert received(splitter, [data[-5:]]) == FRAMES[1:2]


def test_splitter_tells_configurations_as_they_change() -> None:
    other = AacConfig.lc(44_100, 1)
    frames = AdtsSplitter().receive(adts([b"a"]) + adts([b"b"], other))
    assert [(frame.config, bytes(frame.raw)) for frame in frames] == [(LC, b"a"), (other, b"b")]


def test_splitter_finds_the_next_frame_after_damage() -> None:
    splitter = AdtsSplitter()
    data = adts(FRAMES[:4]) + b"garbage" + adts(FRAMES[4:])
    assert received(splitter, [data]) == FRAMES
    assert splitter.skipped_bytes == 7


def test_splitter_that_begins_inside_a_frame_is_not_fooled_by_its_inside() -> None:
    inside = b"\x01" + adts_header(LC, 20) + b"\x02" * 30  # what looks like a header in a frame
    splitter = AdtsSplitter()
    assert received(splitter, [inside + adts(FRAMES)]) == FRAMES
    assert splitter.skipped_bytes == len(inside)


def test_splitter_of_random_damage_loses_only_what_a_false_length_swallows() -> None:
    rng = random.Random(6)
    frames = [bytes((1, number)) * 90 for number in range(1, 200)]
    for _ in range(200):
        data = bytearray(adts(frames))
        at = rng.randrange(len(data) // 2)
        data[at] ^= 1 << rng.randrange(8)
        pieces = []
        while data:
            size = rng.randrange(1, 600)
            pieces.append(bytes(data[:size]))
            del data[:size]
        got = received(AdtsSplitter(), pieces)
        first, untouched = at // 187, at // 187 + 1 + (0x1FFF + 186) // 187
        assert got[:first] == frames[:first]
        assert got[-len(frames[untouched:]) :] == frames[untouched:]


def test_splitter_gives_up_on_garbage_without_end() -> None:
    splitter = AdtsSplitter()
    with pytest.raises(PeerError):
        for _ in range(MAX_SEARCH_BYTES // 1024 + 2):
            splitter.receive(bytes(1024))


def test_splitter_of_headers_everywhere_ends_soon() -> None:
    with pytest.raises(PeerError):
        AdtsSplitter().receive(with_length(3) * 200_000)
    with pytest.raises(PeerError):
        AdtsSplitter().receive(adts([b"x"]) * (MAX_FRAMES + 1))


def test_splitter_keeps_less_than_a_frame() -> None:
    splitter = AdtsSplitter()
    for _ in range(8):
        splitter.receive(with_length(0x1FFF)[:7] + bytes(5000))
        assert splitter.pending_bytes <= 0x1FFF


def test_asc_mutated_raises_only_peer_error() -> None:
    seeds = [*corpus("asc"), asc(2, 3, 0, "000" + program("sp", "p", "p", 1, b"note"))]
    seeds += [asc(5, 7, 2, "0100" + "00010" + "000"), b"\xff" * 40]
    assert_only_peer_error(AacConfig, seeds, 3000)


def test_adts_mutated_raises_only_peer_error() -> None:
    seeds = [*corpus("adts"), adts(FRAMES[:3])]
    assert_only_peer_error(split_adts, seeds, 2000)
    assert_only_peer_error(lambda data: AdtsSplitter().receive(data), seeds, 2000)
    assert_only_peer_error(
        lambda data: received(
            AdtsSplitter(), [data[at : at + 50] for at in range(0, len(data), 50)]
        ),
        seeds,
        500,
    )


@pytest.mark.parametrize("before_bits", [0, 1, 7])
@pytest.mark.parametrize(
    "config",
    [LC, AacConfig.lc(12_345, 1), AacConfig(asc(5, 6, 2, "0011" + "00010" + "000"))],
)
def test_config_amid_other_bits_is_taken_and_what_follows_stays(
    before_bits: int, config: AacConfig
) -> None:
    length = {LC: 16, AacConfig.lc(12_345, 1): 40}.get(config, 25)
    writer = BitWriter().u(before_bits, 0)
    writer.bits += f"{int.from_bytes(config.asc, 'big'):0{len(config.asc) * 8}b}"[:length]
    bits = BitReader(writer.u(8, 0xA5).to_bytes())
    bits.skip(before_bits)
    assert take_config(bits) == config
    assert bits.u(8) == 0xA5


def test_config_amid_other_bits_may_end_with_sbr_and_ps() -> None:
    sbr = BitWriter().u(5, 2).u(4, 6).u(4, 2).u(3, 0).u(11, 0x2B7).u(5, 5)
    for extension in ("0", "1" + "0011", "1" + "0011" + f"{0x548:011b}" + "1"):
        writer = BitWriter()
        writer.bits = sbr.bits + extension
        bits = BitReader(writer.u(8, 0xA5).to_bytes())
        assert take_config(bits).sample_rate_hz == 24_000
        assert bits.u(8) == 0xA5


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x11",
        asc(2, 3, 0),  # a program config element
        asc(23, 3, 2, "0000"),
        asc(2, 3, 2, "000" + f"{0x2B7:011b}" + "00110" + "0"),
    ],
)
def test_config_amid_other_bits_whose_end_is_unknown_raises(data: bytes) -> None:
    with pytest.raises(PeerError):
        take_config(BitReader(data))


def test_config_amid_damaged_bits_raises_nothing_but_peer_error() -> None:
    seeds = [*corpus("asc"), asc(2, 6, 2, "000" + f"{0x2B7:011b}" + "00101" + "1" + "0011")]
    assert_only_peer_error(lambda data: take_config(BitReader(data)), seeds)
