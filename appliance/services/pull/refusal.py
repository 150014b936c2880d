"""A login that a server refuses: what is said of it, and how long it is left in peace after it."""

from __future__ import annotations

import random
from dataclasses import dataclass

from appliance.services.pull.faults import LOGIN, PullFault

CODES = frozenset({401, 403})
SOON_S = 5.0
FIRST_S, MAX_S = 60.0, 1800.0


def login_refused(code: int, answer: str, *, has_login: bool) -> PullFault:
    """answer: the server's, with the code in it. has_login: whether the address has a user or a
    password; none goes along where a camera of another host was named."""
    if code == 403:
        why = "the user may not do it, or is locked out for now"
    elif has_login:
        why = "wrong user or password"
    else:
        why = "it wants a user and password"
    return PullFault(LOGIN, why, said=answer)


@dataclass(slots=True)
class Patience:
    """How long to wait before the same login is shown again.

    Many cameras lock an account, or an address, after five to ten wrong ones, some for half an hour
    and counting on meanwhile: so it is minutes, and then half an hour. One that has let us in
    before is asked once more soon, as it may be starting and not know its users yet.
    """

    refusals: int = 0
    was_let_in: bool = False

    def let_in(self) -> None:
        self.refusals, self.was_let_in = 0, True

    def next_s(self) -> float:
        """Jittered, so that two streams of one camera do not come together."""
        step_s = SOON_S
        if not self.was_let_in:
            step_s = min(MAX_S, FIRST_S * 2.0 ** min(self.refusals, 8))
            self.refusals += 1
        self.was_let_in = False
        return step_s * random.uniform(1.0, 1.25)
