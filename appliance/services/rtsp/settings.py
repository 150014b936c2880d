"""`[rtsp]`"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network

from appliance.errors import ConfigError
from appliance.net.accept import Caps
from appliance.net.fanout import FanOutSettings
from appliance.net.fanout_pool import Latency
from appliance.net.http_settings import TlsSettings
from appliance.net.tcp import TcpLimits
from appliance.wire.rtsp.server import SESSION_S

UNHANDLED_BYTES = 1 << 20  # a keyframe of a publisher comes in one go


def check_groups(text: str) -> None:
    """Raises: ConfigError for what is no network of IPv4 multicast groups."""
    try:
        network = IPv4Network(text) if text else None
    except ValueError:
        raise ConfigError('give a network of groups such as "239.255.42.0/24"') from None
    if network is not None and not network.is_multicast:
        raise ConfigError('give a network of multicast groups such as "239.255.42.0/24"')


@dataclass(frozen=True, slots=True)
class Settings:
    """Durations in microseconds.

    tls: RTSPS; its certificate is read again when it changes.
    udp: whether media may travel by UDP; udp_port: where from, and RTCP from the next; 0: any.
    multicast: a network of groups, one of which each stream takes that is asked for so; empty: off.
    basic: ask for Basic instead of Digest without TLS, too.
    first_packet_us, silence_us: how long a publisher may take to send media, and again.
    session_us: how long who neither publishes nor plays by TCP may give no sign of life.
    wait_us: how long a player waits for somebody to publish.
    max_lag_us: a player further behind jumps to the newest keyframe; stall_us: one whose
        connection takes nothing for so long is ended.
    latency: of players who do not ask for another, of streams that have none of their own.
    """

    listen: tuple[str, ...] = (":8554",)
    tls: TlsSettings = field(default_factory=TlsSettings)
    udp: bool = True
    udp_port: int = field(default=0, metadata={"max": 65_534})
    multicast: str = field(default="", metadata={"check": check_groups})
    basic: bool = False
    max_connections: int = 512
    max_connections_per_ip: int = 32
    first_packet_us: int = field(
        default=20_000_000, metadata={"key": "first_packet", "unit": "duration", "min": 1_000_000}
    )
    silence_us: int = field(
        default=8_000_000, metadata={"key": "silence", "unit": "duration", "min": 1_000_000}
    )
    session_us: int = field(
        default=SESSION_S * 1_000_000,
        metadata={"key": "session", "unit": "duration", "min": 2_000_000, "max": 3_600_000_000},
    )
    wait_us: int = field(default=10_000_000, metadata={"key": "wait", "unit": "duration"})
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
        )
