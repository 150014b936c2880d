"""Why a pull ended."""

from __future__ import annotations

from appliance.errors import ApplianceError


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
