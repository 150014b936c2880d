"""Holds back a demuxer's first units until the tracks that are to come have told what they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import is_

from appliance.media.track import Track
from appliance.media.unit import AccessUnit

Event = tuple[Track, ...] | AccessUnit

MAX_HOLD_US = 2_000_000  # for a track that is listed, yet silent
MAX_HELD_UNITS = 512  # the same, against units that all have one stamp
MAX_HELD_BYTES = 8 << 20


class TrackGate:
    """Turns units into events, with a tuple of Tracks before the first unit that needs it.

    Opens once, when nothing is missing or the bounds are reached; from then on it announces
    whatever is new at once.
    """

    __slots__ = ("_announced", "_held", "_held_bytes", "is_open")

    def __init__(self) -> None:
        self.is_open = False
        self._announced: tuple[Track, ...] = ()
        self._held: list[AccessUnit] = []
        self._held_bytes = 0

    def push(self, units: Iterable[AccessUnit], tracks: Sequence[Track | None]) -> list[Event]:
        """The events of these units; `tracks`: all there are to be, None for one not yet known."""
        events: list[Event] = []
        for unit in units:
            if not self.is_open:
                self._hold(unit)
            else:
                events += self._announce(tracks)
                events.append(unit)
        if not self.is_open and self._is_due(tracks):
            events += self.open(tracks)
        return events

    def open(self, tracks: Sequence[Track | None]) -> list[Event]:
        """Wait no longer."""
        held, self._held, self.is_open = self._held, [], True
        return [*self._announce(tracks), *held] if held else []

    def _hold(self, unit: AccessUnit) -> None:
        self._held.append(unit)
        self._held_bytes += unit.size_bytes

    def _is_due(self, tracks: Sequence[Track | None]) -> bool:
        held = self._held
        return bool(held) and (
            None not in tracks
            or len(held) > MAX_HELD_UNITS
            or self._held_bytes > MAX_HELD_BYTES
            or abs(held[-1].dts_us - held[0].dts_us) > MAX_HOLD_US
        )

    def _announce(self, tracks: Sequence[Track | None]) -> list[Event]:
        known = tuple(track for track in tracks if track is not None)
        if len(known) == len(self._announced) and all(map(is_, known, self._announced)):
            return []
        self._announced = known
        return [known]
