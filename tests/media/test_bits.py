from __future__ import annotations

import random

import pytest
from bit_writer import BitWriter

from appliance.errors import PeerError
from appliance.media.bits import BitReader, Reader


def test_reader_reads_big_endian_and_counts() -> None:
    reader = Reader(bytes(range(1, 20)))
    assert reader.u8() == 0x01
    assert reader.u16() == 0x0203
    assert reader.u24() == 0x040506
    assert reader.u32() == 0x0708090A
    assert reader.u64() == 0x0B0C0D0E0F101112
    assert (reader.position, reader.remaining) == (18, 1)
    reader.skip(1)
    assert not reader.remaining


def test_reader_take_gives_views_that_cannot_be_written() -> None:
    source = bytearray(b"abcdef")
    reader = Reader(source)
    view = reader.take(3)
    assert bytes(view) == b"abc"
    assert view.readonly
    assert view.obj is source
    assert bytes(reader.rest()) == b"def"
    assert not reader.rest()


@pytest.mark.parametrize("count", [5, 1 << 31, 1 << 70, -1])
def test_reader_take_beyond_the_end_raises_and_moves_nothing(count: int) -> None:
    reader = Reader(b"abcd")
    with pytest.raises(PeerError):
        reader.take(count)
    assert reader.position == 0


@pytest.mark.parametrize("name", ["u8", "u16", "u24", "u32", "u64"])
def test_reader_number_cut_off_raises(name: str) -> None:
    size = int(name[1:]) // 8
    assert getattr(Reader(bytes(size)), name)() == 0
    with pytest.raises(PeerError):
        getattr(Reader(bytes(size - 1)), name)()


def test_bit_reader_reads_what_was_written() -> None:
    rng = random.Random(4)
    for _ in range(200):
        writer = BitWriter()
        plan = []
        for _ in range(rng.randrange(1, 30)):
            kind = rng.choice(("u", "ue", "se"))
            count = rng.randrange(1, 33)
            value = rng.randrange(1 << count)
            if kind == "u":
                writer.u(count, value)
            elif kind == "ue":
                value = min(value, (1 << 32) - 2)
                writer.ue(value)
            else:
                value = rng.choice((-1, 1)) * (value >> 2)
                writer.se(value)
            plan.append((kind, count, value))
        bits = BitReader(writer.to_bytes())
        for kind, count, value in plan:
            assert (bits.u(count) if kind == "u" else getattr(bits, kind)()) == value
        assert bits.remaining < 8


@pytest.mark.parametrize(
    ("bits", "value"), [("1", 0), ("010", 1), ("011", 2), ("00100", 3), ("0001000", 7)]
)
def test_bit_reader_exp_golomb_codes_as_the_standard_tables_them(bits: str, value: int) -> None:
    writer = BitWriter()
    writer.bits = bits
    assert BitReader(writer.to_bytes()).ue() == value


def test_bit_reader_exp_golomb_at_its_limit_and_beyond() -> None:
    assert BitReader(BitWriter().ue((1 << 32) - 2).to_bytes()).ue() == (1 << 32) - 2
    assert BitReader(BitWriter().ue((1 << 33) - 2).to_bytes()).ue() == (1 << 33) - 2
    with pytest.raises(PeerError, match="Exp-Golomb"):
        BitReader(BitWriter().u(33, 0).u(1, 1).u(33, 0).to_bytes()).ue()
    with pytest.raises(PeerError, match="Exp-Golomb"):
        BitReader(bytes(4096)).ue()


def test_bit_reader_ue_at_most_names_the_field() -> None:
    assert BitReader(BitWriter().ue(12).to_bytes()).ue_at_most(12, "field") == 12
    with pytest.raises(PeerError, match="field is 13"):
        BitReader(BitWriter().ue(13).to_bytes()).ue_at_most(12, "field")


@pytest.mark.parametrize("count", [9, 64, 1 << 40])
def test_bit_reader_beyond_the_end_raises(count: int) -> None:
    with pytest.raises(PeerError, match="truncated"):
        BitReader(b"\xff").u(count)
    with pytest.raises(PeerError, match="truncated"):
        BitReader(b"").flag()


def test_bit_reader_takes_views() -> None:
    bits = BitReader(memoryview(b"\xa5\x00"))
    assert [bits.u(4), bits.u(4), bits.remaining] == [0xA, 0x5, 8]
