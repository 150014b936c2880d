"""Who may publish, play and use the API; asked by every service before anything else.

Theory of operation: the setting of an action may let anonymous peers in (`open`, or `lan` from
nearby addresses). Everybody else needs an account. A key is looked up by its SHA-256, which costs
a microsecond. A password costs scrypt once, in a thread; then it is remembered for a while, and
simultaneous requests with the same password share one computation. Wrong passwords slow their
source down; a right key is never slowed down, so guesses cannot lock its owner out. Digest of RTSP
is checked by its service against `secret_of` and allowed by `check_digest`, at the same pace.

Besides the accounts there is the running device's own key for commands on the same machine
(`local_key`), which is good for the action `api` alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from appliance.errors import AuthError, ConfigError, LimitExceeded, MisuseError
from appliance.hub.accounts import MAX_PASSWORD_BYTES, Account, Accounts, Action, Scrypt, digest_key
from appliance.hub.addresses import is_lan, source_of
from appliance.hub.attempts import Attempts
from appliance.hub.clock import SYSTEM_CLOCK, Clock
from appliance.hub.digest import Ha1s, make_ha1s
from appliance.hub.local_key import NAME, LocalKey

__all__ = ["Access", "Action", "AuthSettings", "Credentials", "Policy"]

log = logging.getLogger(__name__)

REMEMBER_US = 10 * 60_000_000
MAX_REMEMBERED = 256  # against many users' devices; the least recently used are hashed again
MAX_HASHING = 8  # against logins side by side; one more is refused
SCRYPTS_AT_ONCE = 2  # each takes 16 MiB for a moment; the other logins wait for their turn
REREAD_US = 1_000_000
MARK_BYTES = 6


class Policy(StrEnum):
    """Who needs no account for an action."""

    OPEN = "open"  # nobody does
    LAN = "lan"  # loopback, private and link-local addresses
    KEY = "key"  # everybody does


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """`[auth]`"""

    play: Policy = Policy.LAN
    publish: Policy = Policy.KEY
    api: Policy = Policy.KEY


# In addresses, where many encoders and players can set nothing else; the first one there counts
KEY_FIELDS = ("key", "token", "secret", "pass", "password")
USER_FIELDS = ("user", "username")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a peer showed. A generated key may come as `key`, or as the password of any user."""

    user: str = ""
    password: str = field(default="", repr=False)
    key: str = field(default="", repr=False)

    def __bool__(self) -> bool:
        return bool(self.password or self.key)

    @classmethod
    def of_query(cls, query: Mapping[str, str]) -> Credentials:
        """Of an address's parameters: a key, or the password of the user named beside it."""
        key = next((query[name] for name in KEY_FIELDS if query.get(name)), "")
        user = next((query[name] for name in USER_FIELDS if query.get(name)), "")
        return cls(user, key) if user else cls(key=key)


NO_CREDENTIALS = Credentials()
NOBODY = Scrypt(secrets.token_bytes(16), bytes(32))  # hashed for users who do not exist


class Access:
    """The gate. `state_dir` None means that there are no accounts, as in tests of open devices."""

    def __init__(
        self,
        settings: AuthSettings | None = None,
        state_dir: Path | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Raises: ConfigError if the file of accounts cannot be read."""
        self.settings = settings or AuthSettings()
        self.state_dir = state_dir
        self.accounts = None if state_dir is None else Accounts(state_dir)
        self.local_key = None if state_dir is None else LocalKey(state_dir)
        self.attempts = Attempts(clock)
        self.on_refusal: Callable[[str, str], None] = _ignore  # (what was wrong, peer's address)
        self._clock = clock
        self._by_name: dict[str, Account] = {}
        self._by_key: dict[str, Account] = {}
        self._learned: dict[str, Ha1s] = {}  # of keys older than Digest, by their digests
        self._stamp: tuple[int, int, int] | None = None
        self._looked_us = clock.monotonic_us()
        self._salt = secrets.token_bytes(32)
        self._by_mark: dict[bytes, Account] = {}
        self._remembered: OrderedDict[bytes, int] = OrderedDict()  # digest -> forgotten at
        self._hashing: dict[bytes, asyncio.Task[bool]] = {}
        # Not asyncio's own threads, in which names are looked up: a dead resolver holds them all.
        self._threads = ThreadPoolExecutor(SCRYPTS_AT_ONCE, thread_name_prefix="password")
        self.reload()

    def reload(self, settings: AuthSettings | None = None) -> None:
        """Takes over new settings and the accounts as they are on disk now.

        Raises: ConfigError, and leaves everything as it was.
        """
        if self.accounts is not None:
            stamp = self.accounts.stamp()
            loaded = self.accounts.load()
            self._by_name = {account.name: account for account in loaded}
            self._by_key = {account.key_digest: account for account in loaded if account.key_digest}
            self._learned = {
                key: ha1s for key, ha1s in self._learned.items() if key in self._by_key
            }
            self._by_mark = {self._mark(account): account for account in loaded}
            self._stamp = stamp
            self._remembered.clear()
        if settings is not None:
            self.settings = settings

    def make_owner(self) -> str | None:
        """The owner's new key if this device has no accounts yet; to be shown once."""
        key = self.accounts.make_owner() if self.accounts is not None else None
        if key is not None:
            self.reload()
        return key

    async def check(
        self,
        action: Action,
        stream: str,
        peer_ip: str,
        credentials: Credentials = NO_CREDENTIALS,
    ) -> str:
        """The account's name, or "" for a peer who needs none.

        stream: empty where the action is about the whole device.
        Raises: AuthError, with `challenge` where credentials could help; LimitExceeded if too many
        passwords are being checked.
        """
        if self._is_free(action, peer_ip):
            return ""
        if not credentials:
            raise AuthError(f"a key is needed to {_VERBS[action]}")
        if action is Action.API and self._is_local(credentials, peer_ip):
            return NAME
        self._notice_changes()
        account = self._find_key(credentials) or await self._find_user(credentials, peer_ip)
        if account is None:
            self.on_refusal("wrong password" if credentials.user else "wrong key", peer_ip)
            raise AuthError("wrong user, password or key")
        return _permitted(account, action, stream, peer_ip)

    def secret_of(self, user: str) -> Ha1s | None:
        """What this user's Digest is checked with, by the algorithm's name; None for who cannot use
        it, or does not exist. For `check_digest` of the same moment; never to be kept or shown.
        """
        self._notice_changes()
        account = self._by_name.get(user)
        if account is None:
            return None
        return account.ha1s or self._learned.get(account.key_digest)

    def check_digest(
        self, action: Action, stream: str, peer_ip: str, user: str, *, is_right: bool
    ) -> str:
        """As `check`, for a peer who showed a digest instead of a secret.

        is_right: whether `secret_of(user)` confirms it, also if its nonce is out of date; a caller
        that finds the nonce so challenges after this, not before, else guesses could be tried out
        by nonces out of date. The API is not for Digest: whoever steals the file of accounts shall
        not change the device by it.

            verdict = gate.check(shown, …, access.secret_of)  # and nothing is awaited in between
            is_right = verdict is not Verdict.WRONG
            name = access.check_digest(action, stream, peer_ip, shown.user, is_right=is_right)

        Raises: AuthError, with `challenge` where other credentials could help.
        """
        if action is Action.API:
            raise MisuseError("Digest for the API")
        if self._is_free(action, peer_ip):
            return ""
        account = self._by_name.get(user)
        if not (is_right and account is not None and account.key_digest):
            # Apart, so that a player with an outdated key does not slow down others' passwords.
            source = f"digest {source_of(peer_ip)}"
            self._check_pace(source)
            if not is_right or account is None:
                self.attempts.begin(source)
                self.on_refusal("wrong digest", peer_ip)
                raise AuthError("wrong user, password or key")
        return _permitted(account, action, stream, peer_ip)

    def mark_of(self, name: str) -> bytes:
        """MARK_BYTES that stand for this account, as it is now, in what is issued to it.

        Raises: AuthError if it is gone already.
        """
        for mark, account in self._by_mark.items():
            if account.name == name:
                return mark
        raise AuthError("wrong user, password or key")

    def honours(self, mark: bytes, action: Action, stream: str, peer_ip: str) -> bool:
        """Whether the account of this mark still is what it was, and may do this."""
        self._notice_changes()
        account = self._by_mark.get(mark)
        return account is not None and account.permits(action, stream, peer_ip)

    def still_admits(self, mark: bytes | None, action: Action, stream: str, peer_ip: str) -> bool:
        """Whether who was let in before would be again: by an account, or mark None, by none."""
        if mark is None:
            return self._is_free(action, peer_ip)
        return self.honours(mark, action, stream, peer_ip)

    def _mark(self, account: Account) -> bytes:
        """Another one as soon as its secret changes; tells nothing of it."""
        return hmac.digest(
            self._salt, f"{account.name}\0{account.secret_digest}".encode(), hashlib.sha256
        )[:MARK_BYTES]

    def _is_free(self, action: Action, peer_ip: str) -> bool:
        policy: Policy = getattr(self.settings, action.value)
        return policy == Policy.OPEN or (policy == Policy.LAN and is_lan(peer_ip))

    def _is_local(self, credentials: Credentials, peer_ip: str) -> bool:
        return self.local_key is not None and self.local_key.matches(credentials.key, peer_ip)

    def _notice_changes(self) -> None:
        """`porthole user` in another process takes effect within a second."""
        now_us = self._clock.monotonic_us()
        if self.accounts is None or now_us - self._looked_us < REREAD_US:
            return
        self._looked_us = now_us
        stamp = self.accounts.stamp()
        if stamp == self._stamp:
            return
        try:
            self.reload()
        except ConfigError as error:
            self._stamp = stamp
            log.error("users stay as they were: %s", error)  # noqa: TRY400

    def _find_key(self, credentials: Credentials) -> Account | None:
        for candidate in (credentials.key, credentials.password):
            if candidate and len(candidate) <= MAX_PASSWORD_BYTES:
                digest = digest_key(candidate)
                account = self._by_key.get(digest)
                if account is not None and hmac.compare_digest(account.key_digest, digest):
                    if not account.ha1s and digest not in self._learned:
                        self._learned[digest] = make_ha1s(account.name, candidate)
                    return account
        return None

    def _check_pace(self, source: str) -> None:
        """Raises: AuthError after too many wrong attempts."""
        if wait_us := self.attempts.wait_us(source):
            seconds = -(-wait_us // 1_000_000)
            raise AuthError(f"too many wrong attempts, wait {seconds} s", challenge=False)

    async def _find_user(self, credentials: Credentials, peer_ip: str) -> Account | None:
        has_password = bool(credentials.user and credentials.password)
        # Apart, so that a player with an outdated key does not slow down its owner's password.
        source = f"{'password' if has_password else 'key'} {source_of(peer_ip)}"
        self._check_pace(source)
        if not has_password:
            self.attempts.begin(source)
            return None
        account = self._by_name.get(credentials.user)
        if not await self._is_right(account, credentials, source):
            return None
        # The account may have been removed or changed while its password was being hashed.
        return account if account == self._by_name.get(credentials.user) else None

    async def _is_right(
        self, account: Account | None, credentials: Credentials, source: str
    ) -> bool:
        secret = f"{credentials.user}\0{credentials.password}".encode("utf-8", "surrogatepass")
        digest = hmac.digest(self._salt, secret, hashlib.sha256)
        if account is not None and self._remembers(digest):
            return True
        task = self._hashing.get(digest)
        if task is None:
            if len(self._hashing) >= MAX_HASHING:
                raise LimitExceeded("too many passwords are being checked")
            self.attempts.begin(source)
            task = asyncio.create_task(self._hash(account, credentials, source, digest))
            self._hashing[digest] = task
            task.add_done_callback(lambda _: self._hashing.pop(digest, None))
        return await asyncio.shield(task)

    async def _hash(
        self, account: Account | None, credentials: Credentials, source: str, digest: bytes
    ) -> bool:
        """Takes as long for a user who does not exist as for one who does."""
        if len(credentials.password) > MAX_PASSWORD_BYTES:
            return False
        scrypt = account.password if account is not None else None
        matches = await asyncio.get_running_loop().run_in_executor(
            self._threads, (scrypt or NOBODY).matches, credentials.password
        )
        if scrypt is None or not matches:
            return False
        self.attempts.succeed(source)
        if account == self._by_name.get(credentials.user):
            self._remember(digest)
        return True

    def _remembers(self, digest: bytes) -> bool:
        until_us = self._remembered.get(digest, 0)
        if until_us <= self._clock.monotonic_us():
            self._remembered.pop(digest, None)
            return False
        self._remembered.move_to_end(digest)
        return True

    def _remember(self, digest: bytes) -> None:
        self._remembered[digest] = self._clock.monotonic_us() + REMEMBER_US
        if len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)


def _ignore(reason: str, peer_ip: str) -> None:
    """Nobody counts refusals."""


def _permitted(account: Account, action: Action, stream: str, peer_ip: str) -> str:
    """The account's name. Raises: AuthError."""
    if not account.permits(action, stream, peer_ip):
        raise AuthError(f"{account.name} may not {_VERBS[action]} here", challenge=False)
    return account.name


_VERBS = {Action.PUBLISH: "publish", Action.PLAY: "play this", Action.API: "use the API"}
