"""Sends units of a recording, or of a source that runs ahead, when their time has come.

Theory of operation: stamps are repaired into one growing timeline that begins now (Timeline), and
each unit waits until CLOCK_MONOTONIC reaches its stamp. What comes later than its stamp is sent
at once; if everything is later than `max_late_us` (the machine slept, the reader stalled), the
timeline is moved up to the present and the cut is marked.
"""

from __future__ import annotations

from collections.abc import Collection

from appliance.capture.clock import monotonic_us, sleep_until_us
from appliance.capture.lanes.lane import Lane
from appliance.capture.outlet import Sink
from appliance.media.timeline import Timeline
from appliance.media.track import Track
from appliance.media.unit import AccessUnit

MAX_HELD_UNITS = 1024  # while a track is unknown; against one that never becomes known
MAX_HELD_BYTES = 8 << 20
MAX_HELD_US = 3_000_000


class Playout:
    """past_us: how much of what comes first is older than now: it arrived in one go."""

    def __init__(self, sink: Sink, *, max_late_us: int, past_us: int = 0) -> None:
        self._sink = sink
        self._max_late_us = max_late_us
        self._past_us = past_us
        self._timeline: Timeline | None = None
        self._shift_us = 0
        self._tracks: tuple[Track, ...] = ()
        self._cut: set[int] = set()  # tracks whose next unit follows a cut
        self._held: list[AccessUnit] = []
        self._complete = False
        self.late_us = 0  # how long after its time the newest unit was sent, or could have been

    def send(self, lanes: Collection[Lane], units: list[AccessUnit]) -> None:
        """Units in the order they are to be sent, after all tracks are known."""
        self._sink.drop(sum(lane.take_dropped() for lane in lanes))
        if not self._complete:
            self._held += units
            if not self._held or not self._is_complete(lanes):
                return
            self._complete = True
            units, self._held = self._held, []
        for unit in units:
            self._describe(lanes)
            self._play(unit)

    def _is_complete(self, lanes: Collection[Lane]) -> bool:
        """Whether all tracks are known, or it is time to go on without the missing ones."""
        return (
            all(lane.track is not None for lane in lanes)
            or len(self._held) >= MAX_HELD_UNITS
            or sum(unit.size_bytes for unit in self._held) >= MAX_HELD_BYTES
            or self._held[-1].dts_us - self._held[0].dts_us >= MAX_HELD_US
        )

    def _describe(self, lanes: Collection[Lane]) -> None:
        tracks = tuple(lane.track for lane in lanes if lane.track is not None)
        if len(tracks) != len(self._tracks) or any(
            new is not old for new, old in zip(tracks, self._tracks, strict=True)
        ):
            self._tracks = tracks
            self._sink.describe(tracks)

    def _play(self, unit: AccessUnit) -> None:
        now_us = monotonic_us()
        if self._timeline is None:
            self._timeline = Timeline(now_us - self._past_us)
        place = self._timeline.place(unit.track.id, unit.dts_us, unit.pts_us)
        late_us = now_us - place.dts_us - self._shift_us
        if late_us > self._max_late_us + self._past_us:
            self._shift_us += late_us
            late_us = 0
            self._cut = {track.id for track in self._tracks}
        self.late_us = max(0, late_us - self._past_us)
        unit.dts_us = place.dts_us + self._shift_us
        unit.pts_us = place.pts_us + self._shift_us
        unit.discontinuity = place.discontinuity or unit.track.id in self._cut
        self._cut.discard(unit.track.id)
        sleep_until_us(unit.dts_us)
        self._sink.write(unit)
