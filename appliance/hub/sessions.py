"""Everybody who is connected: one id from connect to close, in every log line and in the API."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, MutableMapping
from typing import Any

from appliance.errors import LimitExceeded
from appliance.hub.clock import SYSTEM_CLOCK, Clock
from appliance.hub.stats import RateMeter
from appliance.hub.telling import Comings

MAX_SESSIONS = 1024  # against a crowd of connections, each of which costs a table row
MAX_STREAMS_REMEMBERED = 256  # against viewers and publishers of ever new names
SHOWN_CHARS = 200  # of what a peer says of itself
TOLD_US = 5_000_000  # who was here for so long leaves a line in the log


class _SessionLog(logging.LoggerAdapter[logging.Logger]):
    """Puts ``rtmp#12 live/cam`` in front of every line."""

    def __init__(self, session: Session) -> None:
        super().__init__(logging.getLogger("appliance.session"))
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

    __slots__ = (
        *(
            "id",
            "is_publisher",
            "is_told",
            "kick",
            "kind",
            "lost_units",
            "page_url",
            "peer_ip",
            "proto",
        ),
        *("received", "sent", "since_us", "slug", "stream", "url", "user_agent"),
    )

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
        self.is_told = False  # that it publishes
        self.since_us = clock.monotonic_us()
        self.received = RateMeter()
        self.sent = RateMeter()
        self.lost_units = 0
        self.kick: Callable[[], None] | None = None

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        return _SessionLog(self)

    def count_sent(self, total_bytes: int, lost_units: int, now_us: int) -> None:
        """What a viewer was sent since it came, and what it was too slow for."""
        self.sent.add(total_bytes - self.sent.total_bytes, now_us)
        self.lost_units = lost_units

    def tell_watched(self, why: str, now_us: int, *, what: str = "units") -> None:
        """A viewer's end; who looks in for a moment is not worth a line."""
        if now_us - self.since_us >= TOLD_US:
            total_bytes, lost = self.sent.total_bytes, self.lost_units
            self.log.info("%s: %d bytes, %d %s skipped", why, total_bytes, lost, what)


class Sessions:
    """The table of sessions, bounded. Numbers are never reused while the process lives."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK, *, max_sessions: int = MAX_SESSIONS) -> None:
        self.clock = clock
        self.max_sessions = max_sessions
        self.active: dict[str, Session] = {}  # by slug
        self.totals: Counter[str] = Counter()  # by kind, since the start
        self._comings = Comings()
        self._number = 0
        self._ended_received_bytes = 0
        self._ended_sent_bytes = 0
        self._ended_sent: Counter[str] = Counter()  # bytes by stream

    def take_number(self) -> int:
        """For who must tell its id before it is known what it does."""
        self._number += 1
        return self._number

    def open(
        self,
        proto: str,
        kind: str,
        peer_ip: str,
        *,
        ours: bool = False,
        number: int | None = None,
        stream: str = "",
        url: str = "",
        user_agent: str = "",
        page_url: str = "",
    ) -> Session:
        """Raises: LimitExceeded if the table is full. The caller closes what it opened.

        ours: a session of our own making, bounded by the configuration: a crowd of viewers must
        not keep a camera from restarting. number: from `take_number`. user_agent, page_url: as the
        peer has them; their beginnings are kept.
        """
        if len(self.active) >= self.max_sessions and not ours:
            raise LimitExceeded(f"{len(self.active)} sessions are open")
        number = self.take_number() if number is None else number
        session = Session(proto, number, kind, peer_ip, self.clock)
        session.stream, session.url = stream, url
        session.user_agent, session.page_url = user_agent[:SHOWN_CHARS], page_url[:SHOWN_CHARS]
        self.active[session.slug] = session
        self.totals[kind] += 1
        return session

    def close(self, session: Session) -> None:
        if self.active.pop(session.slug, None) is None:
            return
        self._ended_received_bytes += session.received.total_bytes
        self._ended_sent_bytes += session.sent.total_bytes
        name = session.stream
        if name in self._ended_sent or len(self._ended_sent) < MAX_STREAMS_REMEMBERED:
            self._ended_sent[name] += session.sent.total_bytes

    def tell_publishing(self, session: Session) -> None:
        """It does from now on; a publisher that comes and goes all the time is told now and then.
        Who is told to have come is told to have gone, by `tell_published`."""
        untold = self._comings.tell(session.stream, self.clock.monotonic_us())
        session.is_told = untold is not None
        more = f" (and {untold} more since that came and went)" if untold else ""
        level = logging.INFO if session.is_told else logging.DEBUG
        session.log.log(level, "publishes from %s%s", session.peer_ip, more)

    def tell_published(self, session: Session, why: str) -> None:
        span_us = self.clock.monotonic_us() - session.since_us
        level = logging.INFO if session.is_told or span_us >= TOLD_US else logging.DEBUG
        seconds, total_bytes = span_us / 1_000_000, session.received.total_bytes
        session.log.log(level, "ended after %.1f s, %d bytes: %s", seconds, total_bytes, why)

    def watching(self, stream: str) -> int:
        """Players of this stream, of all protocols."""
        return sum(s.stream == stream and not s.is_publisher for s in self.active.values())

    def received_bytes(self) -> int:
        """From all peers since the start; never falls."""
        return self._ended_received_bytes + sum(
            s.received.total_bytes for s in self.active.values()
        )

    def sent_bytes(self, stream: str | None = None) -> int:
        """To all viewers, or to those of one stream, since the start; never falls."""
        if stream is None:
            return self._ended_sent_bytes + sum(s.sent.total_bytes for s in self.active.values())
        return self._ended_sent[stream] + sum(
            s.sent.total_bytes for s in self.active.values() if s.stream == stream
        )
