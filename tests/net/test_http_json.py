"""JSON from strangers."""

from __future__ import annotations

import time

import pytest

from appliance.errors import PeerError
from appliance.net.http_json import MAX_DEPTH, parse_json


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"{}", {}),
        (b' {"a": [1, 2.5, null, true, "\\u00e9[{"]}', {"a": [1, 2.5, None, True, "é[{"]}),
        (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, None),
        (b'"\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["', '"' + "[" * 38),
        (b'"\\ud83d\\ude00"', "\N{GRINNING FACE}"),
    ],
)
def test_json_within_limits_is_parsed(data: bytes, value: object) -> None:
    parsed = parse_json(data)
    assert value is None or parsed == value


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{", b"{}x", b"\xff\xfe", b"\xef\xbb\xbf{}", b"'a'", b'"a', b'"\\'),
        *(b"NaN", b"Infinity", b"[-Infinity]", b"1e999", b"-1e999"),
        *(b"9" * 5000, b'{"a":1,"a":2}', b'"\\ud800"', b'{"\\udfff":1}'),
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b"[" * 5000,
        b'{"a":' * 5000,
    ],
)
def test_json_beyond_limits_is_the_peers_fault(data: bytes) -> None:
    with pytest.raises(PeerError):
        parse_json(data)


def test_json_of_a_million_quotes_costs_linear_time() -> None:
    started = time.process_time()
    for data in (b'"' + b'\\"' * 500_000, b'"a\\' * 300_000, b'"' * 1_000_001):
        with pytest.raises(PeerError):
            parse_json(data)
    assert time.process_time() - started < 5, "quadratic would take minutes"
