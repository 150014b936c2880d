"""`[webrtc]`"""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.errors import ConfigError
from appliance.net.address import parse_ip
from appliance.net.fanout import FanOutSettings


def check_candidates(addresses: tuple[str, ...]) -> None:
    """Raises: ConfigError for what is no address: names are not for players to resolve."""
    for text in addresses:
        if parse_ip(text) is None:
            raise ConfigError(f'"{text}" is no IP address')


@dataclass(frozen=True, slots=True)
class Settings:
    """Durations in microseconds.

    listen: of UDP, and of TCP with the same numbers; empty: off. tcp: whether TCP is listened on.
    candidates: addresses that this device is reached by from elsewhere, told to all peers.
    sessions: at once; against a crowd.
    wait_us: how long a player waits for somebody to publish.
    max_lag_us: a player further behind jumps to the newest keyframe.
    public: pages of other sites may play (CORS).
    """

    listen: tuple[str, ...] = ()
    tcp: bool = True
    candidates: tuple[str, ...] = field(default=(), metadata={"check": check_candidates})
    sessions: int = field(default=512, metadata={"min": 1, "max": 2000})
    wait_us: int = field(default=5_000_000, metadata={"key": "wait", "unit": "duration"})
    max_lag_us: int = field(
        default=3_000_000, metadata={"key": "max_lag", "unit": "duration", "min": 200_000}
    )
    public: bool = False

    @property
    def fan_out(self) -> FanOutSettings:
        return FanOutSettings(max_lag_us=self.max_lag_us)
