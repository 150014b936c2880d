"""An ICE-lite agent: what one session answers to connectivity checks (RFC 8445 §2.5, §7.3).

Theory of operation: a lite agent sends no checks. The peer checks each way to us; one that knows
our password makes its address a *path*, and one with USE-CANDIDATE names the path for media. A
peer that roams names another. While its checks come, it consents to what we send (RFC 7675); when
they stay away, the session is over. Whoever cannot sign with our password gets no answer at all:
RFC 8489 §9.1.3 would have us tell strangers what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from appliance.wire.allowance import Allowance
from appliance.wire.ice.credentials import Credentials
from appliance.wire.ice.stun import (
    AttributeType,
    MessageClass,
    StunMessage,
    error_code,
    mapped_address,
    unknown_attributes,
)

FIRST_CHECK_US = 10_000_000  # browsers begin as soon as they have the answer
NOMINATION_US = 30_000_000
CONSENT_US = 30_000_000  # RFC 7675 §5.1
SILENCE_US = 8_000_000  # longer than any pause between two checks, at most 6 s by RFC 7675 §5.1
MAX_PATHS = 16  # a browser has some four; against one who checks from every port it has
MAX_STRANGE_CHECKS = 64  # a second, from where no valid one came; each costs an HMAC
MAX_PATH_CHECKS = 256  # a second, from paths; browsers send 20 for each at first


class Remote(NamedTuple):
    """Where packets come from; equal to the plain tuple. host: numeric, as the socket tells it."""

    host: str
    port: int
    is_tcp: bool = False


class IceState(Enum):
    NEW = "new"  # nothing valid came
    CHECKING = "checking"  # checks came, none named a path
    CONNECTED = "connected"
    FAILED = "failed"  # nothing came in time, or consent ended


@dataclass(slots=True)
class Path:
    """A peer's address from which a check came that knew our password.

    is_nominated: whether its latest check had USE-CANDIDATE.
    """

    remote: Remote
    since_us: int
    last_us: int
    priority: int = 0
    is_nominated: bool = False
    checks: int = 0


class IceAgent:
    """One session's end. local: what the peer checks with now; former: what it did before a restart
    that is not complete.

    paths: by address, in the order of coming. selected: the one that the peer named.
    """

    def __init__(self, local: Credentials, now_us: int) -> None:
        self.local = local
        self.former: Credentials | None = None
        self.state = IceState.NEW
        self.paths: dict[Remote, Path] = {}
        self.selected: Path | None = None
        self.refused = 0  # checks that were not signed with our password, or made no sense
        self.throttled = 0
        self._since_us = now_us
        self._strange = Allowance(MAX_STRANGE_CHECKS)
        self._usual = Allowance(MAX_PATH_CHECKS)

    @property
    def deadline_us(self) -> int:
        """When `expire` has something to do if nothing comes."""
        if self.selected is not None:
            return self.selected.last_us + CONSENT_US
        return self._since_us + (NOMINATION_US if self.paths else FIRST_CHECK_US)

    @property
    def target(self) -> Remote | None:
        """Where to send to. Until a path is named it is the one checked last: Chromium begins its
        handshake when checks succeed, and names a path afterwards (RFC 8445 §12.1)."""
        newest = max(self.paths.values(), key=lambda path: path.last_us, default=None)
        path = self.selected or newest
        return path.remote if path is not None else None

    def holds(self, remote: Remote, now_us: int) -> bool:
        """Whether the peer checks from there, so that nobody else may claim it."""
        path = self.paths.get(remote)
        return path is not None and now_us - path.last_us <= SILENCE_US

    def check(self, message: StunMessage, remote: Remote, now_us: int) -> bytes | None:
        """The answer to a binding request whose USERNAME is one of ours; None for none.

        Raises: PeerError if one of its attributes is damaged.
        """
        if self.state is IceState.FAILED or not self._may_check(remote, now_us):
            return None
        credentials = self._credentials_of(message)
        if credentials is None or not message.is_signed_by(credentials.key):
            self.refused += 1
            return None
        if fault := _fault(message):
            self.refused += 1
            return _answer(message, MessageClass.ERROR, credentials, fault)
        path = self._path(remote, now_us)
        path.last_us = now_us
        path.priority = message.priority or 0
        path.checks += 1
        is_restarted = self.former is not None and credentials is self.local
        self._weigh(path, message.is_nominating, is_restarted, now_us)
        mapped = mapped_address(remote.host, remote.port, message.transaction_id)
        told = [(AttributeType.XOR_MAPPED_ADDRESS, mapped)]
        return _answer(message, MessageClass.SUCCESS, credentials, told)

    def heard(self, remote: Remote, now_us: int) -> None:
        """Something else came from there that only the peer can have made, such as SRTCP whose tag
        is right. It consents by that too: libnice 0.1.21 as in GStreamer 1.22 checks twice and then
        never again; its indications (RFC 8445 §11) anybody can forge."""
        if (path := self.paths.get(remote)) is not None:
            path.last_us = now_us

    def restart(self, local: Credentials) -> Credentials | None:
        """New credentials; media stay where they are until the peer names a path with these
        (RFC 8445 §9). What an earlier restart had, nobody used, and is over, is returned."""
        unused = None if self.former is None else self.local
        self.former = self.former or self.local
        self.local = local
        return unused

    def forget(self, remote: Remote) -> None:
        """A connection is closed. If media went there, they go to the next best, or nowhere."""
        path = self.paths.pop(remote, None)
        if path is not None and path is self.selected:
            self.selected = max(
                (p for p in self.paths.values() if p.is_nominated),
                key=lambda p: p.priority,
                default=None,
            )
            if self.selected is None:
                self._since_us = path.last_us
                self.state = IceState.CHECKING

    def expire(self, now_us: int) -> list[Remote]:
        """What consents no more is forgotten and returned; `state` says what is left."""
        silent = [p.remote for p in self.paths.values() if now_us - p.last_us >= CONSENT_US]
        for remote in silent:
            self.forget(remote)
        if now_us >= self.deadline_us:
            self.state = IceState.FAILED
        return silent

    def _may_check(self, remote: Remote, now_us: int) -> bool:
        allowance = self._usual if remote in self.paths else self._strange
        may = allowance.take(1, now_us)
        self.throttled += not may
        return may

    def _credentials_of(self, message: StunMessage) -> Credentials | None:
        """RFC 8445 §7.2.2: our fragment, a colon, the peer's."""
        ufrag = (message.username or b"").partition(b":")[0]
        ours = (c for c in (self.local, self.former) if c and c.ufrag.encode() == ufrag)
        return next(ours, None)

    def _path(self, remote: Remote, now_us: int) -> Path:
        path = self.paths.get(remote)
        if path is None:
            if len(self.paths) >= MAX_PATHS:
                others = (p for p in self.paths.values() if p is not self.selected)
                del self.paths[min(others, key=lambda p: p.last_us).remote]
            path = self.paths[remote] = Path(remote, now_us, now_us)
            if self.state is IceState.NEW:
                self.state = IceState.CHECKING
        return path

    def _weigh(self, path: Path, is_nominating: bool, is_restarted: bool, now_us: int) -> None:
        """A path that is named anew is selected. One that is named again and again, as peers do
        with all of theirs at once, is selected only instead of a worse or a silent one."""
        was_named, path.is_nominated = path.is_nominated, is_nominating
        current = self.selected
        if not is_nominating:
            return
        if (
            current is None
            or not was_named
            or is_restarted
            or path.priority > current.priority
            or now_us - current.last_us > SILENCE_US
        ):
            self.selected = path
            self.state = IceState.CONNECTED
        if is_restarted:
            self.former = None


def _fault(message: StunMessage) -> list[tuple[AttributeType, bytes]] | None:
    """What is wrong with a check that is signed rightly, as attributes of the answer."""
    if unknown := message.unknown_required():
        return [
            (AttributeType.ERROR_CODE, error_code(420)),
            (AttributeType.UNKNOWN_ATTRIBUTES, unknown_attributes(unknown)),
        ]
    if message.priority is None:  # RFC 8445 §7.1.1
        return [(AttributeType.ERROR_CODE, error_code(400))]
    if message.controlled is not None:  # a lite agent never controls a full one (RFC 8445 §6.1.1)
        return [(AttributeType.ERROR_CODE, error_code(487))]
    if message.controlling is None:
        return [(AttributeType.ERROR_CODE, error_code(400))]
    return None


def _answer(
    message: StunMessage,
    kind: MessageClass,
    credentials: Credentials,
    attributes: Iterable[tuple[AttributeType, bytes]],
) -> bytes:
    """Signed with the password of the request (RFC 8445 §7.3)."""
    answer = StunMessage(kind, message.transaction_id)
    for attribute, value in attributes:
        answer.add(attribute, value)
    return answer.pack(credentials.key)
