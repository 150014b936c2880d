"""Everybody who is connected: one id from connect to close, in every log line and in the API."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from appliance.errors import LimitExceeded
from appliance.hub.clock import SYSTEM_CLOCK, Clock
from appliance.hub.stats import RateMeter

MAX_SESSIONS = 1024  # against a crowd of connections, each of which costs a table row


class _SessionLog(logging.LoggerAdapter[logging.Logger]):
    """Puts ``rtmp#12 live/cam`` in front of every line."""

    def __init__(self, session: Session) -> None:
        super().__init__(logging.getLogger("appliance.session"), {})
        self._session = session

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[str, MutableMapping[str, Any]]:
        session = self._session
        return f"{session.id} {session.stream + ' ' if session.stream else ''}{msg}", kwargs


class Session:
    """One connection or one stateless viewer.

    kind: as the SRS API spells it: hls-play, flv-play, rtmp-play, fmle-publish, rtc-play …
    kick: ends the session from outside (the API's DELETE); None if nothing can.
    """

    def __init__(self, proto: str, number: int, kind: str, peer_ip: str, clock: Clock) -> None:
        self.id = f"{proto}#{number}"
        self.slug = f"{proto}-{number}"  # the same id where `#` cannot stand, as in URLs
        self.proto = proto
        self.kind = kind
        self.peer_ip = peer_ip
        self.stream = ""
        self.url = ""
        self.user_agent = ""
        self.page_url = ""
        self.is_publisher = False
        self.since_us = clock.monotonic_us()
        self.received = RateMeter()
        self.sent = RateMeter()
        self.lost_units = 0
        self.kick: Callable[[], None] | None = None
        self.log = _SessionLog(self)


class Sessions:
    """The table of sessions, bounded. Numbers are never reused while the process lives."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK, *, max_sessions: int = MAX_SESSIONS) -> None:
        self.clock = clock
        self.max_sessions = max_sessions
        self.active: dict[str, Session] = {}  # by slug
        self.totals: Counter[str] = Counter()  # by kind, since the start
        self._number = 0

    def open(self, proto: str, kind: str, peer_ip: str, *, ours: bool = False) -> Session:
        """Raises: LimitExceeded if the table is full. The caller closes what it opened.

        ours: a session of our own making, bounded by the configuration: a crowd of viewers must
        not keep a camera from restarting.
        """
        if len(self.active) >= self.max_sessions and not ours:
            raise LimitExceeded(f"{len(self.active)} sessions are open")
        self._number += 1
        session = Session(proto, self._number, kind, peer_ip, self.clock)
        self.active[session.slug] = session
        self.totals[kind] += 1
        return session

    def close(self, session: Session) -> None:
        self.active.pop(session.slug, None)

    @contextmanager
    def session(self, proto: str, kind: str, peer_ip: str) -> Iterator[Session]:
        opened = self.open(proto, kind, peer_ip)
        try:
            yield opened
        finally:
            self.close(opened)

    def watching(self, stream: str) -> int:
        """Players of this stream, of all protocols."""
        return sum(s.stream == stream and not s.is_publisher for s in self.active.values())
