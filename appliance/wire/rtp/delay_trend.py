"""Whether a queue grows on the way: the delay-based half of congestion control.

After draft-ietf-rmcat-gcc-02 §5, with the slope of a line through the delays instead of a filter.
Packets sent together form a group; the difference between how far two groups were sent apart and
how far they arrived apart is what a queue on the way gained. The slope of these gains over time,
against a threshold that adapts, tells whether the path is used beyond its capacity.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from appliance.wire.rtp.sent_packets import SendResult

GROUP_US = 5_000  # sent within it: one group
MAX_JUMP_US = 3_000_000  # between groups; beyond it something stopped, and the past means nothing
WINDOW_GROUPS = 20
_SMOOTHING = 0.9
_GAIN = 4.0
_MAX_GROUPS_COUNTED = 60
_OVERUSE_US = 10_000  # for so long at least before it is believed
_THRESHOLD_US = 12_500.0
_MIN_THRESHOLD_US, _MAX_THRESHOLD_US = 6_000.0, 600_000.0
_RISE, _FALL = 0.0087, 0.039  # of the threshold, per ms
_MAX_ADAPT_US = 15_000.0


class Usage(Enum):
    NORMAL = "normal"
    OVER = "over"
    UNDER = "under"


@dataclass(slots=True)
class _Group:
    first_sent_us: int
    last_sent_us: int
    arrived_us: int


class _Line:
    """The line with the least squares through the newest points; in whole numbers, so exact."""

    __slots__ = ("_points", "_x", "_xx", "_xy", "_y")

    def __init__(self) -> None:
        self._points: deque[tuple[int, int]] = deque()
        self._x = self._y = self._xx = self._xy = 0

    def add(self, x: int, y: int) -> None:
        self._points.append((x, y))
        self._sum(x, y, 1)
        if len(self._points) > WINDOW_GROUPS:
            self._sum(*self._points.popleft(), -1)

    def slope(self) -> float:
        """0 before there are enough."""
        count = len(self._points)
        below = count * self._xx - self._x * self._x
        if count < WINDOW_GROUPS or not below:
            return 0.0
        return (count * self._xy - self._x * self._y) / below

    def _sum(self, x: int, y: int, sign: int) -> None:
        self._x += sign * x
        self._y += sign * y
        self._xx += sign * x * x
        self._xy += sign * x * y


class DelayTrend:
    """usage: as of the newest packets."""

    __slots__ = (
        "_current",
        "_delay_us",
        "_groups",
        "_line",
        "_over_since_us",
        "_previous",
        "_slope",
        "_smoothed_us",
        "_start_us",
        "_threshold_us",
        "_updated_us",
        "usage",
    )

    def __init__(self) -> None:
        self._threshold_us = _THRESHOLD_US
        self._restart()

    def note(self, results: Iterable[SendResult]) -> None:
        """Sends of which something arrived, in their order; the others are passed over."""
        for result in results:
            if result.arrived_us is not None:
                self._note_arrival(result.sent_us, result.arrived_us)

    def _restart(self) -> None:
        self._current: _Group | None = None
        self._previous: _Group | None = None
        self._line = _Line()
        self._delay_us = self._smoothed_us = self._slope = 0.0
        self._groups = self._start_us = self._updated_us = 0
        self._over_since_us: int | None = None
        self.usage = Usage.NORMAL

    def _note_arrival(self, sent_us: int, arrived_us: int) -> None:
        current = self._current
        if current is None:
            self._current = _Group(sent_us, sent_us, arrived_us)
            self._start_us = self._updated_us = arrived_us
            return
        if sent_us < current.first_sent_us:
            return  # overtaken by its own successors: nothing can be learned from it
        if sent_us - current.first_sent_us <= GROUP_US:
            current.last_sent_us = sent_us
            current.arrived_us = max(current.arrived_us, arrived_us)
            return
        if abs(arrived_us - current.arrived_us) > MAX_JUMP_US:
            self._restart()
            return
        if self._previous is not None:
            self._compare(self._previous, current)
        self._previous, self._current = current, _Group(sent_us, sent_us, arrived_us)

    def _compare(self, before: _Group, group: _Group) -> None:
        apart_us = group.arrived_us - before.arrived_us
        gained_us = apart_us - (group.last_sent_us - before.last_sent_us)
        self._groups = min(self._groups + 1, _MAX_GROUPS_COUNTED)
        self._delay_us += gained_us
        self._smoothed_us = _SMOOTHING * self._smoothed_us + (1 - _SMOOTHING) * self._delay_us
        self._line.add(group.arrived_us - self._start_us, round(self._smoothed_us))
        self._judge(self._line.slope(), group.arrived_us)

    def _judge(self, slope: float, now_us: int) -> None:
        """slope: µs of delay per µs."""
        trend_us = slope * self._groups * _GAIN * 1000
        if trend_us > self._threshold_us:
            if self._over_since_us is None:
                self._over_since_us = now_us
            elif now_us - self._over_since_us >= _OVERUSE_US and slope >= self._slope:
                self.usage = Usage.OVER
        else:
            self._over_since_us = None
            self.usage = Usage.UNDER if trend_us < -self._threshold_us else Usage.NORMAL
        self._slope = slope
        self._adapt(abs(trend_us), now_us)

    def _adapt(self, size_us: float, now_us: int) -> None:
        """The threshold follows what is usual on this path, so that TCP beside us does not win."""
        passed_us = min(now_us - self._updated_us, 100_000)
        self._updated_us = now_us
        distance_us = size_us - self._threshold_us
        if distance_us > _MAX_ADAPT_US or passed_us <= 0:
            return  # a single jump, as of a phone that changes its cell
        rate = _RISE if distance_us > 0 else _FALL
        moved_us = self._threshold_us + distance_us * rate * passed_us / 1000
        self._threshold_us = min(max(moved_us, _MIN_THRESHOLD_US), _MAX_THRESHOLD_US)
