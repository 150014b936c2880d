"""How what happens again and again is told: once or a few times, then only after a long time."""

from __future__ import annotations

import logging
from dataclasses import dataclass

MAX_TEXTS = 8  # against a peer whose every word is another
MAX_NAMES = 256  # against publishers with ever new names
FREE_COMINGS = 3  # of a stream's publishers, told each
COMINGS_US = 60_000_000  # of more, one in so long
RETELL_US = 10 * 60_000_000  # what stays away is told again, for who reads the log late


@dataclass(slots=True)
class _Told:
    at_us: int
    untold: int = 0  # the same since, attempt after attempt


class Telling:
    """Attempts that fail in a way that was told are not news. Times are monotonic microseconds."""

    def __init__(self) -> None:
        self._told: dict[str, _Told] = {}  # what has not healed, the oldest first

    @property
    def is_failing(self) -> bool:
        """Something was told and has not healed."""
        return bool(self._told)

    def heal(self) -> None:
        self._told.clear()

    def tell(self, text: str, now_us: int) -> tuple[int, str]:
        """The level and the words."""
        told = self._told.get(text)
        if told is None:
            if len(self._told) >= MAX_TEXTS:
                del self._told[next(iter(self._told))]
            self._told[text] = _Told(now_us)
            return logging.WARNING, text
        told.untold += 1
        if now_us - told.at_us < RETELL_US:
            return logging.DEBUG, text
        text += f" (still, after {told.untold} more attempts)"
        told.at_us, told.untold = now_us, 0
        return logging.WARNING, text


class Comings:
    """Publishers who come and go all the time are told now and then. Times are monotonic."""

    def __init__(self) -> None:
        self._told: dict[str, _Told] = {}  # by stream; at_us: when there is nothing to make up for

    def tell(self, name: str, now_us: int) -> int | None:
        """How many came since one was told; None if this one is not worth a line either."""
        told = self._told.pop(name, None) or _Told(0)
        self._told[name] = told  # the newest last
        if len(self._told) > MAX_NAMES:
            del self._told[next(iter(self._told))]
        until_us = max(told.at_us, now_us) + COMINGS_US
        if until_us > now_us + FREE_COMINGS * COMINGS_US:
            told.untold += 1
            return None
        untold, told.at_us, told.untold = told.untold, until_us, 0
        return untold
