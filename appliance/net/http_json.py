"""JSON from strangers: what Python's parser lets through and this appliance does not.

RFC 8259 has no NaN, and leaves duplicate names and huge numbers to the parser; here all of them
are faults of the peer, as is nesting that would end in RecursionError.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from appliance.errors import PeerError

MAX_DEPTH = 32
# A string, ended or not (so that no quote is looked at twice), or a bracket.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[{\]}]', re.DOTALL)


def parse_json(data: bytes) -> Any:
    """The value of a whole JSON text in UTF-8. Raises: PeerError."""
    _check_depth(data)
    try:
        value = json.loads(
            data.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_float=_finite,
            object_pairs_hook=_unique,
        )
        if b"\\u" in data:  # only an escape can make a lone surrogate
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except PeerError:
        raise
    except (ValueError, RecursionError) as error:
        raise PeerError("the body is not valid JSON") from error
    return value


def _check_depth(data: bytes) -> None:
    depth = 0
    for match in _TOKEN.finditer(data):
        token = data[match.start()]
        if token in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise PeerError(f"the JSON is nested deeper than {MAX_DEPTH}")
        elif token in b"]}":
            depth -= 1


def _refuse_constant(name: str) -> NoReturn:
    raise PeerError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise PeerError("a number is out of range")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise PeerError("a name occurs twice in one object")
    return value
