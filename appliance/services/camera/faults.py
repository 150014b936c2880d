"""Why a worker session ended."""

from __future__ import annotations

from appliance.errors import ApplianceError


class WorkerFault(ApplianceError):
    """reason: one of a few words of ours, for the metrics; the text is for a person."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


DIED = "died"
STALLED = "stalled"
GARBAGE = "garbage"
TAKEN_OVER = "taken-over"
CANNOT_START = "cannot-start"
KICKED = "kicked"
