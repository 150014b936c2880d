"""Repair of a source's timestamps into one continuous, per-track growing timeline.

Theory of operation: output = input + offset. The offset is fixed by the first unit, so that
inter-track sync is the source's own. A track whose next stamp is implausible (more than MAX_JUMP_US
ahead of everything, or more than MAX_BACK_US behind its own last) gets a new offset that continues
the timeline; the next track that jumps tries this newest offset first, so tracks that jump
together stay in sync, and one that stays behind keeps its old offset. Repeated or slightly
backward stamps are nudged forward.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_JUMP_US = 10_000_000
MAX_BACK_US = 1_000_000
MIN_STEP_US = 100  # more than one tick of every clock in use (90 kHz: 11.1 µs, 48 kHz: 20.8 µs)
DEFAULT_STEP_US = 33_333
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
    last_us: int
    step_us: int = DEFAULT_STEP_US
    fresh: bool = True


class Timeline:
    """One source session's mapping. A new session of the same stream makes a new one.

    start_us: where the first unit goes; None when the source already stamps with the stream's
        clock (CLOCK_MONOTONIC, as our capture worker does).
    resumed: the stream had units before; each track's first unit is marked a discontinuity.
    floor_us: nothing is placed before it (the newest dts of the previous session).
    """

    def __init__(self, start_us: int | None, *, resumed: bool = False, floor_us: int = 0) -> None:
        self._start_us = start_us
        self._resumed = resumed
        self._floor_us = floor_us
        self._offset_us: int | None = 0 if start_us is None else None
        self._newest_us = start_us if start_us is not None else floor_us
        self._tracks: dict[int, _TrackState] = {}
        self.repairs = 0  # jumps bridged and stamps nudged, for the stream's statistics

    def place(self, track_id: int, dts_us: int, pts_us: int) -> Placement:
        """The repaired stamps of the next unit of this track."""
        if self._offset_us is None:
            self._offset_us = (self._start_us or 0) - dts_us
        state = self._tracks.get(track_id)
        discontinuity = False
        if state is None:
            state = self._join(track_id, dts_us)
            discontinuity = self._resumed
        out_us = dts_us + state.offset_us
        if not self._is_plausible(state, out_us):
            out_us = self._reanchor(state, dts_us)
            discontinuity = True
        elif out_us < state.last_us + MIN_STEP_US and not state.fresh:
            out_us = state.last_us + MIN_STEP_US
            self.repairs += 1
        elif not state.fresh and not discontinuity:
            state.step_us = min(out_us - state.last_us, 1_000_000)
        state.fresh = False
        state.last_us = out_us
        self._newest_us = max(self._newest_us, out_us)
        reorder_us = min(max(0, pts_us - dts_us), MAX_REORDER_US)
        shifted_us = out_us - (dts_us + state.offset_us)
        return Placement(out_us, out_us + max(0, reorder_us - max(0, shifted_us)), discontinuity)

    def _join(self, track_id: int, dts_us: int) -> _TrackState:
        offset_us = self._offset_us or 0
        first_us = dts_us + offset_us
        if abs(first_us - self._newest_us) > MAX_JUMP_US and (
            self._tracks or self._start_us is not None
        ):
            offset_us = self._newest_us - dts_us
        elif first_us < self._floor_us:
            offset_us = self._offset_us = self._floor_us + MIN_STEP_US - dts_us
        state = _TrackState(offset_us, dts_us + offset_us)
        self._tracks[track_id] = state
        return state

    def _is_plausible(self, state: _TrackState, out_us: int) -> bool:
        newest_us = max(self._newest_us, state.last_us)
        return state.last_us - MAX_BACK_US <= out_us <= newest_us + MAX_JUMP_US

    def _reanchor(self, state: _TrackState, dts_us: int) -> int:
        """A new offset for a track that jumped: the one another track found, or a continuation."""
        self.repairs += 1
        candidate_us = dts_us + (self._offset_us or 0)
        if state.offset_us != self._offset_us and (
            state.last_us < candidate_us <= self._newest_us + MAX_JUMP_US
        ):
            state.offset_us = self._offset_us or 0
            return candidate_us
        out_us = max(self._newest_us, state.last_us) + state.step_us
        state.offset_us = self._offset_us = out_us - dts_us
        return out_us
