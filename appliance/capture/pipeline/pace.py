"""Rates of pictures: taking fewer of a camera's, and measuring how many there are."""

from __future__ import annotations

from collections import deque

NEAR = 0.92  # of the wanted interval: a camera this close to the wanted rate is not thinned out
WEIGHT = 8
MAX_STEP_US = 1_000_000
METER_US = 3_000_000
MAX_TIMES = 512  # of METER_US at the highest rate there is


class Pace:
    """Which pictures are taken, so that `fps` of them remain, evenly; all if there are no more.

    A grid of time decides and not a count, so a camera whose own rate wanders is followed.
    """

    def __init__(self, fps: int) -> None:
        self._interval_us = 1_000_000 / fps
        self._step_us = 0.0
        self._last_us: int | None = None
        self._due_us = 0.0
        self._verdict = True

    def set_fps(self, fps: int) -> None:
        self._interval_us = 1_000_000 / fps

    def is_due(self, time_us: int) -> bool:
        """Whether the picture of this time is taken. May be asked again about the newest."""
        if time_us == self._last_us:
            return self._verdict
        if self._last_us is not None and 0 < time_us - self._last_us < MAX_STEP_US:
            step_us = time_us - self._last_us
            self._step_us += (step_us - self._step_us) / (WEIGHT if self._step_us else 1)
        self._last_us = time_us
        self._verdict = self._is_taken(time_us)
        return self._verdict

    def _is_taken(self, time_us: int) -> bool:
        interval_us = self._interval_us
        if not self._step_us or self._step_us > NEAR * interval_us:
            self._due_us = time_us + interval_us
            return True
        late_us = time_us - self._due_us
        if late_us + self._step_us / 2 < 0:
            return False
        self._due_us += interval_us if late_us < interval_us else late_us + interval_us
        return True


class RateMeter:
    """Pictures a second, over the last three."""

    def __init__(self) -> None:
        self._times_us: deque[int] = deque(maxlen=MAX_TIMES)

    def note(self, time_us: int) -> None:
        self._times_us.append(time_us)

    def fps(self, now_us: int) -> float:
        """0 when nothing came for as long as is looked back."""
        times = self._times_us
        while times and times[0] < now_us - METER_US:
            times.popleft()
        if len(times) < 2 or times[-1] <= times[0]:
            return 0.0
        return round((len(times) - 1) * 1_000_000 / (times[-1] - times[0]), 2)
