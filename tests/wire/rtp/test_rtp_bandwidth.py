"""The bandwidth estimate over a simulated path: one queue, a rate, losses, a clock of ours."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from appliance.wire.rtp.bandwidth import Bandwidth
from appliance.wire.rtp.delay_trend import DelayTrend, Usage
from appliance.wire.rtp.sent_packets import SendResult, SentPackets
from appliance.wire.rtp.twcc import Feedback

PACKET_BYTES = 1200
FRAME_US = 33_333
FEEDBACK_FRAMES = 3
RECEIVERS_CLOCK_US = 77_000_000_000  # it began at another time than ours


@dataclass
class Path:
    """A queue of at most half a second, then the same delay for all."""

    rate_bps: int
    loss: float = 0.0
    jitter_us: int = 0
    free_us: int = 0
    longest_wait_us: int = 0
    rng: random.Random = field(default_factory=lambda: random.Random(1))

    def send(self, size_bytes: int, now_us: int) -> int | None:
        """When it arrives, by the receiver's clock."""
        waits_us = max(self.free_us - now_us, 0)
        if waits_us > 500_000 or self.rng.random() < self.loss:
            return None
        self.longest_wait_us = max(self.longest_wait_us, waits_us)
        self.free_us = now_us + waits_us + size_bytes * 8_000_000 // self.rate_bps
        return self.free_us + self.rng.randrange(self.jitter_us + 1) + RECEIVERS_CLOCK_US


class Call:
    """A camera that follows the estimate, and a viewer that reports."""

    def __init__(self, path: Path, start_bps: int = 1_000_000) -> None:
        self.path = path
        self.bandwidth = Bandwidth(start_bps, 150_000, 8_000_000)
        self.sent = SentPackets()
        self.now_us = 1_000_000
        self._arrivals: list[int | None] = []
        self._first = 0
        self._owed_bytes = 0

    def run(self, seconds: int, most_bps: int = 10**9) -> list[int]:
        """The target after each second."""
        targets: list[int] = []
        for frame in range(seconds * 30):
            rate_bps = min(self.bandwidth.target_bps, most_bps)
            self._owed_bytes += rate_bps * FRAME_US // 8_000_000
            count, self._owed_bytes = divmod(self._owed_bytes, PACKET_BYTES)
            self.sent.add([PACKET_BYTES] * count, self.now_us)
            for _ in range(count):
                self._arrivals.append(self.path.send(PACKET_BYTES, self.now_us))
            self.now_us += FRAME_US
            if frame % FEEDBACK_FRAMES == 0:
                self._tell()
            if frame % 30 == 29:
                targets.append(self.bandwidth.target_bps)
        return targets

    def _tell(self) -> None:
        feedback = Feedback(self._first & 0xFFFF, 0, self._arrivals)
        self._first += len(self._arrivals)
        self._arrivals = []
        self.bandwidth.note_feedback(self.sent.resolve(feedback), self.now_us)


@pytest.mark.parametrize("rate_bps", [500_000, 2_000_000, 5_000_000])
def test_estimate_finds_the_rate_of_the_path(rate_bps: int) -> None:
    call = Call(Path(rate_bps))
    call.run(40)
    targets = call.run(40)
    assert 0.6 * rate_bps < sum(targets) / len(targets) < 1.1 * rate_bps


def test_estimate_falls_with_the_path_and_rises_again() -> None:
    path = Path(4_000_000)
    call = Call(path)
    assert max(call.run(40)) > 2_500_000
    path.rate_bps = 600_000
    assert min(call.run(10)) < 700_000
    path.longest_wait_us = 0
    call.run(20)
    assert path.longest_wait_us < 450_000
    path.rate_bps = 4_000_000
    assert max(call.run(60)) > 2_000_000


def test_estimate_leaves_the_queue_short() -> None:
    path = Path(2_000_000)
    call = Call(path)
    call.run(30)
    path.longest_wait_us = 0
    call.run(30)
    assert path.longest_wait_us < 250_000


def test_estimate_with_jitter_and_little_loss_is_not_starved() -> None:
    """Wi-Fi: delays that vary say nothing of the rate, nor does a packet in a hundred."""
    call = Call(Path(20_000_000, loss=0.01, jitter_us=15_000))
    assert call.run(60)[-1] > 2_000_000


def test_estimate_with_heavy_loss_falls_without_any_delay() -> None:
    call = Call(Path(20_000_000, loss=0.3))
    assert call.run(20)[-1] < 500_000


def test_estimate_with_some_loss_stays() -> None:
    call = Call(Path(50_000_000, loss=0.06))
    targets = call.run(20)
    assert 700_000 < targets[-1] < 2_000_000


def test_estimate_never_leaves_its_bounds() -> None:
    call = Call(Path(50_000_000))
    assert max(call.run(60)) <= 8_000_000
    call.path.loss = 0.9
    assert min(call.run(60)) == 150_000


def test_estimate_does_not_run_ahead_of_a_camera_that_sends_little() -> None:
    call = Call(Path(50_000_000))
    assert max(call.run(120, most_bps=1_000_000)) < 2_000_000


def test_estimate_by_reports_alone_follows_the_losses() -> None:
    bandwidth, now_us = Bandwidth(1_000_000, 100_000, 4_000_000), 0
    for _ in range(30):
        now_us += 1_000_000
        bandwidth.note_report(0, 200, now_us)
    assert bandwidth.target_bps == 4_000_000
    for _ in range(5):
        now_us += 1_000_000
        bandwidth.note_report(64, 200, now_us)
    assert bandwidth.target_bps < 2_500_000
    assert bandwidth.lost_packets == 5 * 50


def test_estimate_of_nothing_stays_where_it_began() -> None:
    bandwidth = Bandwidth(1_000_000, 100_000, 4_000_000)
    bandwidth.note_feedback([], 0)
    bandwidth.note_report(255, 0, 0)
    assert bandwidth.target_bps == 1_000_000
    assert bandwidth.delivered_bps is None


def test_estimate_survives_what_no_receiver_would_say() -> None:
    """Arrivals in any order, of any time: it stays within its bounds."""
    rng, bandwidth = random.Random(1), Bandwidth(1_000_000, 100_000, 4_000_000)
    for step in range(3000):
        results = [
            SendResult(step * 20_000, rng.choice((None, rng.randrange(1 << 40))), 1200, 1, 0)
            for _ in range(rng.randrange(6))
        ]
        bandwidth.note_feedback(results, step * 20_000)
        assert 100_000 <= bandwidth.target_bps <= 4_000_000


@pytest.mark.parametrize(
    ("step_us", "usage"), [(21_000, Usage.OVER), (20_000, Usage.NORMAL), (19_000, Usage.UNDER)]
)
def test_trend_tells_a_queue_that_grows_from_one_that_does_not(step_us: int, usage: Usage) -> None:
    trend = DelayTrend()
    for number in range(60):
        trend.note([SendResult(number * 20_000, 10**9 + number * step_us, 1200, 1, 0)])
    assert trend.usage is usage


def test_trend_forgets_across_a_pause() -> None:
    trend = DelayTrend()
    for number in range(60):
        trend.note([SendResult(number * 20_000, number * 22_000, 1200, 1, 0)])
    assert trend.usage is Usage.OVER
    trend.note([SendResult(10_000_000, 20_000_000, 1200, 1, 0)])
    assert trend.usage is Usage.NORMAL
