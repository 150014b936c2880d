"""AMF0: tables of bytes and values, truncated twins, and what hostile peers send."""

from __future__ import annotations

import math
import struct

import pytest
from mutation import assert_only_peer_error, corpus

from appliance.errors import MisuseError, PeerError
from appliance.media.amf0 import (
    MAX_DEPTH,
    MAX_VALUES,
    Date,
    EcmaArray,
    Value,
    decode,
    encode,
)

TABLE: list[tuple[str, Value]] = [
    ("00 3ff0000000000000", 1.0),
    ("00 c000000000000000", -2.0),
    ("01 00", False),
    ("01 01", True),
    ("02 0000", ""),
    ("02 0004 6c697665", "live"),
    ("02 0006 e697a5e69cac", "日本"),
    ("03 000009", {}),
    ("03 0003 617070 02 0001 78 000009", {"app": "x"}),
    ("05", None),
    ("08 00000001 0001 61 05 000009", EcmaArray(a=None)),
    ("0a 00000000", []),
    ("0a 00000002 05 0101", [None, True]),
    ("0b 4059000000000000 ffc4", Date(100.0, -60)),
    ("03 0001 61 03 0001 62 0a 00000001 03 000009 000009 000009", {"a": {"b": [{}]}}),
    ("03 0000 05 000009", {"": None}),
]
TOLERATED: list[tuple[str, Value]] = [
    ("01 7f", True),
    ("02 0002 fffe", "\ufffd\ufffd"),
    ("06", None),
    ("0d", None),
    ("0c 00000001 78", "x"),
    ("0f 00000001 78", "x"),
    ("10 0001 43 0001 61 05 000009", {"a": None}),
    ("08 ffffffff 0001 61 05 000009", EcmaArray(a=None)),
    ("03 0001 61 05 0001 61 0101 000009", {"a": True}),
]
REFUSED = {
    "string longer than the message": "02 ffff 61",
    "long string longer than the message": "0c ffffffff 61",
    "strict array longer than the message": "0a ffffffff 05",
    "associative array longer than the message": "08 ffffffff 0001 61 05",
    "object without an end": "03 0001 61 05",
    "object without anything": "03",
    "reference to itself": "03 0001 61 07 0000 000009",
    "reference": "07 0000",
    "movie clip": "04",
    "record set": "0e",
    "AMF3": "11 01",
    "unknown marker": "ff",
    "end of an object that was not begun": "09",
}


def hexed(text: str) -> bytes:
    return bytes.fromhex(text)


@pytest.mark.parametrize(("data", "value"), TABLE)
def test_amf0_value_is_read_and_written_as_specified(data: str, value: Value) -> None:
    assert decode(hexed(data)) == [value]
    assert type(decode(hexed(data))[0]) is type(value)
    assert encode(value) == hexed(data)


@pytest.mark.parametrize(("data", "value"), TOLERATED)
def test_amf0_unusual_form_is_read(data: str, value: Value) -> None:
    assert decode(hexed(data)) == [value]


@pytest.mark.parametrize("data", [data for data, _ in TABLE + TOLERATED])
def test_amf0_truncated_value_is_refused(data: str) -> None:
    whole = hexed(data)
    for size in range(1, len(whole)):
        with pytest.raises(PeerError):
            decode(whole[:size])


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_amf0_broken_value_is_refused(data: str) -> None:
    with pytest.raises(PeerError):
        decode(hexed(data))


def test_amf0_several_values_keep_their_order() -> None:
    values: list[Value] = [
        "publish",
        4.0,
        None,
        "cam",
        "live",
        {"a": [1.0, {"b": "c"}]},
        EcmaArray(),
        [[]],
    ]
    assert decode(encode(*values)) == values


def test_amf0_integer_is_written_as_number() -> None:
    assert decode(encode(7, {"n": 1})) == [7.0, {"n": 1.0}]


def test_amf0_long_text_takes_the_long_form() -> None:
    assert encode("x" * 0xFFFF)[0] == 0x02
    assert encode("x" * 0x10000)[:5] == hexed("0c 00010000")
    assert decode(encode("x" * 0x10000)) == ["x" * 0x10000]


def test_amf0_not_a_number_and_huge_numbers_are_values() -> None:
    value = decode(b"\0" + struct.pack(">d", math.nan))[0]
    assert isinstance(value, float) and math.isnan(value)
    assert decode(b"\0" + struct.pack(">d", 1e308)) == [1e308]


@pytest.mark.parametrize("level", ["0a 00000001", "03 0001 61", "08 00000001 0001 61"])
def test_amf0_nesting_is_read_to_the_limit_and_refused_beyond(level: str) -> None:
    closing = b"" if level.startswith("0a") else hexed("000009")
    at_limit = hexed(level) * MAX_DEPTH + b"\x05" + closing * MAX_DEPTH
    assert encode(*decode(at_limit)) == at_limit
    for depth in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(PeerError, match="nested"):
            decode(hexed(level) * depth + b"\x05" + closing * depth)


def test_amf0_values_are_read_to_the_limit_and_refused_beyond() -> None:
    assert len(decode(b"\x05" * MAX_VALUES)) == MAX_VALUES
    with pytest.raises(PeerError, match="more than"):
        decode(b"\x05" * (MAX_VALUES + 1))


@pytest.mark.parametrize("value", [b"raw", {"k": b"raw"}, {"x" * 0x10000: 1.0}, [object()]])
def test_amf0_what_it_cannot_say_is_our_mistake(value: Value) -> None:
    with pytest.raises(MisuseError):
        encode(value)


def test_amf0_mutated_messages_raise_only_peer_error() -> None:
    seeds = [hexed(data) for data, _ in TABLE + TOLERATED]
    assert_only_peer_error(decode, seeds + corpus("amf0"))


def test_amf0_what_was_read_is_written_to_the_same_values() -> None:
    for data, _ in TABLE + TOLERATED:
        values = decode(hexed(data))
        assert decode(encode(*values)) == values
