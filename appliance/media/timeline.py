"""Repair of a source's timestamps into one continuous, per-track growing timeline.

Theory of operation: output = input + offset. The first unit fixes the offset for all tracks, so
inter-track sync is the source's own. A track whose next stamp is implausible (far ahead of or far
behind everything, or clearly behind itself) looks for another offset: those in force on other
tracks, its own previous one and the newest one, of which the plausible one nearest to where the
track should go on wins. So tracks that jump together, in whatever order, stay in sync; one that
stays behind keeps its offset; and a single wild stamp leaves no trace behind. If none fits, a new
offset continues the timeline. Repeated or slightly backward stamps are nudged forward, and the
offset stays, so that the track is back in sync once its stamps have caught up.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_JUMP_US = 10_000_000  # ahead of every track
MAX_LAG_US = 20_000_000  # behind the newest track: more than any ring of units holds
MAX_BACK_US = 1_000_000  # behind the track itself
SUSPICIOUS_US = 1_000_000  # longer than the step before: believed if no other offset explains it
MIN_STEP_US = 100  # more than one tick of every clock in use (90 kHz: 11.1 µs, 48 kHz: 20.8 µs)
DEFAULT_STEP_US = 33_333
MAX_STEP_US = 1_000_000  # of a continuation, however slow the track is
MAX_TRACKS = 32  # remembered; against a source that numbers its tracks anew without end
MAX_REORDER_US = 5_000_000  # against a pts that would make a player wait for ever


@dataclass(slots=True)
class Placement:
    """Where a unit stands on the repaired timeline."""

    dts_us: int
    pts_us: int
    discontinuity: bool


@dataclass(slots=True)
class _TrackState:
    offset_us: int
    previous_offset_us: int
    last_us: int
    step_us: int = DEFAULT_STEP_US
    fresh: bool = True


class Timeline:
    """One source session's mapping. A new session of the same stream makes a new one.

    start_us: where the first unit goes; None when the source already stamps with the stream's
        clock (CLOCK_MONOTONIC, as our capture worker does).
    resumed: the stream had units before; each track's first unit is marked a discontinuity.
    floor_us: nothing is placed before it, nor on it if resumed (the newest dts of the previous
        session).
    """

    def __init__(self, start_us: int | None, *, resumed: bool = False, floor_us: int = 0) -> None:
        self._start_us = start_us
        self._resumed = resumed
        self._least_us = floor_us + MIN_STEP_US if resumed else floor_us
        self._offset_us = 0  # the newest one found
        self._newest_us = floor_us
        self._tracks: dict[int, _TrackState] = {}
        self.repairs = 0  # jumps bridged and stamps nudged, for the stream's statistics

    def place(self, track_id: int, dts_us: int, pts_us: int) -> Placement:
        """The repaired stamps of the next unit of this track: dts_us grows, pts_us >= dts_us."""
        state = self._tracks.get(track_id) or self._join(track_id, dts_us)
        discontinuity = state.fresh and self._resumed
        if not state.fresh and not self._is_expected(state, dts_us):
            discontinuity = self._reanchor(state, dts_us)
        out_us = dts_us + state.offset_us
        nudge_us = max(0, state.last_us + MIN_STEP_US - out_us)
        if nudge_us:
            self.repairs += 1
        elif not state.fresh and not discontinuity:
            state.step_us = out_us - state.last_us
        state.fresh = False
        state.last_us = out_us = out_us + nudge_us
        self._newest_us = max(self._newest_us, out_us)
        reorder_us = min(pts_us - dts_us, MAX_REORDER_US) - nudge_us
        return Placement(out_us, out_us + max(0, reorder_us), discontinuity)

    def _join(self, track_id: int, dts_us: int) -> _TrackState:
        if not self._tracks:
            self._offset_us = 0 if self._start_us is None else self._start_us - dts_us
            self._offset_us = max(self._offset_us, self._least_us - dts_us)
            self._newest_us = dts_us + self._offset_us
        wanted_us = self._newest_us - dts_us
        offset_us = _nearest(self._offsets_us(), wanted_us)
        if abs(offset_us - wanted_us) > MAX_JUMP_US:
            offset_us = wanted_us  # it has a clock of its own
        if len(self._tracks) >= MAX_TRACKS:
            oldest = self._tracks.pop(next(iter(self._tracks)))
            self._least_us = max(self._least_us, oldest.last_us + MIN_STEP_US)
        state = _TrackState(offset_us, offset_us, self._least_us - MIN_STEP_US)
        self._tracks[track_id] = state
        return state

    def _offsets_us(self) -> set[int]:
        return {self._offset_us, *(state.offset_us for state in self._tracks.values())}

    def _is_expected(self, state: _TrackState, dts_us: int) -> bool:
        """Whether no other offset need be looked for."""
        latest_us = state.last_us + state.step_us + SUSPICIOUS_US
        return dts_us + state.offset_us <= latest_us and self._fits(state, dts_us, state.offset_us)

    def _fits(self, state: _TrackState, dts_us: int, offset_us: int) -> bool:
        out_us = dts_us + offset_us
        is_near = self._newest_us - MAX_LAG_US <= out_us <= self._newest_us + MAX_JUMP_US
        return is_near and (
            out_us >= state.last_us - MAX_BACK_US
            or any(  # another track of this clock is there: it was our last stamp that was wild
                other is not state
                and other.offset_us == offset_us
                and abs(other.last_us - out_us) <= MAX_BACK_US
                for other in self._tracks.values()
            )
        )

    def _reanchor(self, state: _TrackState, dts_us: int) -> bool:
        """Give the track the offset that explains its stamp best. False if it is the old one."""
        step_us = min(state.step_us, MAX_STEP_US)
        wanted_us = state.last_us + step_us - dts_us
        offsets_us = self._offsets_us() | {state.previous_offset_us}
        fitting_us = {us for us in offsets_us if self._fits(state, dts_us, us)}
        if fitting_us:
            offset_us = _nearest(fitting_us, wanted_us)
        else:
            offset_us = self._offset_us = max(self._newest_us - dts_us + step_us, wanted_us)
        if offset_us == state.offset_us:
            return False
        self.repairs += 1
        state.previous_offset_us, state.offset_us = state.offset_us, offset_us
        return True


def _nearest(offsets_us: set[int], wanted_us: int) -> int:
    return min(offsets_us, key=lambda us: (abs(us - wanted_us), us))
