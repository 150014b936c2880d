"""What every service is given and what it must offer; the only module services share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from appliance.errors import ConfigError
from appliance.hub.access import Access, Credentials
from appliance.hub.hub import Hub
from appliance.hub.sessions import Sessions
from appliance.hub.stats import Counters, Faults
from appliance.net.http import Request, Router
from appliance.net.supervisor import Supervisor


def check_even(side_px: int) -> None:
    """Raises: ConfigError; H.264 of the usual 4:2:0 kind has even sides."""
    if side_px % 2:
        raise ConfigError("give an even number")


@dataclass(frozen=True, slots=True)
class VideoSettings:
    """`[stream.video]`: what a local source encodes; sources that pass through ignore it."""

    width: int = field(default=1280, metadata={"min": 64, "max": 4096, "check": check_even})
    height: int = field(default=720, metadata={"min": 64, "max": 4096, "check": check_even})
    fps: int = field(default=30, metadata={"min": 1, "max": 240})
    bitrate_bps: int = field(
        default=2_000_000,
        metadata={"key": "bitrate", "unit": "bps", "min": 16_000, "max": 200_000_000},
    )
    keyframe_us: int = field(
        default=2_000_000,
        metadata={"key": "keyframe", "unit": "duration", "min": 100_000, "max": 60_000_000},
    )
    encoder: str = "auto"


@dataclass(frozen=True, slots=True)
class AudioSettings:
    """`[stream.audio]`"""

    device: str = "auto"
    bitrate_bps: int = field(
        default=64_000, metadata={"key": "bitrate", "unit": "bps", "min": 6_000, "max": 512_000}
    )


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """One `[[stream]]`. source is a URL whose scheme names the service that fetches it."""

    name: str
    source: str = ""
    enabled: bool = True
    on_demand: bool = False
    on_demand_close_us: int = field(
        default=10_000_000, metadata={"key": "on_demand_close", "unit": "duration"}
    )
    takeover: bool = False
    max_age_us: int = field(
        default=10_000_000, metadata={"key": "max_age", "unit": "duration", "min": 1_000_000}
    )
    video: VideoSettings = field(default_factory=VideoSettings)
    audio: AudioSettings = field(default_factory=AudioSettings)


@dataclass(slots=True)
class Context:
    """The appliance as a service sees it."""

    hub: Hub
    router: Router
    access: Access
    sessions: Sessions
    faults: Faults
    counters: Counters
    supervisor: Supervisor
    device_name: str
    streams: tuple[StreamSettings, ...]


def credentials_of(request: Request, *, with_query: bool = False) -> Credentials:
    """What an HTTP client showed: Basic, else Bearer, else (media only) ``?key=`` or ``?token=``.

    with_query: players often can set nothing but the URL; the API never takes a key from there.
    """
    if request.basic is not None:
        user, password = request.basic
        return Credentials(user, password)
    key = request.bearer or ""
    if not key and with_query:
        key = request.query.get("key") or request.query.get("token") or ""
    return Credentials(key=key)


class Service(Protocol):
    """A service module offers `Settings` (a frozen dataclass with defaults) and
    `create(settings, context) -> Service`."""

    async def start(self) -> None:
        """Routes added, sockets open when it returns. Raises: ConfigError (an address is taken).

        Work that goes on is given to `context.supervisor`.
        """
        ...

    async def stop(self) -> None:
        """Says goodbye to peers and closes; bounded by the caller's deadline."""
        ...

    def reload(self, settings: Any, streams: tuple[StreamSettings, ...]) -> list[str]:
        """Takes over what can change while viewers stay; returns the keys that need a restart."""
        ...
