"""The tracks of a worker, told together, by whichever thread made the newest of them."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from appliance.capture.outlet import Sink
from appliance.media.track import Track
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.messages import AUDIO_ID, SUB_VIDEO_ID, VIDEO_ID

AUDIO_WAIT_US = 700_000  # opening a microphone takes less, or something is wrong with it
ORDER = (VIDEO_ID, AUDIO_ID, SUB_VIDEO_ID)


class TrackTable:
    """Describes all tracks again when one is new, and passes their units on.

    awaits_audio: the source will say whether there is sound; until then, but not for long, nothing
    is described, so that viewers need not see the sound come later.
    """

    def __init__(self, sink: Sink, *, awaits_audio: bool = False) -> None:
        self._sink = sink
        self._lock = threading.Lock()
        self._tracks: dict[int, Track] = {}
        self._awaits_audio = awaits_audio
        self._asked_us: int | None = None

    @property
    def has_video(self) -> bool:
        return VIDEO_ID in self._tracks

    def is_ready(self, now_us: int) -> bool:
        """Whether pictures may be made; asked with each."""
        if not self._awaits_audio:
            return True
        if self._asked_us is None:
            self._asked_us = now_us
        self._awaits_audio = now_us - self._asked_us < AUDIO_WAIT_US
        return not self._awaits_audio

    def set_audio(self, track: Track | None) -> None:
        """None: there is no sound, for the time being."""
        with self._lock:
            self._awaits_audio = False
            if track is None:
                gone = self._tracks.pop(AUDIO_ID, None)
                if gone is not None and VIDEO_ID in self._tracks:
                    self._describe()
            elif track is not self._tracks.get(AUDIO_ID):
                self._tracks[AUDIO_ID] = track
                if VIDEO_ID in self._tracks:
                    self._describe()

    def write(self, units: Iterable[AccessUnit]) -> None:
        """Of any track; sound and the smaller picture wait for the first large one."""
        with self._lock:
            for unit in units:
                if unit.track.id != VIDEO_ID and VIDEO_ID not in self._tracks:
                    continue
                if unit.track is not self._tracks.get(unit.track.id):
                    if unit.track.id == AUDIO_ID:
                        continue  # taken back meanwhile
                    self._tracks[unit.track.id] = unit.track
                    self._describe()
                self._sink.write(unit)

    def _describe(self) -> None:
        self._sink.describe(tuple(self._tracks[id_] for id_ in ORDER if id_ in self._tracks))
