"""Why a pull ended."""

from __future__ import annotations

from collections.abc import Callable

from appliance.errors import ApplianceError


class PullFault(ApplianceError):
    """reason: one of a few words of ours, for the metrics; the text is for a person.

    said: what the peer said to it. With it the text has only words of ours: they are not searched
    for secrets, as a password that is one of them would be shown by its absence.
    """

    def __init__(self, reason: str, text: str, said: str = "") -> None:
        super().__init__(f"{text} ({said})" if said else text)
        self.reason = reason
        self.text = text
        self.said = said

    def scrubbed(self, scrub: Callable[[str], str]) -> PullFault:
        """Fit for anybody's eyes. scrub: takes secrets out of what may quote a peer."""
        if self.said:
            return PullFault(self.reason, self.text, scrub(self.said))
        return PullFault(self.reason, scrub(self.text))


class Away(PullFault):
    """Nobody takes our connection, so nobody is bothered by being asked again soon."""

    def __init__(self, text: str) -> None:
        super().__init__(UNREACHABLE, text)

    def scrubbed(self, scrub: Callable[[str], str]) -> PullFault:
        return self  # the system's words


UNREACHABLE = "unreachable"
REFUSED = "refused"
LOGIN = "login"
TLS = "tls"
ENDED = "ended"
SILENT = "silent"
GARBAGE = "garbage"
FLOOD = "flood"
TAKEN_OVER = "taken-over"
KICKED = "kicked"
