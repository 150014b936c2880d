from __future__ import annotations

import random

import pytest
from bit_writer import BitWriter
from mutation import assert_only_peer_error
from video_units import packet

from appliance.errors import PeerError
from appliance.media.aac import AacConfig, adts_header
from appliance.media.track import Track
from appliance.media.unit import AccessUnit
from appliance.wire.rtp.formats.contract import Assembled
from appliance.wire.rtp.formats.mpeg4_generic import (
    MAX_UNITS,
    AuHeaderShape,
    Mpeg4GenericDepacketizer,
    Mpeg4GenericPacketizer,
)

CONFIG = AacConfig.lc(48_000, 2)
HBR = AuHeaderShape()
LBR = AuHeaderShape(6, 2, 2)


def depacketizer(
    shape: AuHeaderShape = HBR, clock_rate_hz: int = 48_000
) -> Mpeg4GenericDepacketizer:
    return Mpeg4GenericDepacketizer(CONFIG, clock_rate_hz, shape)


def payload(*units: bytes, shape: AuHeaderShape = HBR, sizes: tuple[int, ...] = ()) -> bytes:
    """sizes: what the headers say instead of the truth."""
    bits = BitWriter()
    for index, size in enumerate(sizes or map(len, units)):
        bits.u(shape.size_bits, size)
        bits.u(shape.index_delta_bits if index else shape.index_bits, 0)
    return len(bits.bits).to_bytes(2, "big") + bits.to_bytes() + b"".join(units)


def units_of(found: list[Assembled]) -> list[tuple[int, bytes]]:
    return [(one.stamp, bytes(one.parts[0])) for one in found]


@pytest.mark.parametrize("shape", [HBR, LBR, AuHeaderShape(13, 0, 0)])
def test_units_of_one_packet_follow_each_other_by_a_frame(shape: AuHeaderShape) -> None:
    found = depacketizer(shape).push(packet(payload(b"a" * 9, b"bc", b"d", shape=shape)), 1000)
    assert units_of(found) == [(1000, b"a" * 9), (2024, b"bc"), (3048, b"d")]
    assert all(one.key and one.duration == 1024 and not one.damaged for one in found)


def test_units_of_he_aac_last_twice_as_many_ticks_of_their_output_clock() -> None:
    found = depacketizer(clock_rate_hz=96_000).push(packet(payload(b"a", b"b")), 0)
    assert units_of(found) == [(0, b"a"), (2048, b"b")]


def test_unit_in_fragments_is_put_together() -> None:
    taken = depacketizer()
    whole = bytes(range(250))
    assert not taken.push(packet(payload(whole[:100], sizes=(250,))), 7)
    assert not taken.push(packet(payload(whole[100:200], sizes=(250,))), 7)
    assert units_of(taken.push(packet(payload(whole[200:], sizes=(250,)), marker=True), 7)) == [
        (7, whole)
    ]
    assert units_of(taken.push(packet(payload(b"next"), marker=True), 1031)) == [(1031, b"next")]


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_unit_in_fragments_that_lacks_one_is_dropped_whole(missing: int) -> None:
    taken = depacketizer()
    pieces = [packet(payload(b"x" * 100, sizes=(300,)), marker=at == 2) for at in range(3)]
    found: list[Assembled] = []
    for at, piece in enumerate(pieces):
        if at == missing:
            taken.lost()
        else:
            found += taken.push(piece, 7)
    found += taken.push(packet(payload(b"whole"), marker=True), 1031)
    assert units_of(found) == [(1031, b"whole")]


def test_fragments_of_two_units_are_never_one() -> None:
    taken = depacketizer()
    assert not taken.push(packet(payload(b"x" * 100, sizes=(200,))), 7)
    assert not taken.push(packet(payload(b"y" * 100, sizes=(200,))), 1031)
    assert units_of(taken.push(packet(payload(b"z" * 100, sizes=(200,)), marker=True), 1031)) == [
        (1031, b"y" * 100 + b"z" * 100)
    ]


def test_fragments_that_end_too_early_or_go_too_far_raise() -> None:
    taken = depacketizer()
    assert not taken.push(packet(payload(b"x" * 100, sizes=(200,))), 7)
    with pytest.raises(PeerError):
        taken.push(packet(payload(b"y" * 50, sizes=(200,)), marker=True), 7)
    assert not taken.push(packet(payload(b"x" * 150, sizes=(200,))), 8)
    with pytest.raises(PeerError):
        taken.push(packet(payload(b"y" * 150, sizes=(200,))), 8)


def test_unit_that_still_has_its_adts_header_loses_it() -> None:
    framed = adts_header(CONFIG, 40) + b"r" * 40
    found = depacketizer().push(packet(payload(framed)), 0)
    assert units_of(found) == [(0, b"r" * 40)]


def test_interleaved_units_are_refused() -> None:
    bits = BitWriter().u(13, 1).u(3, 0).u(13, 1).u(3, 2)
    with pytest.raises(PeerError, match="interleaved"):
        depacketizer().push(packet(b"\x00\x20" + bits.to_bytes() + b"ab"), 0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\x00\x00",
        b"\x00\x10\x00",
        b"\xff\xff\x00\x08a",
        payload(b"a", b"b", sizes=(1, 2)),
        payload(*[b""] * (MAX_UNITS + 1), sizes=(0,) * (MAX_UNITS + 1)),
    ],
)
def test_damaged_packet_raises_and_the_next_one_is_whole(data: bytes) -> None:
    taken = depacketizer()
    with pytest.raises(PeerError):
        taken.push(packet(data, marker=True), 0)
    assert units_of(taken.push(packet(payload(b"ok"), marker=True), 9)) == [(9, b"ok")]


def test_empty_units_are_left_out() -> None:
    assert not depacketizer().push(packet(payload(b"", sizes=(0,))), 0)


@pytest.mark.parametrize(
    ("fmtp", "shape"),
    [
        ({"mode": "AAC-hbr", "sizelength": "13", "indexlength": "3", "indexdeltalength": "3"}, HBR),
        ({"mode": "AAC-lbr", "sizelength": "6", "indexlength": "2", "indexdeltalength": "2"}, LBR),
        ({"mode": "AAC-lbr"}, LBR),
        ({}, HBR),
        ({"mode": "generic", "sizelength": "16", "indexlength": "0"}, AuHeaderShape(16, 0, 3)),
    ],
)
def test_shape_is_what_the_description_says(fmtp: dict[str, str], shape: AuHeaderShape) -> None:
    assert AuHeaderShape.from_fmtp(fmtp) == shape


@pytest.mark.parametrize(
    "fmtp",
    [
        {"mode": "CELP-cbr"},
        {"sizelength": "0"},
        {"sizelength": "99999"},
        {"sizelength": "1٣"},
        {"sizelength": "17"},
        {"constantsize": "12"},
        {"ctsdeltalength": "16"},
        {"auxiliarydatasizelength": "8"},
    ],
)
def test_shape_that_we_do_not_read_raises(fmtp: dict[str, str]) -> None:
    with pytest.raises(PeerError):
        AuHeaderShape.from_fmtp(fmtp)


@pytest.mark.parametrize("max_bytes", [50, 400, 1200])
def test_packetized_units_come_back_as_they_were(max_bytes: int) -> None:
    rng = random.Random(1)
    maker, taken = Mpeg4GenericPacketizer(max_bytes), depacketizer()
    track = Track(1, CONFIG)
    for stamp in range(0, 20 * 1024, 1024):
        raw = rng.randbytes(rng.randrange(1, 1500))
        made = maker.payloads(AccessUnit(track, 0, 0, True, (raw,)))
        assert all(len(one.data) <= max_bytes for one in made)
        assert [one.marker for one in made] == [False] * (len(made) - 1) + [True]
        found: list[Assembled] = []
        for one in made:
            found += taken.push(packet(one.data, marker=one.marker), stamp)
        assert units_of(found) == [(stamp, raw)]


def test_unit_beyond_thirteen_bits_of_size_is_not_sent() -> None:
    unit = AccessUnit(Track(1, CONFIG), 0, 0, True, (b"x" * 8192,))
    assert Mpeg4GenericPacketizer().payloads(unit) == []


def test_damaged_packets_raise_nothing_but_peer_error() -> None:
    taken = depacketizer()
    seeds = [payload(b"a" * 40), payload(b"a" * 9, b"b" * 3), payload(b"a" * 30, sizes=(90,))]
    assert_only_peer_error(lambda data: taken.push(packet(data), len(data) % 3), seeds)
