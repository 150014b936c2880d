"""What has been done about one camera's silences, over all its workers; shown and counted."""

from __future__ import annotations

import logging
from typing import Any

from appliance.hub.clock import Clock
from appliance.hub.stats import Counters
from appliance.net.systemd import Watchdog
from appliance.services.camera.faults import DESPERATE
from appliance.services.camera.ladder import ACTIONS, Step

GOOD_US = 60_000_000  # of media end a series of kills

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


class Recovery:
    """rounds: kills and deaths in a row without one good minute; see `[camera] rounds`."""

    def __init__(
        self, stream: str, clock: Clock, counters: Counters, watchdog: Watchdog, max_rounds: int
    ) -> None:
        self.rounds = 0
        self._stream = stream
        self._clock = clock
        self._counters = counters
        self._watchdog = watchdog
        self._max_rounds = max_rounds
        self._step: Step | None = None
        self._why = ""
        self._taken_us = 0
        self._back = ""

    def take(self, step: Step, why: str, log: Log, *, stream: str = "") -> None:
        """A step is taken, for what was seen. stream: if it is not the camera's own."""
        self.count(step, why, stream=stream)
        log.warning("%s%s: %s", f"{stream}: " if stream else "", why, ACTIONS[step])

    def count(self, step: Step, why: str, *, stream: str = "") -> None:
        """The same, told by somebody else."""
        self._counters.add(
            "camera_recoveries_total", stream=stream or self._stream, rung=step.value
        )
        self._step, self._why, self._back = step, why, ""
        self._taken_us = self._clock.monotonic_us()

    def tell_back(self, news: str, log: Log) -> None:
        """What was missing is there again."""
        self._back = news
        log.info("%s", news)

    def tell_live(self, gap_us: int | None, log: Log) -> None:
        """A worker delivers its first picture, the stream's first for this long."""
        if self._step is not None and not self._back and gap_us is not None:
            self.tell_back(f"picture is back after {gap_us / 1_000_000:.1f} s", log)

    def see_media(self, for_us: int) -> None:
        """The worker that lives has delivered for so long."""
        if self.rounds and for_us >= GOOD_US:
            self.hope()

    def end_worker(self, reason: str, ran_us: int, log: Log) -> None:
        """A worker ended by a fault of this kind after so much time with media."""
        self.see_media(ran_us)
        if reason not in DESPERATE:
            return
        self.rounds += 1
        if self._max_rounds and self.rounds == self._max_rounds:
            why = f"{self.rounds} workers failed in a row without one good minute"
            self.take(Step.WATCHDOG, why, log)
            self._watchdog.despair(f"camera {self._stream}", why)

    def hope(self) -> None:
        """A good minute, or nobody wants the camera any more."""
        self.rounds = 0
        self._watchdog.hope(f"camera {self._stream}")

    def describe(self) -> dict[str, Any]:
        if self._step is None:
            return {"rung": None, "rounds": self.rounds}
        ago_us = self._clock.monotonic_us() - self._taken_us
        return {
            "rung": self._step.value,
            "why": self._why,
            "at_ms": (self._clock.unix_us() - ago_us) // 1000,
            "ago_ms": ago_us // 1000,
            "back": self._back or None,
            "rounds": self.rounds,
        }
