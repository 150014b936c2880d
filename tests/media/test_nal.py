from __future__ import annotations

import random

import pytest
from bit_writer import escape
from mutation import assert_only_peer_error, corpus

from appliance.errors import PeerError
from appliance.media.nal import (
    MAX_NALS,
    join_annexb,
    join_length_prefixed,
    split_annexb,
    split_length_prefixed,
    unescape,
)


def test_split_annexb_takes_short_and_long_start_codes_and_padding() -> None:
    data = b"\0\0\0\0\1ab\0\0\1cd\0\0\0\0\0\0\1e\x80\0\0"
    assert split_annexb(data) == [b"ab", b"cd", b"e\x80"]
    assert split_annexb(b"\0\0\1a") == [b"a"]


def test_split_annexb_gives_views_of_its_input() -> None:
    data = b"\0\0\1abc"
    (nal,) = split_annexb(data)
    assert nal.obj is data


def test_split_annexb_takes_views_and_bytearrays() -> None:
    data = b"..\0\0\1ab\0\0\1c"
    assert split_annexb(memoryview(data)[2:]) == [b"ab", b"c"]
    changing = bytearray(data[2:])
    nals = split_annexb(memoryview(changing))
    changing[3] = 0  # the units are copies of what may change
    assert nals == [b"ab", b"c"]


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0", b"\0\0\0\0", b"abc", b"x\0\0\1abc"])
def test_split_annexb_without_start_code_raises(data: bytes) -> None:
    with pytest.raises(PeerError):
        split_annexb(data)


def test_split_annexb_leaves_out_empty_units() -> None:
    assert split_annexb(b"\0\0\1") == []
    assert split_annexb(b"\0\0\1\0\0\1\0\0\0\1a\0\0\1") == [b"a"]


@pytest.mark.parametrize("length_bytes", [1, 2, 4])
def test_split_length_prefixed_takes_each_length_size(length_bytes: int) -> None:
    data = b"".join(len(nal).to_bytes(length_bytes, "big") + nal for nal in (b"ab", b"", b"cde"))
    nals = split_length_prefixed(data, length_bytes)
    assert nals == [b"ab", b"cde"]
    assert all(nal.obj is data for nal in nals)


def test_split_length_prefixed_of_nothing_is_nothing() -> None:
    assert split_length_prefixed(b"") == []


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0\0",
        b"\0\0\0\2a",
        b"\xff\xff\xff\xff" + bytes(100),
        b"\0\0\0\1a\0\0",
        b"\0\0\0\1\x65\x88\x84\0\0\0\1\x41",  # Annex B where lengths belong
    ],
)
def test_split_length_prefixed_with_length_beyond_the_end_raises(data: bytes) -> None:
    with pytest.raises(PeerError):
        split_length_prefixed(data)


def test_split_at_the_limit_of_units_and_one_past_it() -> None:
    assert len(split_length_prefixed(b"\0\0\0\1a" * MAX_NALS)) == MAX_NALS
    assert len(split_annexb(b"\0\0\1a" * MAX_NALS)) == MAX_NALS
    for data in (b"\0\0\0\1a" * (MAX_NALS + 1), bytes(4 * 100_000)):
        with pytest.raises(PeerError, match="more than"):
            split_length_prefixed(data)
    for data in (b"\0\0\1a" * (MAX_NALS + 1), b"\0\0\1" * 1_000_000):
        with pytest.raises(PeerError, match="more than"):
            split_annexb(data)


def test_joined_units_split_into_the_same() -> None:
    rng = random.Random(2)
    for _ in range(100):
        nals = [
            b"\x41" + escape(bytes(rng.choices((0, 1, 2, 3, 255), k=rng.randrange(40)))) + b"\x80"
            for _ in range(rng.randrange(1, 6))
        ]
        assert split_annexb(join_annexb(nals)) == nals
        assert split_length_prefixed(join_length_prefixed(map(memoryview, nals))) == nals


def test_unescape_undoes_emulation_prevention() -> None:
    rng = random.Random(3)
    for _ in range(300):
        rbsp = bytes(rng.choices((0, 0, 0, 1, 2, 3, 4, 255), k=rng.randrange(30))) + b"\x80"
        assert unescape(memoryview(escape(rbsp))) == rbsp


@pytest.mark.parametrize(
    ("nal", "rbsp"),
    [
        (b"\0\0\3\0\0\3\1", b"\0\0\0\0\1"),
        (b"\0\0\3", b"\0\0"),
        (b"\0\0\3\0\0\3\0\0\3", b"\0\0\0\0\0\0"),
        (b"\0\3\0\0\3\0\3", b"\0\3\0\0\0\3"),
        (b"\0\0\4", b"\0\0\4"),
        (b"", b""),
    ],
)
def test_unescape_of_corner_cases(nal: bytes, rbsp: bytes) -> None:
    assert unescape(nal) == rbsp


def test_split_of_mutated_streams_raises_only_peer_error() -> None:
    seeds = corpus("h264") + corpus("h265")
    assert_only_peer_error(split_annexb, seeds, 1500)
    assert_only_peer_error(
        split_length_prefixed, [join_length_prefixed(split_annexb(seed)) for seed in seeds], 1500
    )
