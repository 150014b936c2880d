"""Decoding times of a stream that only tells presentation times, as RTP does.

Theory of operation: sorted presentation times are decoding times, shifted by as many pictures as
the stream reorders. So the decoding time of a unit is the presentation time that is the
(depth + 1)th greatest seen so far. The depth is what the parameter sets say, or 0 where they say
nothing; it grows when a picture proves it too small, and goes back after a long stretch in order (a
camera's clock that stepped back a little looks the same).
"""

from __future__ import annotations

from bisect import insort

MAX_DEPTH = 16  # ISO/IEC 14496-10 §A.3.1: no stream reorders more
MAX_STEP_US = 10_000_000  # forward; beyond it the timestamps began anew
MAX_BACK_US = 1_000_000  # behind what was decoded already; likewise
DEFAULT_FRAME_US = 33_333
_CALM_UNITS = 256  # in order, before what only a few units asked for is dropped again
_LEAST_US = 1


class DtsFinder:
    """One video track's.

    reorder_frames: of the SPS (`config.max_reorder_frames`); None if it does not say.
    frame_us: the distance of pictures, to reach back from the first; a guess will do.
    """

    __slots__ = ("_calm", "_depth", "_frame_us", "_last_us", "_seen_us", "_told_depth")

    def __init__(self, reorder_frames: int | None, frame_us: int = DEFAULT_FRAME_US) -> None:
        self.describe(reorder_frames, frame_us)
        self._seen_us: list[int] = []  # the greatest MAX_DEPTH + 1, sorted
        self._last_us: int | None = None
        self._calm = 0

    def describe(self, reorder_frames: int | None, frame_us: int = DEFAULT_FRAME_US) -> None:
        """New parameter sets are in force; decoding times go on growing."""
        self._depth = self._told_depth = min(reorder_frames or 0, MAX_DEPTH)
        self._frame_us = frame_us

    @property
    def depth_frames(self) -> int:
        return self._depth

    def dts_us(self, pts_us: int) -> int:
        """The decoding time of the next unit in decoding order; it grows from call to call.

        It is not after `pts_us`, but for units that prove the depth too small, or repeat a stamp.
        """
        if self._seen_us:
            self._learn(pts_us)
        seen_us = self._seen_us
        insort(seen_us, pts_us)
        if len(seen_us) > MAX_DEPTH + 1:
            del seen_us[0]
        missing = self._depth + 1 - len(seen_us)
        dts_us = seen_us[0] - missing * self._frame_us if missing > 0 else seen_us[-1 - self._depth]
        if self._last_us is not None and dts_us <= self._last_us:
            dts_us = self._last_us + _LEAST_US
        self._last_us = dts_us
        return dts_us

    def _learn(self, pts_us: int) -> None:
        """Whether the timestamps began anew, or pictures are reordered further than thought."""
        newest_us, last_us = self._seen_us[-1], self._last_us
        if last_us is None or pts_us > newest_us + MAX_STEP_US or pts_us < last_us - MAX_BACK_US:
            self._seen_us.clear()
            self._last_us = None
        elif pts_us > newest_us:
            self._calm += 1
            if self._calm > _CALM_UNITS:
                self._depth = self._told_depth
        else:
            self._calm = 0
            most = min(len(self._seen_us), MAX_DEPTH)
            while self._depth < most and pts_us < self._seen_us[-1 - self._depth]:
                self._depth += 1
