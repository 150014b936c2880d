"""Quantities as people write them to the configuration and the API: durations, sizes, bitrates."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from appliance.errors import ConfigError

_NUMBER = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([A-Za-z/]*)\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Scale:
    """suffixes: from small to large; the first of equal size is the one written in messages.
    plain: what a number without suffix is counted in."""

    noun: str
    suffixes: dict[str, int]
    plain: int
    examples: str
    max: int


class Unit(Enum):
    """The units that a field's metadata can name."""

    DURATION = Scale(
        "a duration",
        {
            "us": 1,
            "ms": 1_000,
            "s": 1_000_000,
            "m": 60_000_000,
            "min": 60_000_000,
            "h": 3_600_000_000,
            "d": 86_400_000_000,
        },
        1_000_000,
        "200ms, 2s, 1m or 1h",
        366 * 86_400_000_000,
    )
    BYTES = Scale(
        "a size",
        {
            "B": 1,
            "kB": 1000,
            "KB": 1000,
            "KiB": 1 << 10,
            "MB": 1000**2,
            "MiB": 1 << 20,
            "GB": 1000**3,
            "GiB": 1 << 30,
        },
        1,
        "64KB, 4MiB or 1GiB",
        1 << 44,
    )
    BPS = Scale(
        "a bitrate",
        {
            "": 1,
            "k": 1000,
            "M": 1000**2,
            "G": 1000**3,
            "bps": 1,
            "kbps": 1000,
            "Mbps": 1000**2,
            "Gbps": 1000**3,
        },
        1,
        "64k, 2M or 2.5M",
        100 * 1000**3,
    )


NAMES = {"duration": Unit.DURATION, "bytes": Unit.BYTES, "bps": Unit.BPS}
SUFFIXES = {"_us": Unit.DURATION, "_bytes": Unit.BYTES, "_bps": Unit.BPS}


def parse_quantity(raw: str | float, unit: Unit) -> int:
    """Whole microseconds, bytes or bits per second. Raises: ConfigError."""
    scale = unit.value
    text = str(raw) if isinstance(raw, str) else format(raw, "f")
    match = _NUMBER.match(text.strip())
    if match is None:
        raise ConfigError(f"not {scale.noun}; write {scale.examples}")
    number, suffix = match.groups()
    factor = scale.suffixes.get(suffix) if suffix else scale.plain
    if factor is None:
        known = ", ".join(name for name in scale.suffixes if name)
        raise ConfigError(f'"{suffix}" is no unit of {scale.noun}; there are {known}')
    return round(float(number) * factor) if "." in number else int(number) * factor


def format_quantity(value: int, unit: Unit) -> str:
    """As somebody would write it, in the largest unit that leaves it whole."""
    scale = unit.value
    best, best_factor = "", 0
    for suffix, factor in scale.suffixes.items():
        if factor > best_factor and value % factor == 0 and (value or factor == scale.plain):
            best, best_factor = suffix, factor
    return f"{value // best_factor}{best}" if best_factor else str(value)
