"""The tracks of one sender on one axis of time, by arrival first and by sender reports later.

Theory of operation: the axis is the receiver's clock at the first packet. A track is put on it by
the arrival of its first packet, which is a guess: its jitter and the sender's own delays are in it.
Sender reports tell how stamps of two tracks relate. The first track that has a believed report is
the reference and never moves; the others are moved to where their reports put them relative to it,
once that differs by more than an eye or ear forgives.
"""

from __future__ import annotations

from appliance.wire.rtp.clock import SenderClock, StampClock
from appliance.wire.rtp.rtcp import SenderReport

MIN_SHIFT_US = 15_000  # less is jitter of the reports, not worth a step
MAX_SHIFT_US = 5_000_000  # more is a camera whose tracks have clocks of their own


class TrackClock:
    """One track's place on the session's axis. Made by `SessionClock.track`."""

    __slots__ = ("_early", "_offset_us", "_session", "sender", "shifts", "stamps")

    def __init__(self, session: SessionClock, rate_hz: int) -> None:
        self._session = session
        self._offset_us: int | None = None
        self._early: SenderReport | None = None  # came before the first packet, as ffmpeg's does
        self.stamps = StampClock(rate_hz)
        self.sender = SenderClock(self.stamps)
        self.shifts = 0  # how often reports moved it

    def us(self, stamp: int, now_us: int) -> int:
        """A stamp on the session's axis. now_us: when its packet came, for the first one."""
        offset_us = self._offset_us
        if offset_us is None:
            self._offset_us = offset_us = now_us - self.stamps.us(stamp)
            if self._early is not None:
                self.note(self._early)
                offset_us = self._offset_us
        return self.stamps.us(stamp) + offset_us

    def note(self, report: SenderReport) -> None:
        """A sender report of this track's source."""
        self._early = report if self._offset_us is None else None
        if self._offset_us is not None and self.sender.note(report):
            self._session.align(self)

    @property
    def wall_offset_us(self) -> int | None:
        """Unix time minus the session's axis; None while the sender does not tell."""
        if self._offset_us is None or self.stamps.newest is None:
            return None
        wall_us = self.sender.wall_us(self.stamps.newest)
        if wall_us is None:
            return None
        return wall_us - self.stamps.us(self.stamps.newest) - self._offset_us

    def restart(self) -> None:
        """The sender began another sequence: what was known of its stamps is void."""
        self._offset_us = self._early = None
        self.stamps = StampClock(self.stamps.rate_hz)
        self.sender = SenderClock(self.stamps)

    def _align_with(self, reference: TrackClock) -> None:
        told_us, reference_told_us = self.sender.offset_us, reference.sender.offset_us
        if self._offset_us is None or reference._offset_us is None:
            return
        if told_us is None or reference_told_us is None:
            return
        wanted_us = reference._offset_us + told_us - reference_told_us
        if MIN_SHIFT_US < abs(wanted_us - self._offset_us) <= MAX_SHIFT_US:
            self._offset_us = wanted_us
            self.shifts += 1


class SessionClock:
    """All tracks of one sender."""

    __slots__ = ("_reference", "_tracks")

    def __init__(self) -> None:
        self._tracks: list[TrackClock] = []
        self._reference: TrackClock | None = None

    def track(self, rate_hz: int) -> TrackClock:
        self._tracks.append(TrackClock(self, rate_hz))
        return self._tracks[-1]

    def align(self, changed: TrackClock) -> None:
        """A track has learned how its stamps relate to the sender's clock."""
        if self._reference is None or self._reference.sender.offset_us is None:
            self._reference = changed
        for track in self._tracks:
            if track is not self._reference:
                track._align_with(self._reference)
