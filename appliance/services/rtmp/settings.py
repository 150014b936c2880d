"""`[rtmp]`"""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.net.accept import Caps
from appliance.net.fanout import FanOutSettings
from appliance.net.fanout_pool import Latency
from appliance.net.http_settings import TlsSettings
from appliance.net.tcp import TcpLimits

UNHANDLED_BYTES = 1 << 20  # a keyframe of a publisher comes in one go
TURN_BYTES = 16 << 10  # 1365 of the smallest messages, 20 ms of work; a read may be 16 times that


@dataclass(frozen=True, slots=True)
class Settings:
    """Durations in microseconds.

    tls: RTMPS; its certificate is read again when it changes.
    first_packet_us, silence_us: how long a publisher may take to send media, and again.
    idle_publisher_us: end a publisher whom nobody has watched for so long; 0 never.
    wait_us: how long a player waits for somebody to publish.
    max_lag_us: a player further behind jumps to the newest keyframe; stall_us: one whose
        connection takes nothing for so long is ended.
    latency: of players who do not ask for another, of streams that have none of their own.
    """

    listen: tuple[str, ...] = (":1935",)
    tls: TlsSettings = field(default_factory=TlsSettings)
    max_connections: int = 512
    max_connections_per_ip: int = 32
    first_packet_us: int = field(
        default=20_000_000, metadata={"key": "first_packet", "unit": "duration", "min": 1_000_000}
    )
    silence_us: int = field(
        default=8_000_000, metadata={"key": "silence", "unit": "duration", "min": 1_000_000}
    )
    idle_publisher_us: int = field(
        default=0, metadata={"key": "idle_publisher", "unit": "duration"}
    )
    wait_us: int = field(default=30_000_000, metadata={"key": "wait", "unit": "duration"})
    max_lag_us: int = field(
        default=3_000_000, metadata={"key": "max_lag", "unit": "duration", "min": 200_000}
    )
    stall_us: int = field(
        default=10_000_000, metadata={"key": "stall", "unit": "duration", "min": 1_000_000}
    )
    latency: Latency = Latency.NORMAL

    @property
    def fan_out(self) -> FanOutSettings:
        return FanOutSettings(max_lag_us=self.max_lag_us, stall_us=self.stall_us)

    @property
    def caps(self) -> Caps:
        return Caps(self.max_connections, self.max_connections_per_ip)

    @property
    def limits(self) -> TcpLimits:
        return TcpLimits(
            idle_s=None,  # what publishers and players owe is the session's to know
            stall_s=self.stall_us / 1_000_000,
            unhandled_bytes=UNHANDLED_BYTES,
            turn_bytes=TURN_BYTES,
        )
