"""What `porthole probe` finds out about each track from its packets; pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

GAP_FACTOR = 8  # a step of so many usual ones is a gap …
MIN_GAP_US = 250_000  # … if it is also this long
USUAL_WEIGHT = 16


@dataclass(slots=True)
class Arrival:
    """One packet: its stamps in microseconds (None where the container has none), its arrival."""

    dts_us: int | None
    pts_us: int | None
    size_bytes: int
    key: bool
    arrived_us: int


@dataclass(slots=True)
class TrackMeter:
    """Figures of one track, in bounded memory however many packets come."""

    packets: int = 0
    size_bytes: int = 0
    keys: int = 0
    first_dts_us: int | None = None
    first_pts_us: int | None = None
    last_dts_us: int | None = None
    last_pts_us: int | None = None
    first_key_us: int | None = None  # arrival
    key_intervals_us: list[int] = field(default_factory=lambda: [0, 0, 0])  # least, most, sum
    unstamped: int = 0
    regressions: int = 0
    worst_regression_us: int = 0
    gaps: int = 0
    worst_gap_us: int = 0
    reordered: int = 0
    longest_wait_us: int = 0
    _usual_step_us: float = 0.0
    _jitter_us: float = 0.0
    _last_key_dts_us: int | None = None
    _last_arrived_us: int | None = None

    def count(self, packet: Arrival) -> None:
        self.packets += 1
        self.size_bytes += packet.size_bytes
        if self._last_arrived_us is not None:
            waited_us = packet.arrived_us - self._last_arrived_us
            self.longest_wait_us = max(self.longest_wait_us, waited_us)
        if packet.pts_us is not None:
            self.first_pts_us = packet.pts_us if self.first_pts_us is None else self.first_pts_us
            self.last_pts_us = packet.pts_us
        if packet.dts_us is None:
            self.unstamped += 1
        else:
            self._count_dts(packet, packet.dts_us)
        if packet.key:
            self._count_key(packet)
        self._last_arrived_us = packet.arrived_us

    def _count_dts(self, packet: Arrival, dts_us: int) -> None:
        if packet.pts_us is not None and packet.pts_us > dts_us:
            self.reordered += 1
        if self.last_dts_us is None or self._last_arrived_us is None:
            self.first_dts_us = self.last_dts_us = dts_us
            return
        step_us = dts_us - self.last_dts_us
        if step_us <= 0:
            self.regressions += 1
            self.worst_regression_us = max(self.worst_regression_us, -step_us)
        elif self._usual_step_us and step_us > max(MIN_GAP_US, GAP_FACTOR * self._usual_step_us):
            self.gaps += 1
            self.worst_gap_us = max(self.worst_gap_us, step_us)
        else:
            weight = USUAL_WEIGHT if self._usual_step_us else 1
            self._usual_step_us += (step_us - self._usual_step_us) / weight
            # RFC 3550 §6.4.1, with the decoding time in the place of the RTP timestamp
            late_us = abs(packet.arrived_us - self._last_arrived_us - step_us)
            self._jitter_us += (late_us - self._jitter_us) / 16
        self.last_dts_us = dts_us

    def _count_key(self, packet: Arrival) -> None:
        self.keys += 1
        if self.first_key_us is None:
            self.first_key_us = packet.arrived_us
        if packet.dts_us is None:
            return
        if self._last_key_dts_us is not None and packet.dts_us > self._last_key_dts_us:
            interval_us = packet.dts_us - self._last_key_dts_us
            least, most, total = self.key_intervals_us
            least = min(least, interval_us) if least else interval_us
            self.key_intervals_us = [least, max(most, interval_us), total + interval_us]
        self._last_key_dts_us = packet.dts_us

    @property
    def span_us(self) -> int:
        """Media time from the first packet to the last."""
        if self.first_dts_us is None or self.last_dts_us is None:
            return 0
        return max(0, self.last_dts_us - self.first_dts_us)

    def figures(self, *, live: bool) -> dict[str, Any]:
        """live: packets come as they are made, so their arrival says something."""
        span_us = self.span_us
        steps = self.packets - 1
        least_us, most_us, sum_us = self.key_intervals_us
        intervals = self.keys - 1
        return {
            "packets": self.packets,
            "bitrate_bps": self.size_bytes * 8_000_000 * steps // (span_us * self.packets)
            if span_us and steps > 0
            else None,
            "packet_rate_hz": round(steps * 1_000_000 / span_us, 3) if span_us else None,
            "keyframes": self.keys,
            "keyframe_interval_s": {
                "least": least_us / 1e6,
                "mean": round(sum_us / intervals / 1e6, 3),
                "most": most_us / 1e6,
            }
            if intervals > 0 and sum_us
            else None,
            "reordered": self.reordered,
            "unstamped": self.unstamped,
            "regressions": self.regressions,
            "worst_regression_ms": self.worst_regression_us / 1000,
            "gaps": self.gaps,
            "worst_gap_ms": self.worst_gap_us / 1000,
            "jitter_ms": round(self._jitter_us / 1000, 2) if live else None,
            "longest_wait_ms": round(self.longest_wait_us / 1000, 1) if live else None,
        }


@dataclass(slots=True)
class SyncMeter:
    """How far the sound's stamps are ahead of the picture's, as the packets come interleaved."""

    video_us: int | None = None
    audio_us: int | None = None
    count: int = 0
    sum_us: int = 0
    least_us: int = 0
    most_us: int = 0

    def note(self, pts_us: int | None, *, is_video: bool) -> None:
        if pts_us is None:
            return
        if not is_video:
            self.audio_us = pts_us
            return
        self.video_us = pts_us
        if self.audio_us is None:
            return
        ahead_us = self.audio_us - pts_us
        self.least_us = min(self.least_us, ahead_us) if self.count else ahead_us
        self.most_us = max(self.most_us, ahead_us) if self.count else ahead_us
        self.count += 1
        self.sum_us += ahead_us

    def figures(self, video: TrackMeter, audio: TrackMeter) -> dict[str, Any] | None:
        """start: of the first sound after the first picture; ahead: while they run."""
        if not self.count or video.first_pts_us is None or audio.first_pts_us is None:
            return None
        return {
            "audio_starts_after_video_ms": (audio.first_pts_us - video.first_pts_us) / 1000,
            "audio_ahead_ms": {
                "least": self.least_us / 1000,
                "mean": round(self.sum_us / self.count / 1000, 1),
                "most": self.most_us / 1000,
            },
        }
