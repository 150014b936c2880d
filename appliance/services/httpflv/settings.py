"""`[live]`"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

CROSS_ORIGIN = "Access-Control-Allow-Origin: *\r\n"


class Latency(StrEnum):
    """How much is put together before it is sent, when many watch."""

    LOW = "low"
    NORMAL = "normal"
    DENSE = "dense"


BATCH_US = {Latency.LOW: 40_000, Latency.NORMAL: 100_000, Latency.DENSE: 200_000}


@dataclass(frozen=True, slots=True)
class Settings:
    """Durations in microseconds.

    latency: of viewers who do not ask for another by ``?latency=``; few viewers get everything at
        once with any.
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
    def fields(self) -> str:
        """Header lines of every answer."""
        return CROSS_ORIGIN if self.public else ""
