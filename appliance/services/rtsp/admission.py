"""Who may do what by RTSP: keys in the address, Digest, and Basic where nobody can listen.

Where Basic may be used it is what is asked for, since every account can answer it; elsewhere those
that have something for Digest can (hub/access.py's `secret_of`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from appliance.errors import AuthError
from appliance.hub.access import Access, Action, Credentials
from appliance.hub.digest import REALM
from appliance.wire.rtsp.auth import (
    Algorithm,
    BasicShown,
    DigestShown,
    Gate,
    Verdict,
    parse_authorization,
)
from appliance.wire.rtsp.events import Asked


@dataclass(slots=True)
class Challenged(Exception):
    """Who asks shall show credentials. lines: of WWW-Authenticate.

    why: what is wrong with those that were shown; empty if there were none, as there are none when
    a player comes, or if only their nonce is out of date.
    """

    lines: list[str] = field(repr=False)
    why: str = ""


class Admission:
    """One for all sessions."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._gate = Gate(REALM, os.urandom(32))

    async def check(
        self, action: Action, name: str, asked: Asked, peer_ip: str, now_us: int, *, basic: bool
    ) -> bytes | None:
        """The mark of the account that was shown (hub/access.py); None for who needs none.

        basic: a password may come as it is, by TLS or because it is configured so.

        Raises: Challenged, AuthError, LimitExceeded.
        """
        credentials = Credentials.of_query(asked.target.query)
        is_stale = False
        try:
            shown = None if credentials else parse_authorization(asked.authorization)
            if isinstance(shown, DigestShown):
                verdict = self._gate.check(
                    shown, asked.method, asked.url, peer_ip, now_us, self._secret_of
                )
                is_right = verdict is not Verdict.WRONG
                user = shown.user
                account = self._access.check_digest(action, name, peer_ip, user, is_right=is_right)
                if verdict is Verdict.RIGHT:
                    return self._access.mark_of(account) if account else None
                is_stale = verdict is Verdict.STALE
            elif isinstance(shown, BasicShown) and basic:
                credentials = Credentials(shown.user, shown.password)
            account = await self._access.check(action, name, peer_ip, credentials)
            return self._access.mark_of(account) if account else None
        except AuthError as error:
            if not error.challenge:
                raise
            lines = [self._gate.basic_challenge]
            if not basic:
                lines = self._gate.challenges(peer_ip, now_us, is_stale=is_stale)
            is_wrong = bool(asked.authorization or credentials) and not is_stale
            raise Challenged(lines, str(error) if is_wrong else "") from None

    def _secret_of(self, user: str) -> Mapping[Algorithm, str]:
        secrets = self._access.secret_of(user) or {}
        return {Algorithm(name): ha1 for name, ha1 in secrets.items()}

    def still_admits(self, mark: bytes | None, action: Action, name: str, peer_ip: str) -> bool:
        return self._access.still_admits(mark, action, name, peer_ip)


class Guest:
    """One session's: what it was admitted to, and by which account."""

    __slots__ = ("_action", "_admission", "_mark", "_peer_ip", "name")

    def __init__(self, admission: Admission, peer_ip: str) -> None:
        self.name = ""  # of the stream
        self._admission = admission
        self._peer_ip = peer_ip
        self._action: Action | None = None
        self._mark: bytes | None = None

    async def admit(
        self, action: Action, name: str, asked: Asked, now_us: int, *, basic: bool
    ) -> bool:
        """Whether that is news: what was allowed is not asked for again.

        basic: see `Admission.check`. Raises: Challenged, AuthError, LimitExceeded.
        """
        if self._action is action and self.name == name:
            return False
        check = self._admission.check
        self._mark = await check(action, name, asked, self._peer_ip, now_us, basic=basic)
        self._action, self.name = action, name
        return True

    @property
    def is_welcome(self) -> bool:
        """To what it was admitted to, if anything."""
        action = self._action
        return action is None or self._admission.still_admits(
            self._mark, action, self.name, self._peer_ip
        )
