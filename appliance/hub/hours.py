"""Hours of the day as people write them: ``07:00-22:00``, or ``22:00-06:00`` through the night."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from appliance.errors import ConfigError

DAY_MIN = 24 * 60
_HOURS = re.compile(r"([0-9]{1,2}):([0-9]{2}) ?- ?([0-9]{1,2}):([0-9]{2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Hours:
    """Minutes after midnight of the device's own time; the end does not belong to it."""

    begin_min: int
    end_min: int

    def contains(self, minute: int) -> bool:
        if self.begin_min < self.end_min:
            return self.begin_min <= minute < self.end_min
        return minute >= self.begin_min or minute < self.end_min


def parse_hours(text: str) -> Hours:
    """Raises: ConfigError."""
    match = _HOURS.fullmatch(text.strip())
    if match is None:
        raise ConfigError('write hours like "07:00-22:00"')
    begin_h, begin_min, end_h, end_min = map(int, match.groups())
    begin, end = begin_h * 60 + begin_min, end_h * 60 + end_min
    if begin_min > 59 or end_min > 59 or begin >= DAY_MIN or end > DAY_MIN:
        raise ConfigError("a day has the times 00:00 to 24:00")
    if begin == end:
        raise ConfigError('begins when it ends; all day is "00:00-24:00"')
    return Hours(begin, end)


def is_hour(hours: Iterable[Hours], minute: int) -> bool:
    """Whether the minute lies in any of them."""
    return any(one.contains(minute) for one in hours)
