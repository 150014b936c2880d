from __future__ import annotations

import random

import pytest
from mutation import assert_only_peer_error
from video_units import packet, push_all

from appliance.errors import MisuseError, PeerError
from appliance.media.av1 import Av1Config
from appliance.media.track import Track
from appliance.media.unit import AccessUnit
from appliance.wire.rtp.formats.av1 import MAX_ELEMENTS, Av1Depacketizer, Av1Packetizer
from appliance.wire.rtp.formats.contract import MAX_UNIT_BYTES, Assembled, Payload

# A sequence header of 320x240 as SVT-AV1 4 writes it
SEQUENCE = bytes.fromhex("000000043cffbc4af9008040")
CONFIG = Av1Config(SEQUENCE)
TRACK = Track(1, CONFIG)
KEY_FRAME, FRAME = b"\x10" + b"k" * 60, b"\x30" + b"p" * 40


def sized(kind: int, payload: bytes) -> bytes:
    """An OBU as units have it; payloads up to 16383 bytes."""
    size = len(payload)
    length = bytes((size,)) if size < 128 else bytes((size & 0x7F | 0x80, size >> 7))
    return bytes((kind << 3 | 2,)) + length + payload


def bare(kind: int, payload: bytes) -> bytes:
    return bytes((kind << 3,)) + payload


def element(data: bytes) -> bytes:
    assert len(data) < 128
    return bytes((len(data),)) + data


KEY = (sized(1, SEQUENCE), sized(6, KEY_FRAME))
PLAIN = (sized(6, FRAME),)
KEY_PACKET = b"\x28" + element(bare(1, SEQUENCE)) + bare(6, KEY_FRAME)
PLAIN_PACKET = b"\x10" + bare(6, FRAME)


def parts_of(found: list[Assembled]) -> list[tuple[int, bool, tuple[bytes, ...]]]:
    return [(one.stamp, one.key, tuple(map(bytes, one.parts))) for one in found]


def joined() -> Av1Depacketizer:
    """After a first key unit."""
    taken = Av1Depacketizer()
    assert taken.push(packet(KEY_PACKET, marker=True), 0)
    return taken


def test_elements_get_their_sizes_back() -> None:
    taken = Av1Depacketizer()
    assert parts_of(taken.push(packet(KEY_PACKET, marker=True), 0)) == [(0, True, KEY)]
    assert taken.config == CONFIG
    before = taken.config
    assert parts_of(taken.push(packet(PLAIN_PACKET, marker=True), 3000)) == [(3000, False, PLAIN)]
    assert taken.push(packet(KEY_PACKET, marker=True), 6000)[0].key
    assert taken.config is before


def test_elements_that_all_have_sizes_or_obus_that_kept_theirs_are_the_same() -> None:
    counted = b"\x08" + element(bare(1, SEQUENCE)) + element(bare(6, KEY_FRAME))
    kept = b"\x28" + element(KEY[0]) + KEY[1]
    for data in (counted, kept):
        assert parts_of(Av1Depacketizer().push(packet(data, marker=True), 0)) == [(0, True, KEY)]


def test_layers_stay_and_delimiters_and_padding_go() -> None:
    layered = bytes((6 << 3 | 4, 0x20)) + FRAME
    data = b"\x00" + element(bare(2, b"")) + element(layered) + element(bare(15, b"pad"))
    found = joined().push(packet(data, marker=True), 3000)
    assert parts_of(found) == [(3000, False, (bytes((0x36, 0x20, len(FRAME))) + FRAME,))]


def test_obu_in_pieces_is_put_together() -> None:
    obu = bare(6, FRAME)
    pieces = [b"\x50" + obu[:10], b"\xd0" + obu[10:20], b"\x90" + obu[20:]]
    payloads = [Payload(data, marker=at == 2) for at, data in enumerate(pieces)]
    assert parts_of(push_all(joined(), payloads, 3000)) == [(3000, False, PLAIN)]


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_unit_that_lacks_a_packet_is_dropped_and_the_next_ones_are_damaged(missing: int) -> None:
    obu = bare(6, FRAME)
    # The second packet begins an OBU of its own: it must not be taken for a unit's begin
    pieces = [b"\x10" + obu, b"\x50" + obu[:20], b"\x90" + obu[20:]]
    taken = joined()
    found: list[Assembled] = []
    for at, data in enumerate(pieces):
        if at == missing:
            taken.lost()
        else:
            found += taken.push(packet(data, marker=at == 2), 3000)
    found += taken.push(packet(PLAIN_PACKET, marker=True), 6000)
    found += taken.push(packet(PLAIN_PACKET, marker=True), 9000)
    found += taken.push(packet(KEY_PACKET, marker=True), 12_000)
    assert all(one.stamp > 3000 for one in found)
    assert [(one.stamp, one.damaged) for one in found][-2:] == [(9000, True), (12_000, False)]


def test_unit_after_a_gap_that_begins_with_a_new_stamp_is_whole() -> None:
    taken = joined()
    taken.lost()
    assert not taken.push(packet(PLAIN_PACKET), 3000)  # its first packet may be what is lost
    assert not taken.push(packet(PLAIN_PACKET), 6000)
    found = taken.push(packet(PLAIN_PACKET, marker=True), 6000)
    assert parts_of(found) == [(6000, False, PLAIN * 2)]


def test_key_after_a_gap_is_taken_at_once() -> None:
    taken = joined()
    taken.lost()
    found = taken.push(packet(KEY_PACKET, marker=True), 3000)
    assert [(one.key, one.damaged) for one in found] == [(True, False)]


def test_stream_is_joined_at_the_first_unit_that_is_surely_whole() -> None:
    taken = Av1Depacketizer()
    assert not taken.push(packet(PLAIN_PACKET), 0)
    assert not taken.push(packet(PLAIN_PACKET, marker=True), 0)
    assert parts_of(taken.push(packet(PLAIN_PACKET, marker=True), 3000)) == [(3000, False, PLAIN)]


def test_unit_whose_marker_was_forgotten_ends_with_the_next_stamp() -> None:
    taken = joined()
    assert not taken.push(packet(PLAIN_PACKET), 3000)
    assert parts_of(taken.push(packet(PLAIN_PACKET), 6000)) == [(3000, False, PLAIN)]
    assert parts_of(taken.flush()) == [(6000, False, PLAIN)]


def test_unit_that_breaks_off_inside_an_obu_is_no_unit() -> None:
    taken = joined()
    assert not taken.push(packet(b"\x50" + bare(6, FRAME), marker=True), 3000)
    assert taken.push(packet(PLAIN_PACKET, marker=True), 6000)[0].damaged


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x90" + bare(6, FRAME),  # goes on with what never began
        b"\x20" + element(bare(6, FRAME)),  # one element instead of two
        b"\x00\x7fabc",
        b"\x00\xff\xff\xff\xff\xff\x01",
        b"\x00" + b"\x00" * (MAX_ELEMENTS + 1),
        b"\x10\xb0abc",  # forbidden bit
    ],
)
def test_damaged_packet_raises_and_the_next_unit_is_taken(data: bytes) -> None:
    taken = joined()
    with pytest.raises(PeerError):
        taken.push(packet(data, marker=True), 3000)
    found = taken.push(packet(PLAIN_PACKET, marker=True), 6000)
    assert [(one.stamp, one.damaged) for one in found] == [(6000, True)]


def test_unit_without_end_is_bounded() -> None:
    taken, piece = joined(), bytes(60_000)
    with pytest.raises(PeerError):
        for at in range(MAX_UNIT_BYTES // len(piece) + 1):
            taken.push(packet((b"\xd0" if at else b"\x50") + piece), 3000)
    assert not taken.flush()


@pytest.mark.parametrize("max_bytes", [16, 64, 200, 1200])
def test_packetized_units_come_back_as_they_were(max_bytes: int) -> None:
    rng = random.Random(1)
    maker, taken = Av1Packetizer(max_bytes), Av1Depacketizer()
    for stamp in range(0, 20 * 3000, 3000):
        frames = tuple(
            sized(6, b"\x30" + rng.randbytes(rng.randrange(4000)))
            for _ in range(rng.randrange(1, 4))
        )
        parts = frames if stamp else (sized(1, SEQUENCE), sized(6, KEY_FRAME), *frames)
        made = maker.payloads(AccessUnit(TRACK, 0, 0, not stamp, (b"\x12\x00", *parts)))
        assert all(len(one.data) <= max_bytes for one in made)
        assert [one.marker for one in made] == [False] * (len(made) - 1) + [True]
        assert [bool(one.data[0] & 8) for one in made] == [not stamp] + [False] * (len(made) - 1)
        assert parts_of(push_all(taken, made, stamp)) == [(stamp, not stamp, parts)]


def test_payloads_too_small_for_av1_are_a_mistake_of_ours() -> None:
    with pytest.raises(MisuseError):
        Av1Packetizer(15)


def test_damaged_packets_raise_nothing_but_peer_error() -> None:
    taken = Av1Depacketizer()
    seeds = [KEY_PACKET, PLAIN_PACKET, b"\x50" + bare(6, FRAME), b"\x90" + FRAME]

    def push(data: bytes) -> None:
        taken.push(packet(data, marker=len(data) % 3 == 0), len(data) % 5)

    assert_only_peer_error(push, seeds)
