"""Repair of a source's timestamps into one continuous, per-track growing timeline.

Theory of operation: output = input + offset. The first unit fixes the offset for all tracks, so
inter-track sync is the source's own. A track whose next stamp leaves a gap, or is implausible
(far from every track, or clearly behind itself), looks for the offset that explains it, in this
order: one by which it is together with another track (they jumped together, whichever came first,
or its own last stamp was the wild one); its own previous one (the jump is undone); the one it has
(a gap is a gap); and if that is implausible a new one, which continues the timeline. Repeated or
slightly backward stamps are nudged forward and the offset stays, so that the track is back in sync
once its stamps have caught up.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_JUMP_US = 10_000_000  # ahead of the newest track
MAX_LAG_US = 20_000_000  # behind the newest track: more than any ring of units holds
MAX_BACK_US = 1_000_000  # behind the track itself
MAX_SKEW_US = 1_000_000  # between tracks that are together, and of a step that is no gap
MIN_STEP_US = 100  # more than one tick of every clock in use (90 kHz: 11.1 µs, 48 kHz: 20.8 µs)
DEFAULT_STEP_US = 33_333
MAX_STEP_US = 1_000_000  # of a continuation, however slow the track is
MAX_REORDER_US = 5_000_000  # against a pts that would make a player wait for ever
MAX_TRACKS = 32  # remembered; against a source that numbers its tracks anew without end


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
        self._newest_us = floor_us
        self._tracks: dict[int, _TrackState] = {}
        self.repairs = 0  # jumps bridged and stamps nudged, for the stream's statistics

    def place(self, track_id: int, dts_us: int, pts_us: int) -> Placement:
        """The repaired stamps of the next unit of this track: dts_us grows, pts_us >= dts_us."""
        state = self._tracks.get(track_id) or self._join(track_id, dts_us)
        discontinuity = state.fresh and self._resumed
        out_us = dts_us + state.offset_us
        is_gap = out_us > state.last_us + state.step_us + MAX_SKEW_US
        if not state.fresh and (is_gap or not self._is_plausible(state, out_us)):
            discontinuity = self._reanchor(state, dts_us)
            out_us = dts_us + state.offset_us
        nudge_us = max(0, state.last_us + MIN_STEP_US - out_us)
        if nudge_us:
            self.repairs += 1
        elif not state.fresh and not discontinuity:
            state.step_us = min(out_us - state.last_us, 4 * state.step_us)  # one gap is no rule
        state.fresh = False
        state.last_us = out_us = out_us + nudge_us
        self._newest_us = max(self._newest_us, out_us)
        reorder_us = min(pts_us - dts_us, MAX_REORDER_US) - nudge_us
        return Placement(out_us, out_us + max(0, reorder_us), discontinuity)

    def _join(self, track_id: int, dts_us: int) -> _TrackState:
        if not self._tracks:
            start_us = dts_us if self._start_us is None else self._start_us
            self._newest_us = max(start_us, self._least_us)
        wanted_us = self._newest_us - dts_us
        offsets_us = {state.offset_us for state in self._tracks.values()} or {wanted_us}
        offset_us = min(offsets_us, key=lambda us: (abs(us - wanted_us), us))
        if abs(offset_us - wanted_us) > MAX_JUMP_US:
            offset_us = wanted_us  # it has a clock of its own
        if len(self._tracks) >= MAX_TRACKS:
            oldest = self._tracks.pop(next(iter(self._tracks)))
            self._least_us = max(self._least_us, oldest.last_us + MIN_STEP_US)
        state = _TrackState(offset_us, offset_us, self._least_us - MIN_STEP_US)
        self._tracks[track_id] = state
        return state

    def _reanchor(self, state: _TrackState, dts_us: int) -> bool:
        """Give the track the offset that explains its stamp. False if it is the one it has."""
        step_us = min(state.step_us, MAX_STEP_US)
        wanted_us = state.last_us + step_us
        undone_us = dts_us + state.previous_offset_us
        offset_us = self._shared_offset_us(state, dts_us)
        if offset_us is None:
            if abs(undone_us - wanted_us) <= MAX_SKEW_US and self._is_plausible(state, undone_us):
                offset_us = state.previous_offset_us
            elif self._is_plausible(state, dts_us + state.offset_us):
                offset_us = state.offset_us
            else:
                offset_us = max(self._newest_us + step_us, wanted_us) - dts_us
        if offset_us == state.offset_us:
            return False
        self.repairs += 1
        state.previous_offset_us, state.offset_us = state.offset_us, offset_us
        return True

    def _shared_offset_us(self, state: _TrackState, dts_us: int) -> int | None:
        """The offset of another track by which the two are together, if there is one.

        For a clear step backwards on the clock they share, this track must have been the one that
        ran ahead: else it is the first of the two to jump.
        """
        is_back = dts_us + state.offset_us < state.last_us - MAX_BACK_US
        nearest_us, offset_us = MAX_SKEW_US + 1, None
        for other in self._tracks.values():
            skew_us = abs(dts_us + other.offset_us - other.last_us)
            is_own = other.offset_us == state.offset_us
            if other is state or (
                is_own and is_back and state.last_us - other.last_us <= MAX_SKEW_US
            ):
                continue
            if skew_us < nearest_us:
                nearest_us, offset_us = skew_us, other.offset_us
        return offset_us

    def _is_plausible(self, state: _TrackState, out_us: int) -> bool:
        return (
            out_us >= state.last_us - MAX_BACK_US
            and self._newest_us - MAX_LAG_US <= out_us <= self._newest_us + MAX_JUMP_US
        )
