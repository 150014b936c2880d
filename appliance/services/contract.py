"""What every service is given and what it must offer; the only module services share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from appliance.hub.access import Access
from appliance.hub.hub import Hub
from appliance.hub.sessions import Sessions
from appliance.hub.stats import Counters, Faults
from appliance.net.http import Router
from appliance.net.supervisor import Supervisor


@dataclass(frozen=True, slots=True)
class VideoSettings:
    """`[stream.video]`: what a local source encodes; sources that pass through ignore it."""

    width: int = 1280
    height: int = 720
    fps: int = 30
    bitrate_bps: int = field(default=2_000_000, metadata={"key": "bitrate", "unit": "bps"})
    keyframe_us: int = field(default=2_000_000, metadata={"key": "keyframe", "unit": "duration"})
    encoder: str = "auto"


@dataclass(frozen=True, slots=True)
class AudioSettings:
    """`[stream.audio]`"""

    device: str = "auto"
    bitrate_bps: int = field(default=64_000, metadata={"key": "bitrate", "unit": "bps"})


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
    max_age_us: int = field(default=10_000_000, metadata={"key": "max_age", "unit": "duration"})
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
