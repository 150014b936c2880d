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
FLOOD = "flood"
DEAF = "deaf"
TAKEN_OVER = "taken-over"
CANNOT_START = "cannot-start"
KICKED = "kicked"

# What a new start of the whole service might cure; a camera that is unplugged is none of them.
DESPERATE = frozenset({DIED, STALLED, GARBAGE, FLOOD, DEAF, CANNOT_START})
