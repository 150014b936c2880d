"""Who watches by HLS, which has no connection to count: whoever asked lately.

The table is for statistics and for showing who is there. It is bounded whatever is sent: 20 000
requests with as many User-Agents leave MAX_VIEWERS rows, the most recent ones.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from appliance.errors import LimitExceeded
from appliance.hub.clock import Clock
from appliance.hub.sessions import TOLD_US, Session, Sessions

IDLE_US = 30_000_000
MAX_VIEWERS = 1024
MAX_PER_STREAM = 256


@dataclass(slots=True)
class Viewer:
    """session: its row in the hub's table, which may be full; then the viewer is served uncounted.

    kicked: ended by the operator; stays refused until it has been quiet for IDLE_US.
    """

    stream: str
    key: Hashable
    session: Session | None
    seen_us: int
    kicked: bool = False
    files: int = 0

    def count(self, size_bytes: int) -> None:
        """A file was sent to it."""
        self.files += 1
        if self.session is not None:
            self.session.sent.add(size_bytes, self.seen_us)


@dataclass(frozen=True, slots=True)
class Asker:
    """What one request shows of its sender. key: what tells this viewer from others."""

    key: Hashable
    peer_ip: str
    user_agent: str
    url: str


class Viewers:
    """Least recently seen first, in all and per stream.

    It takes at most three quarters of the hub's sessions: a flood of one-shot requests must leave
    room for those who connect by other protocols.
    """

    def __init__(
        self,
        sessions: Sessions,
        clock: Clock,
        *,
        max_viewers: int = MAX_VIEWERS,
        max_per_stream: int = MAX_PER_STREAM,
    ) -> None:
        self._sessions = sessions
        self._clock = clock
        self.max_viewers = min(max_viewers, sessions.max_sessions * 3 // 4)
        self.max_per_stream = max_per_stream
        self._all: OrderedDict[tuple[str, Hashable], Viewer] = OrderedDict()
        self._by_stream: dict[str, OrderedDict[Hashable, Viewer]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def count(self, stream: str) -> int:
        return len(self._by_stream.get(stream, ()))

    def see(self, stream: str, asker: Asker) -> Viewer:
        """The row of whoever asks, made if it is new; the least recently seen make room."""
        now_us = self._clock.monotonic_us()
        viewer = self._all.get((stream, asker.key))
        if viewer is None:
            viewer = self._admit(stream, asker, now_us)
        elif not viewer.kicked:
            viewer.seen_us = now_us
            self._all.move_to_end((stream, asker.key))
            self._by_stream[stream].move_to_end(asker.key)
        return viewer

    def _admit(self, stream: str, asker: Asker, now_us: int) -> Viewer:
        rows = self._by_stream.get(stream)
        if rows is not None and len(rows) >= self.max_per_stream:
            self._forget(next(iter(rows.values())), "")
        if len(self._all) >= self.max_viewers:
            self._forget(next(iter(self._all.values())), "")
        viewer = Viewer(stream, asker.key, self._open_session(stream, asker), now_us)
        if viewer.session is not None:
            viewer.session.kick = lambda: self._kick(viewer)
        self._all[stream, asker.key] = viewer
        self._by_stream.setdefault(stream, OrderedDict())[asker.key] = viewer
        return viewer

    def _open_session(self, stream: str, asker: Asker) -> Session | None:
        try:
            return self._sessions.open(
                "hls",
                "hls-play",
                asker.peer_ip,
                stream=stream,
                url=asker.url,
                user_agent=asker.user_agent,
            )
        except LimitExceeded:
            return None

    def _kick(self, viewer: Viewer) -> None:
        viewer.kicked = True
        self._close_session(viewer, "ended by the operator")

    def _close_session(self, viewer: Viewer, why: str) -> None:
        session, viewer.session = viewer.session, None
        if session is None:
            return
        self._sessions.close(session)
        watched_us = viewer.seen_us - session.since_us
        if why and watched_us >= TOLD_US:  # requests without a viewer are not worth a line each
            session.log.info("%s: %d files, %d bytes", why, viewer.files, session.sent.total_bytes)

    def _forget(self, viewer: Viewer, why: str = "gone") -> None:
        """why: for the log; empty for who makes room, as thousands a second may in a flood."""
        self._all.pop((viewer.stream, viewer.key), None)
        rows = self._by_stream.get(viewer.stream)
        if rows is not None:
            rows.pop(viewer.key, None)
            if not rows:
                del self._by_stream[viewer.stream]
        self._close_session(viewer, why)

    def sweep(self) -> None:
        """Forget who has not been seen for IDLE_US."""
        oldest_us = self._clock.monotonic_us() - IDLE_US
        while self._all:
            viewer = next(iter(self._all.values()))
            if viewer.seen_us > oldest_us:
                return
            self._forget(viewer)

    def close(self) -> None:
        while self._all:
            self._forget(next(iter(self._all.values())), "the device stops")
