"""How a fault that lasts is told: once, and again only after a long time."""

from __future__ import annotations

import logging

RETELL_US = 10 * 60_000_000  # what stays away is told again, for who reads the log late


class Telling:
    """Attempts that fail the same way are not news. Times are monotonic microseconds."""

    def __init__(self) -> None:
        self._told = ""  # the fault that was told last and has not healed
        self._told_us = 0
        self._untold = 0  # the same one since, attempt after attempt

    @property
    def is_failing(self) -> bool:
        """Something was told and has not healed."""
        return bool(self._told)

    def heal(self) -> None:
        self._told = ""

    def tell(self, text: str, now_us: int) -> tuple[int, str]:
        """The level and the words."""
        if text != self._told:
            self._told, self._told_us, self._untold = text, now_us, 0
            return logging.WARNING, text
        self._untold += 1
        if now_us - self._told_us < RETELL_US:
            return logging.DEBUG, text
        text += f" (still, after {self._untold} more attempts)"
        self._told_us, self._untold = now_us, 0
        return logging.WARNING, text
