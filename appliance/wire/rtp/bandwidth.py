"""How much a viewer's path carries: one estimate out of delay and loss, within bounds.

After draft-ietf-rmcat-gcc-02 §5.5 and §6. Feedback with arrival times gives both; a viewer that
only sends receiver reports is judged by its losses. The estimate rises slowly while all is well,
and never far beyond what was really delivered; it falls at once to what the path did deliver.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from appliance.media.clock import US_PER_S
from appliance.wire.rtp.delay_trend import DelayTrend, Usage
from appliance.wire.rtp.sent_packets import SendResult

WINDOW_US = 500_000  # over which what was delivered is measured
MAX_ARRIVALS = 512  # sends within it; against memory where much is sent
LOSS_WINDOW_PACKETS = 100  # before which a share of losses means nothing
HIGH_LOSS, LOW_LOSS = 0.10, 0.02
_DECREASE = 0.85
_RISE_PER_S = 0.08
_ADD_BPS_PER_S = 20_000  # near the last known end of the path
_NEAR = 0.15  # how near that is
_HEADROOM = 1.5  # above what was delivered; a source that sends little proves little
_HEADROOM_BPS = 10_000
_PAUSE_US = 200_000  # between two decreases: the first one must reach the receiver


class Bandwidth:
    """Of one viewer. target_bps: media, headers and what is sent again, all together.

    lost_packets, reported_packets: as the feedback says, since the beginning.
    """

    __slots__ = (
        "_arrivals",
        "_decreased_us",
        "_delivered_bytes",
        "_end_bps",
        "_is_held",
        "_lost",
        "_raised_us",
        "_seen",
        "_target_bps",
        "_trend",
        "lost_packets",
        "max_bps",
        "min_bps",
        "reported_packets",
    )

    def __init__(self, start_bps: int, min_bps: int, max_bps: int) -> None:
        self.min_bps, self.max_bps = min_bps, max_bps
        self._target_bps = float(start_bps)
        self._trend = DelayTrend()
        self._arrivals: deque[tuple[int, int]] = deque()  # µs of the receiver, bytes
        self._delivered_bytes = 0
        self._end_bps: float | None = None  # what the path delivered when it was full
        self._raised_us: int | None = None
        self._decreased_us: int | None = None
        self._seen = self._lost = 0
        self._is_held = False  # neither up nor down, by the losses (§6)
        self.lost_packets = self.reported_packets = 0

    @property
    def target_bps(self) -> int:
        return int(min(max(self._target_bps, self.min_bps), self.max_bps))

    @property
    def usage(self) -> Usage:
        return self._trend.usage

    @property
    def delivered_bps(self) -> int | None:
        """What arrived lately; None before there is enough to tell."""
        if len(self._arrivals) < 2:
            return None
        span_us = self._arrivals[-1][0] - self._arrivals[0][0]
        if span_us < WINDOW_US // 4:
            return None
        return (self._delivered_bytes - self._arrivals[0][1]) * 8 * US_PER_S // span_us

    def note_feedback(self, results: Sequence[SendResult], now_us: int) -> None:
        """What `SentPackets.resolve` gave for one feedback."""
        if not results:
            return
        lost = sum(result.lost_packets for result in results)
        self._count_arrivals(results)
        self._trend.note(results)
        self._count_losses(lost, sum(result.packets for result in results), now_us)
        self._follow_delay(now_us)

    def note_report(self, lost_fraction: int, packets: int, now_us: int) -> None:
        """A report block of a viewer without transport-wide feedback.

        lost_fraction: of 256, as in the block. packets: expected since the report before.
        """
        if packets <= 0:
            return
        self._count_losses(packets * lost_fraction // 256, packets, now_us)
        self._raise(now_us)

    def _count_arrivals(self, results: Sequence[SendResult]) -> None:
        for _, arrived_us, size_bytes, _, _ in results:
            if arrived_us is None:
                continue
            if self._arrivals and abs(arrived_us - self._arrivals[-1][0]) > 8 * WINDOW_US:
                self._arrivals.clear()  # a pause, or the receiver's clock wrapped
                self._delivered_bytes = 0
            self._arrivals.append((arrived_us, size_bytes))
            self._delivered_bytes += size_bytes
        while self._arrivals and (
            self._arrivals[-1][0] - self._arrivals[0][0] > WINDOW_US
            or len(self._arrivals) > MAX_ARRIVALS
        ):
            self._delivered_bytes -= self._arrivals.popleft()[1]

    def _count_losses(self, lost: int, packets: int, now_us: int) -> None:
        self.lost_packets += lost
        self.reported_packets += packets
        self._lost += lost
        self._seen += packets
        if self._seen < LOSS_WINDOW_PACKETS:
            return
        share = self._lost / self._seen
        self._seen = self._lost = 0
        self._is_held = share > LOW_LOSS
        if share > HIGH_LOSS:
            self._decrease(self.target_bps * (1 - 0.5 * share), now_us)

    def _follow_delay(self, now_us: int) -> None:
        match self._trend.usage:
            case Usage.OVER:
                delivered_bps = self.delivered_bps
                if delivered_bps is not None:
                    self._end_bps = delivered_bps
                    self._decrease(_DECREASE * delivered_bps, now_us)
            case Usage.UNDER:
                self._raised_us = now_us  # the queue empties: let it
            case Usage.NORMAL:
                self._raise(now_us)

    def _decrease(self, wanted_bps: float, now_us: int) -> None:
        if self._decreased_us is not None and now_us - self._decreased_us < _PAUSE_US:
            return
        self._decreased_us = self._raised_us = now_us
        self._target_bps = min(float(self.target_bps), max(wanted_bps, self.min_bps))

    def _raise(self, now_us: int) -> None:
        if self._raised_us is None or self._is_held:
            self._raised_us = now_us
            return
        passed_s = min(now_us - self._raised_us, US_PER_S) / US_PER_S
        self._raised_us = now_us
        target_bps = float(self.target_bps)
        delivered_bps = self.delivered_bps
        if delivered_bps is not None and target_bps > _HEADROOM * delivered_bps + _HEADROOM_BPS:
            return
        if self._end_bps is not None and abs(target_bps - self._end_bps) < _NEAR * self._end_bps:
            target_bps += _ADD_BPS_PER_S * passed_s
        else:
            target_bps *= 1 + _RISE_PER_S * passed_s
            if self._end_bps is not None and target_bps > (1 + _NEAR) * self._end_bps:
                self._end_bps = None  # the path has grown
        self._target_bps = min(target_bps, float(self.max_bps))
