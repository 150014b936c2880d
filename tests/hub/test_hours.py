from __future__ import annotations

import pytest

from appliance.errors import ConfigError
from appliance.hub.hours import DAY_MIN, Hours, is_hour, parse_hours


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("07:00-22:00", Hours(420, 1320)),
        ("7:00 - 22:30", Hours(420, 1350)),
        ("22:00-06:00", Hours(1320, 360)),
        ("00:00-24:00", Hours(0, 1440)),
        ("23:59-00:00", Hours(1439, 0)),
    ],
)
def test_hours_are_read_as_people_write_them(text: str, hours: Hours) -> None:
    assert parse_hours(text) == hours


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("07:00-22:00", {420, 421, 1319}, {0, 419, 1320, 1439}),
        ("22:00-06:00", {1320, 1439, 0, 359}, {360, 1319}),
        ("00:00-24:00", set(range(DAY_MIN)), set()),
        ("23:59-00:00", {1439}, {0, 1438}),
    ],
)
def test_hours_hold_their_first_minute_and_not_their_last(
    text: str, inside: set[int], outside: set[int]
) -> None:
    hours = (parse_hours(text),)
    assert all(is_hour(hours, minute) for minute in inside)
    assert not any(is_hour(hours, minute) for minute in outside)


def test_hours_without_any_hold_nothing() -> None:
    assert not is_hour((), 0)


@pytest.mark.parametrize(
    "text",
    ["", "7-22", "07:00", "07:00-", "24:00-07:00", "07:60-08:00", "07:00-24:01", "25:00-26:00",
     "07:00-07:00", "07:00–22:00", "０７:00-22:00", "07:00-22:00-23:00", "-1:00-2:00", "x" * 5000],
)  # fmt: skip
def test_hours_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_hours(text)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("mon-fri 08:00-18:00", {0, 1, 2, 3, 4}),
        ("Sat,Sun 08:00-18:00", {5, 6}),
        ("fri-mon 08:00-18:00", {4, 5, 6, 0}),
        ("wed 08:00-18:00", {2}),
        ("mon, wed-thu  08:00-18:00", {0, 2, 3}),
        ("08:00-18:00", set(range(7))),
    ],
)
def test_hours_may_be_those_of_some_days(text: str, days: set[int]) -> None:
    hours = parse_hours(text)
    assert {day for day in range(7) if hours.contains(600, day)} == days
    assert not any(hours.contains(1080, day) for day in range(7))


def test_hours_through_the_night_belong_to_the_day_they_begin_on() -> None:
    hours = parse_hours("fri-sat 22:00-06:00")
    assert {day for day in range(7) if hours.contains(1320, day)} == {4, 5}
    assert {day for day in range(7) if hours.contains(359, day)} == {5, 6}
    assert not any(hours.contains(360, day) for day in range(7))
    assert parse_hours("sun 23:00-01:00").contains(0, 0)


@pytest.mark.parametrize(
    "text",
    ["foo 08:00-09:00", "mon- 08:00-09:00", "mon-,fri 08:00-09:00", ", 08:00-09:00",
     "monday 08:00-09:00", "mon–fri 08:00-09:00"],
)  # fmt: skip
def test_hours_of_days_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_hours(text)
