"""`[live]`"""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.net.fanout import FanOutSettings
from appliance.net.fanout_pool import Latency

CROSS_ORIGIN = "Access-Control-Allow-Origin: *\r\n"


@dataclass(frozen=True, slots=True)
class Settings:
    """Durations in microseconds.

    latency: of viewers who do not ask for another by ``?latency=``, of streams that have none of
        their own; few viewers get everything at once with any.
    viewers: at once; against a crowd.
    wait_us: how long a viewer waits for somebody to publish.
    max_lag_us: a viewer further behind jumps to the newest keyframe; stall_us: one whose
        connection takes nothing for so long is ended.
    public: pages of other sites may read the media (CORS), also by WebSocket.
    """

    latency: Latency = Latency.NORMAL
    viewers: int = field(default=512, metadata={"min": 1})
    wait_us: int = field(default=30_000_000, metadata={"key": "wait", "unit": "duration"})
    max_lag_us: int = field(
        default=3_000_000, metadata={"key": "max_lag", "unit": "duration", "min": 200_000}
    )
    stall_us: int = field(
        default=10_000_000, metadata={"key": "stall", "unit": "duration", "min": 1_000_000}
    )
    public: bool = False

    @property
    def fan_out(self) -> FanOutSettings:
        return FanOutSettings(max_lag_us=self.max_lag_us, stall_us=self.stall_us)

    @property
    def fields(self) -> str:
        """Header lines of every answer."""
        return CROSS_ORIGIN if self.public else ""
