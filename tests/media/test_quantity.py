from __future__ import annotations

import pytest

from appliance.errors import ConfigError
from appliance.media.quantity import Unit, format_quantity, parse_quantity


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("200ms", Unit.DURATION, 200_000),
        ("2s", Unit.DURATION, 2_000_000),
        ("1.5 s", Unit.DURATION, 1_500_000),
        ("1m", Unit.DURATION, 60_000_000),
        ("1h", Unit.DURATION, 3_600_000_000),
        (2, Unit.DURATION, 2_000_000),
        ("2", Unit.DURATION, 2_000_000),
        (0.04, Unit.DURATION, 40_000),
        ("64KB", Unit.BYTES, 64_000),
        ("4MiB", Unit.BYTES, 4 << 20),
        ("1.5GiB", Unit.BYTES, 3 << 29),
        (4096, Unit.BYTES, 4096),
        ("2M", Unit.BPS, 2_000_000),
        ("64k", Unit.BPS, 64_000),
        ("2.5Mbps", Unit.BPS, 2_500_000),
        (64000, Unit.BPS, 64_000),
    ],
)
def test_quantity_means_what_people_write(text: str | float, unit: Unit, value: int) -> None:
    assert parse_quantity(text, unit) == value


@pytest.mark.parametrize(
    "text",
    ["", "s", "2 s s", "-1s", "1e3s", "2S", "0x10", "1_000", "∞", "２s", "2s\n3", "1" * 16, "nan"],
)
def test_quantity_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_quantity(text, Unit.DURATION)


@pytest.mark.parametrize("unit", Unit)
@pytest.mark.parametrize("value", [0, 1, 999, 1000, 1024, 1500, 60_000_000, 123_456_789, 1 << 30])
def test_quantity_written_and_read_again_is_the_same(unit: Unit, value: int) -> None:
    assert parse_quantity(format_quantity(value, unit), unit) in {value, value * unit.value.plain}


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (500_000, Unit.DURATION, "500ms"),
        (90_000_000, Unit.DURATION, "90s"),
        (4 << 20, Unit.BYTES, "4MiB"),
        (64_000, Unit.BYTES, "64kB"),
        (2_500_000, Unit.BPS, "2500k"),
    ],
)
def test_quantity_is_written_in_the_largest_whole_unit(value: int, unit: Unit, text: str) -> None:
    assert format_quantity(value, unit) == text
