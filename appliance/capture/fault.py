"""Why a source cannot go on: the one error of the worker that is told to the appliance."""

from __future__ import annotations

from appliance.errors import ApplianceError
from appliance.wire.pipe.messages import Reason


class SourceFault(ApplianceError):
    """The text is one sentence for a person and says what to do."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class ChangeRefused(ApplianceError):
    """A change that cannot be taken over; one sentence that says what is allowed."""
