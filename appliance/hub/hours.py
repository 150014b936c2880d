"""Hours as people write them: ``07:00-22:00``, ``22:00-06:00`` through the night, ``mon-fri
08:00-18:00`` on some days of the week."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from appliance.errors import ConfigError

DAY_MIN = 24 * 60
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
ALL_DAYS = frozenset(range(7))
_HOURS = re.compile(
    r"(?:([a-z,\- ]{3,40}) )?([0-9]{1,2}):([0-9]{2}) ?- ?([0-9]{1,2}):([0-9]{2})",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Hours:
    """Minutes after midnight of the device's own time; the end does not belong to it.

    days: on which they begin, 0 is Monday.
    """

    begin_min: int
    end_min: int
    days: frozenset[int] = ALL_DAYS

    def contains(self, minute: int, day: int = 0) -> bool:
        """Whether the minute of this day of the week lies in them."""
        today, yesterday = day in self.days, (day - 1) % 7 in self.days
        if self.begin_min < self.end_min:
            return today and self.begin_min <= minute < self.end_min
        return (today and minute >= self.begin_min) or (yesterday and minute < self.end_min)


def parse_hours(text: str) -> Hours:
    """Raises: ConfigError."""
    match = _HOURS.fullmatch(text.strip())
    if match is None:
        raise ConfigError('write hours like "07:00-22:00" or "mon-fri 08:00-18:00"')
    begin_h, begin_min, end_h, end_min = map(int, match.groups()[1:])
    begin, end = begin_h * 60 + begin_min, end_h * 60 + end_min
    if max(begin_min, end_min) > 59 or begin >= DAY_MIN or end > DAY_MIN:
        raise ConfigError("a day has the times 00:00 to 24:00")
    if begin == end:
        raise ConfigError('begins when it ends; all day is "00:00-24:00"')
    return Hours(begin, end, _parse_days(match[1]) if match[1] else ALL_DAYS)


def _parse_days(text: str) -> frozenset[int]:
    """``mon-fri``, ``sat,sun`` or ``fri-mon``."""
    days: set[int] = set()
    for part in text.lower().split(","):
        first, dash, last = (word.strip() for word in part.partition("-"))
        try:
            begin, end = DAYS.index(first), DAYS.index(last if dash else first)
        except ValueError:
            raise ConfigError(f"the days are {', '.join(DAYS)}") from None
        days |= {(begin + number) % 7 for number in range((end - begin) % 7 + 1)}
    return frozenset(days)


def is_hour(hours: Iterable[Hours], minute: int, day: int = 0) -> bool:
    """Whether the minute of this day of the week lies in any of them."""
    return any(one.contains(minute, day) for one in hours)
