from __future__ import annotations

import pytest
from bit_writer import BitWriter
from mutation import assert_only_peer_error
from video_units import packet

from appliance.errors import PeerError
from appliance.media.aac import AacConfig
from appliance.media.bits import BitReader
from appliance.wire.rtp.formats.contract import Assembled
from appliance.wire.rtp.formats.latm import MAX_ELEMENT_BYTES, MAX_ELEMENTS, LatmDepacketizer
from appliance.wire.rtp.formats.stream_mux import StreamMux, parse_stream_mux

CONFIG = AacConfig.lc(48_000, 2)
OTHER = AacConfig.lc(16_000, 1)


def mux(subframes: int = 1, config: AacConfig = CONFIG, other_data_bits: int = 0) -> BitWriter:
    """A StreamMuxConfig of version 0."""
    bits = BitWriter().u(1, 0).u(1, 1).u(6, subframes - 1).u(4, 0).u(3, 0)
    bits.u(16, int.from_bytes(config.asc, "big"))
    bits.u(3, 0).u(8, 0xFF)
    if other_data_bits:
        bits.flag(True).flag(False).u(8, other_data_bits)
    else:
        bits.flag(False)
    return bits.flag(False)


def frame(bits: BitWriter, data: bytes) -> BitWriter:
    size = len(data)
    while size >= 255:
        bits.u(8, 255)
        size -= 255
    bits.u(8, size)
    for byte in data:
        bits.u(8, byte)
    return bits


def element(*frames: bytes, in_band: BitWriter | bool | None = None) -> bytes:
    """in_band: None: cpresent is 0; False: as before; else a configuration."""
    bits = BitWriter()
    if in_band is not None:
        bits.flag(not in_band)
    if isinstance(in_band, BitWriter):
        bits.bits += in_band.bits
    for data in frames:
        frame(bits, data)
    return bits.to_bytes()


def parsed(bits: BitWriter) -> StreamMux:
    return parse_stream_mux(BitReader(bits.to_bytes()))


def out_of_band(subframes: int = 1, other_data_bits: int = 0) -> LatmDepacketizer:
    settings = parsed(mux(subframes, other_data_bits=other_data_bits))
    return LatmDepacketizer(settings, 48_000, has_mux=False)


def units_of(found: list[Assembled]) -> list[tuple[int, bytes]]:
    return [(one.stamp, bytes(one.parts[0])) for one in found]


def test_element_of_a_described_stream_is_a_length_and_a_frame() -> None:
    taken = out_of_band()
    assert taken.config == CONFIG
    for data in (b"a", b"b" * 254, b"c" * 255, b"d" * 700):
        found = taken.push(packet(element(data), marker=True), 5)
        assert units_of(found) == [(5, data)]
        assert found[0].duration == 1024 and found[0].key


def test_element_with_its_configuration_in_band_is_read_off_the_byte_grid() -> None:
    taken = LatmDepacketizer(None, 48_000, has_mux=True)
    assert taken.config is None
    assert not taken.push(packet(element(b"early", in_band=False), marker=True), 0)
    data = bytes(range(200)) + bytes(200)
    found = taken.push(packet(element(data, in_band=mux()), marker=True), 1024)
    assert units_of(found) == [(1024, data)]
    assert taken.config == CONFIG
    before = taken.config
    found = taken.push(packet(element(data, in_band=False), marker=True), 2048)
    assert units_of(found) == [(2048, data)]
    assert taken.push(packet(element(data, in_band=mux()), marker=True), 3072)
    assert taken.config is before
    assert taken.push(packet(element(b"new", in_band=mux(config=OTHER)), marker=True), 4096)
    assert taken.config == OTHER


def test_several_subframes_and_several_elements_follow_each_other_by_a_frame() -> None:
    both = element(b"one", b"two") + element(b"three", b"four")
    found = out_of_band(subframes=2).push(packet(both, marker=True), 0)
    assert units_of(found) == [(0, b"one"), (1024, b"two"), (2048, b"three"), (3072, b"four")]


def test_other_data_between_elements_is_passed_over() -> None:
    taken = out_of_band(other_data_bits=16)
    found = taken.push(packet(element(b"one") + b"??" + element(b"two") + b"??", marker=True), 0)
    assert units_of(found) == [(0, b"one"), (1024, b"two")]


def test_element_in_pieces_is_put_together_at_the_marker() -> None:
    taken, data = out_of_band(), element(bytes(range(250)))
    assert not taken.push(packet(data[:100]), 7)
    assert not taken.push(packet(data[100:200]), 7)
    assert units_of(taken.push(packet(data[200:], marker=True), 7)) == [(7, bytes(range(250)))]


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_element_that_lacks_a_piece_is_dropped_whole(missing: int) -> None:
    taken, data = out_of_band(), element(b"\x03" * 250)
    pieces = [data[:100], data[100:200], data[200:]]
    found: list[Assembled] = []
    for at, piece in enumerate(pieces):
        if at == missing:
            taken.lost()
        else:
            found += taken.push(packet(piece, marker=at == 2), 7)
    found += taken.push(packet(element(b"x"), marker=True), 1031)  # may end the one that broke off
    found += taken.push(packet(element(b"whole"), marker=True), 2055)
    assert (2055, b"whole") in units_of(found)
    assert all(stamp > 7 for stamp, _ in units_of(found))


def test_element_without_end_gives_way_to_the_next_one() -> None:
    taken = out_of_band()
    assert not taken.push(packet(element(b"long")[:2]), 7)
    assert units_of(taken.push(packet(element(b"next"), marker=True), 1031)) == [(1031, b"next")]


def test_element_beyond_the_cap_raises() -> None:
    taken = out_of_band()
    with pytest.raises(PeerError):
        for _ in range(MAX_ELEMENT_BYTES // 1000 + 1):
            taken.push(packet(bytes(1000)), 7)


def test_frame_that_passes_the_end_raises() -> None:
    with pytest.raises(PeerError):
        out_of_band().push(packet(b"\x05abcd", marker=True), 0)
    with pytest.raises(PeerError):
        out_of_band().push(packet(b"\xff\xff", marker=True), 0)


def test_flood_of_elements_is_refused() -> None:
    most = element(b"a") * MAX_ELEMENTS
    assert len(out_of_band().push(packet(most, marker=True), 0)) == MAX_ELEMENTS
    for data in (most + element(b"a"), bytes(60_000)):
        with pytest.raises(PeerError, match="more than"):
            out_of_band().push(packet(data, marker=True), 0)


def test_stream_without_any_configuration_is_refused() -> None:
    with pytest.raises(PeerError):
        LatmDepacketizer(None, 48_000, has_mux=False)


def test_mux_of_version_one_gives_the_size_of_its_configuration() -> None:
    bits = BitWriter().u(1, 1).u(1, 0).u(2, 0).u(8, 0).u(1, 1).u(6, 1).u(4, 0).u(3, 0)
    bits.u(2, 0).u(8, 16).u(16, int.from_bytes(CONFIG.asc, "big")).u(3, 0).u(8, 0)
    bits.flag(True).u(2, 1).u(16, 300).flag(True).u(8, 0)
    assert parsed(bits) == StreamMux(CONFIG, 2, 300)


def test_mux_with_sbr_appended_to_its_configuration_ends_behind_it() -> None:
    asc = BitWriter().u(5, 2).u(4, 6).u(4, 2).u(3, 0).u(11, 0x2B7).u(5, 5).flag(True).u(4, 3)
    asc.u(11, 0x548).flag(True)
    bits = BitWriter().u(1, 0).u(1, 1).u(6, 0).u(4, 0).u(3, 0)
    bits.bits += asc.bits
    bits.u(3, 0).u(8, 0xFF).u(1, 0).u(1, 0)
    found = parsed(bits)
    assert found.config == AacConfig(asc.to_bytes())
    assert (found.config.sample_rate_hz, found.other_data_bits) == (24_000, 0)


def start(*, programs: int = 1, layers: int = 1) -> BitWriter:
    return BitWriter().u(1, 0).u(1, 1).u(6, 0).u(4, programs - 1).u(3, layers - 1)


@pytest.mark.parametrize(
    ("bits", "why"),
    [
        (BitWriter().u(1, 1).u(1, 1), "version"),
        (BitWriter().u(1, 0).u(1, 0), "framed alike"),
        (start(programs=2).u(16, 0x1190), "programs"),
        (start(layers=2).u(16, 0x1190), "programs or layers"),
        (start().u(16, 0x1190).u(3, 1), "length before"),
        (start().u(16, 0x1180).u(3, 1), "truncated"),  # channels in a program config element
        (start().u(16, 0xB990).u(16, 0), "extensions"),  # error resilient
        (start(), "truncated"),
    ],
)
def test_mux_that_we_do_not_read_raises(bits: BitWriter, why: str) -> None:
    with pytest.raises(PeerError, match=why):
        parsed(bits)


def test_damaged_packets_raise_nothing_but_peer_error() -> None:
    described, in_band = out_of_band(2), LatmDepacketizer(None, 48_000, has_mux=True)
    seeds = [element(b"a" * 300, b"b"), element(b"c" * 20, in_band=mux(3))]

    def push(data: bytes) -> None:
        described.push(packet(data, marker=True), 0)
        in_band.push(packet(data, marker=True), 0)

    assert_only_peer_error(push, seeds)
    assert_only_peer_error(lambda data: parse_stream_mux(BitReader(data)), [mux(3).to_bytes()])
