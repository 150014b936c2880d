"""Why a pull ended, and how that is told: once, and again only after a long time."""

from __future__ import annotations

import logging

from appliance.errors import ApplianceError

RETELL_US = 10 * 60_000_000  # a server that stays away is told again, for who reads the log late


class PullFault(ApplianceError):
    """reason: one of a few words of ours, for the metrics; the text is for a person."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


UNREACHABLE = "unreachable"
REFUSED = "refused"
ENDED = "ended"
SILENT = "silent"
GARBAGE = "garbage"
FLOOD = "flood"
TAKEN_OVER = "taken-over"
KICKED = "kicked"


class Telling:
    """Attempts that fail the same way are not news."""

    def __init__(self) -> None:
        self._told = ""  # the fault that was told last and has not healed
        self._told_us = 0
        self._untold = 0  # the same one since, attempt after attempt

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
