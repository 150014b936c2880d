"""The tracks of one sender on one axis of time, by arrival first and by sender reports later.

Theory of operation: the axis is the receiver's clock at the first packet. A track is put on it by
the arrival of its first packet, which is a guess: its jitter and the sender's own delays are in it.
RTSP's answer to PLAY may tell stamps of one moment; if they are near that guess, they are better.
Sender reports tell how stamps of two tracks relate. The first track that has a believed report is
the reference and never moves; the others are moved to where their reports put them relative to it,
at once while nothing was given of them, and later if it differs by more than eye or ear forgives.
"""

from __future__ import annotations

from appliance.wire.rtp.clock import SenderClock, StampClock
from appliance.wire.rtp.rtcp import SenderReport

MIN_SHIFT_US = 15_000  # less is jitter of the reports, not worth a step
MAX_SHIFT_US = 5_000_000  # more is a camera whose tracks have clocks of their own
MAX_GUESS_US = 250_000  # a beginning further away than that is nonsense, such as 0 for all tracks


class TrackClock:
    """One track's place on the session's axis. Made by `SessionClock.track`."""

    __slots__ = (
        "_beginning",
        "_early",
        "_is_new",
        "_offset_us",
        "_session",
        "sender",
        "shifts",
        "stamps",
    )

    def __init__(self, session: SessionClock, rate_hz: int) -> None:
        self._session = session
        self._offset_us: int | None = None
        self._beginning: int | None = None
        self._is_new = True  # no stamp was given out
        self._early: SenderReport | None = None  # came before the first packet, as ffmpeg's does
        self.stamps = StampClock(rate_hz)
        self.sender = SenderClock(self.stamps)
        self.shifts = 0  # how often reports moved it

    def us(self, stamp: int, now_us: int) -> int:
        """A stamp on the session's axis. now_us: when its packet came, for the first one."""
        offset_us = self._offset_us
        if offset_us is None:
            self._offset_us = self._session.place(self, now_us - self.stamps.us(stamp))
            if self._early is not None:
                self.note(self._early)
            offset_us, self._is_new = self._offset_us, False
        return self.stamps.us(stamp) + offset_us

    def begin(self, timestamp: int) -> None:
        """Before the first packet: the stamp of a moment that other tracks are told theirs of, too
        (RFC 2326 §12.33)."""
        self._beginning = timestamp

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
        self._offset_us = self._early = self._beginning = None
        self._is_new = True
        self.stamps = StampClock(self.stamps.rate_hz)
        self.sender = SenderClock(self.stamps)

    def _offset_by_beginning_us(self, other: TrackClock) -> int | None:
        if self._beginning is None or other._beginning is None or other._offset_us is None:
            return None
        mine, its = self.stamps.nearest(self._beginning), other.stamps.nearest(other._beginning)
        if mine is None or its is None:
            return None
        return other._offset_us + other.stamps.us(its) - self.stamps.us(mine)

    def _align_with(self, reference: TrackClock) -> None:
        told_us, reference_told_us = self.sender.offset_us, reference.sender.offset_us
        if self._offset_us is None or reference._offset_us is None:
            return
        if told_us is None or reference_told_us is None:
            return
        wanted_us = reference._offset_us + told_us - reference_told_us
        least_us = 0 if self._is_new else MIN_SHIFT_US
        if least_us < abs(wanted_us - self._offset_us) <= MAX_SHIFT_US:
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

    def place(self, track: TrackClock, guess_us: int) -> int:
        """The offset of a track that begins, which by its arrival is `guess_us`."""
        for other in self._tracks:
            wanted_us = track._offset_by_beginning_us(other)
            if wanted_us is not None and abs(wanted_us - guess_us) <= MAX_GUESS_US:
                return wanted_us
        return guess_us

    def align(self, changed: TrackClock) -> None:
        """A track has learned how its stamps relate to the sender's clock."""
        if self._reference is None or self._reference.sender.offset_us is None:
            self._reference = changed
        for track in self._tracks:
            if track is not self._reference:
                track._align_with(self._reference)
