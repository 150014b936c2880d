"""When a sample was heard: a sound device's clock recovered from how far it had come, and when.

Theory of operation: an observation says that the device had taken `count` samples at `time_us`.
Seen from the line that the clock is believed to follow, observations lie on it or late: whoever
looked was held up. So of each window only the earliest one, relative to the line, is believed;
it corrects phase and rate by a Kalman filter with two states, whose gains are large at first and
then so small that the rate follows temperature and nothing else. What lies far off is taken for
an outlier, until windows in a row say the same: then samples were lost without notice, and the
phase begins anew. The rate outlives every gap, as it belongs to the crystal. Wall time occurs
nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

WINDOW_US = 1_000_000
FIRST_WINDOW_US = 100_000  # windows grow to WINDOW_US, so that the first observation counts little
NOISE_US = 1_000.0  # standard deviation of a window's earliest observation
START_PHASE_US = 20_000.0  # of the first observation after a gap
START_PPM = 200.0  # of crystals
MAX_PPM = 2_000.0  # against a rate learned from nonsense
WANDER_PPM = 0.05  # of the rate, per root of a second: 0.4 ppm in a minute
OUTLIER_SIGMA = 4.0
OUTLIER_US = 5_000.0  # nothing below is an outlier
OUTLIER_WINDOWS = 3  # so many in a row are no outliers
MAX_STEP_US = 10_000_000.0  # between windows, for the filter: more certainty is not lost


@dataclass(slots=True)
class Window:
    """Observations since `began_us`; the earliest of them relative to the line."""

    began_us: float
    length_us: int
    count: int
    late_us: float


class SampleClock:
    """rate_hz: nominal. Counts begin anywhere and grow; times are of CLOCK_MONOTONIC.

    restarts: how often the phase began anew after an unnoticed gap.
    """

    def __init__(self, rate_hz: int) -> None:
        self._period_us = 1_000_000 / rate_hz
        self._stretch = 0.0  # of the period: negative when the device is fast
        self._ref_count = 0
        self._ref_us = 0.0
        self._window: Window | None = None
        self._outliers = 0
        self.restarts = 0
        # Covariance: phase in µs², phase x rate in µs * µs/µs, rate
        self._phase, self._both, self._rate = 0.0, 0.0, (START_PPM / 1e6) ** 2

    @property
    def drift_ppm(self) -> float:
        """How much the device is faster than it says."""
        return -self._stretch * 1e6

    def time_us(self, count: int) -> float:
        """When the device took its sample number `count`. Only after an observation."""
        return self._ref_us + (count - self._ref_count) * self._period_us * (1 + self._stretch)

    def restart(self, count: int, time_us: int) -> None:
        """The first observation after the opening or a gap: a new phase, the rate stays."""
        self._ref_count, self._ref_us = count, float(time_us)
        self._phase, self._both = START_PHASE_US**2, 0.0
        self._window = Window(time_us, FIRST_WINDOW_US, count, 0.0)
        self._outliers = 0

    def observe(self, count: int, time_us: int) -> None:
        """The device had taken `count` samples at time_us."""
        window = self._window
        if window is None:
            self.restart(count, time_us)
            return
        late_us = time_us - self.time_us(count)
        if late_us <= window.late_us:
            window.count, window.late_us = count, late_us
        if time_us - window.began_us >= window.length_us:
            self._close(window)
            length_us = FIRST_WINDOW_US if self._outliers else min(2 * window.length_us, WINDOW_US)
            self._window = Window(time_us, length_us, count, inf)

    def _close(self, window: Window) -> None:
        """Let the filter learn from a window."""
        self._advance(window.count)
        spread_us2 = self._phase + NOISE_US**2
        limit_us = max(OUTLIER_US, OUTLIER_SIGMA * spread_us2**0.5)
        late_us = window.late_us
        if abs(late_us) > limit_us:
            self._outliers += 1
            if self._outliers >= OUTLIER_WINDOWS:
                self.restart(window.count, int(self._ref_us + late_us))
                self.restarts += 1
            return
        self._outliers = 0
        phase_gain, rate_gain = self._phase / spread_us2, self._both / spread_us2
        self._ref_us += phase_gain * late_us
        stretch = self._stretch + rate_gain * late_us
        self._stretch = min(max(stretch, -MAX_PPM / 1e6), MAX_PPM / 1e6)
        self._rate -= rate_gain * self._both
        self._both -= phase_gain * self._both
        self._phase -= phase_gain * self._phase

    def _advance(self, count: int) -> None:
        """Move the line's origin to `count`; what is not known grows on the way."""
        step_us = (count - self._ref_count) * self._period_us
        self._ref_us = self.time_us(count)
        self._ref_count = count
        step_us = min(max(step_us, 0.0), MAX_STEP_US)
        self._phase += step_us * (2 * self._both + step_us * self._rate)
        self._both += step_us * self._rate
        self._rate += (WANDER_PPM / 1e6) ** 2 * step_us / 1e6
