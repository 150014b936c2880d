"""What every service is given and what it must offer; the only module services share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from appliance.errors import ConfigError
from appliance.hub.access import Access, Credentials
from appliance.hub.cameras import Cameras
from appliance.hub.hub import Hub
from appliance.hub.sessions import Sessions
from appliance.hub.stats import Counters, Faults
from appliance.net.fanout_pool import Latency
from appliance.net.http import Request, Router
from appliance.net.supervisor import Supervisor
from appliance.net.systemd import Watchdog
from appliance.net.tls_pin import parse_fingerprint

MIN_SILENCE_US = 500_000


def check_even(side_px: int) -> None:
    """Raises: ConfigError; H.264 of the usual 4:2:0 kind has even sides."""
    if side_px % 2:
        raise ConfigError("give an even number")


def check_rotation(degrees: int) -> None:
    """Raises: ConfigError."""
    if degrees not in {0, 90, 180, 270}:
        raise ConfigError("give 0, 90, 180 or 270")


def check_silence(silence_us: int) -> None:
    """Raises: ConfigError."""
    if 0 < silence_us < MIN_SILENCE_US:
        raise ConfigError("give at least 500ms, or 0s for what [pull] has")


def check_fingerprint(text: str) -> None:
    """Raises: ConfigError."""
    if text:
        parse_fingerprint(text)


def waiting_keys(table: str, keys: tuple[str, ...], before: Any, settings: Any) -> list[str]:
    """Those of `keys` that have changed, as `Service.reload` returns them."""
    changed = (key for key in keys if getattr(settings, key) != getattr(before, key))
    return [f"{table}.{key}" for key in changed]


@dataclass(frozen=True, slots=True)
class VideoSettings:
    """`[stream.video]`: what a local source encodes; sources that pass through ignore it.

    rotation: degrees clockwise by which the picture must be turned to stand upright; rotate: how
    90 and 270 are done, by telling viewers (flag) or by turning the pixels (picture).
    threads: of a software encoder, 0 lets it choose; adapt: let it step down when it is too slow.
    """

    width: int = field(default=1280, metadata={"min": 64, "max": 4096, "check": check_even})
    height: int = field(default=720, metadata={"min": 64, "max": 4096, "check": check_even})
    fps: int = field(default=30, metadata={"min": 1, "max": 120})
    bitrate_bps: int = field(
        default=2_000_000,
        metadata={"key": "bitrate", "unit": "bps", "min": 16_000, "max": 200_000_000},
    )
    keyframe_us: int = field(
        default=2_000_000,
        metadata={"key": "keyframe", "unit": "duration", "min": 100_000, "max": 60_000_000},
    )
    encoder: str = field(
        default="auto", metadata={"choices": ("auto", "camera", "h264_v4l2m2m", "libx264")}
    )
    rotation: int = field(default=0, metadata={"max": 270, "check": check_rotation})
    rotate: str = field(default="flag", metadata={"choices": ("flag", "picture")})
    threads: int = field(default=0, metadata={"max": 16})
    adapt: bool = True


@dataclass(frozen=True, slots=True)
class AudioSettings:
    """`[stream.audio]`. device: "auto", "none", or an ALSA name such as "hw:1,0"."""

    device: str = "auto"
    channels: int = field(default=1, metadata={"min": 1, "max": 2})
    bitrate_bps: int = field(
        default=64_000, metadata={"key": "bitrate", "unit": "bps", "min": 8_000, "max": 512_000}
    )


@dataclass(frozen=True, slots=True)
class OverlaySettings:
    """`[stream.overlay]`. name: written before the clock; clock: a strftime(3) format."""

    enabled: bool = False
    name: str = ""
    clock: str = "%Y-%m-%d %H:%M:%S"
    text: str = ""
    position: str = field(
        default="top-left",
        metadata={
            "choices": ("top-left", "top", "top-right", "bottom-left", "bottom", "bottom-right")
        },
    )
    size_percent: float = field(default=4.0, metadata={"key": "size", "min": 1, "max": 20})


@dataclass(frozen=True, slots=True)
class MaskSettings:
    """One `[[stream.mask]]`: a rectangle that nobody ever sees, in fractions of the sensor's
    picture before any turning."""

    x: float = field(default=0.0, metadata={"max": 1})
    y: float = field(default=0.0, metadata={"max": 1})
    width: float = field(default=0.0, metadata={"max": 1})
    height: float = field(default=0.0, metadata={"max": 1})


@dataclass(frozen=True, slots=True)
class PresetSettings:
    """One `[[stream.preset]]`: settings taken together, by hand or in its hours.

    fps, bitrate: 0 leaves them as they are.
    """

    name: str
    hours: tuple[str, ...] = ()
    fps: int = field(default=0, metadata={"max": 120})
    bitrate_bps: int = field(
        default=0, metadata={"key": "bitrate", "unit": "bps", "max": 200_000_000}
    )
    controls: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RtspSettings:
    """`[stream.rtsp]`, of sources that are fetched by RTSP.

    transport: how packets come; "auto": by TCP, or UDP if nothing does; "http": through a tunnel.
    tracks: which of them are asked for.
    silence_us: without media of one of them, and it is tried anew; 0: as `[pull]` has it.
    user, password: in place of those in the address. password_file: holds the password; a name
        without a slash is one of systemd's credentials.
    tls_verify: whether the certificate must be signed by an authority. tls_fingerprint: of the only
        one that will do, whoever signed it.
    """

    transport: str = field(
        default="auto", metadata={"choices": ("auto", "tcp", "udp", "multicast", "http")}
    )
    tracks: str = field(default="all", metadata={"choices": ("all", "video", "audio")})
    silence_us: int = field(
        default=0,
        metadata={
            "key": "silence",
            "unit": "duration",
            "max": 600_000_000,
            "check": check_silence,
        },
    )
    user: str = ""
    password: str = field(default="", repr=False, metadata={"secret": True, "verbatim": True})
    password_file: str = ""
    tls_verify: bool = True
    tls_fingerprint: str = field(default="", metadata={"check": check_fingerprint})

    def __post_init__(self) -> None:
        if self.password and self.password_file:
            raise ConfigError("give password or password_file, not both")


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """One `[[stream]]`. source is a URL whose scheme names the service that fetches it.

    slate: keep viewers with a still picture while the camera is off or lost.
    hours: when it captures, such as "07:00-22:00"; empty is always.
    led: lit while the sensor may be on: a name under /sys/class/leds, or "gpio:17".
    controls: of the camera, by its own names.
    latency: of its viewers who do not ask for another; "auto": as their protocol has it. A source
        has nothing to do with it, so two that differ by it alone are the same.
    """

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
    slate: bool = True
    latency: str = field(
        default="auto", compare=False, metadata={"choices": ("auto", *map(str, Latency))}
    )
    hours: tuple[str, ...] = ()
    led: str = ""
    video: VideoSettings = field(default_factory=VideoSettings)
    audio: AudioSettings = field(default_factory=AudioSettings)
    rtsp: RtspSettings = field(default_factory=RtspSettings)
    overlay: OverlaySettings = field(default_factory=OverlaySettings)
    mask: tuple[MaskSettings, ...] = ()
    controls: Mapping[str, Any] = field(default_factory=dict)
    preset: tuple[PresetSettings, ...] = ()


@dataclass(frozen=True, slots=True)
class HandOn:
    """Addresses, as `[[forward]]` has them, to one of which every stream that begins here is handed
    on, and to the next when it fails."""

    to: tuple[str, ...] = field(default=(), repr=False)
    ca: str = ""
    insecure: bool = False


Report = Callable[[], list[dict[str, Any]]]
"""Rows of a service's own about what it does, with nothing secret in them."""


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
    cameras: Cameras = field(default_factory=Cameras)
    state_dir: Path | None = None  # where what must outlive a restart is kept; None: nowhere
    watchdog: Watchdog = field(default_factory=Watchdog)  # who has given up hope
    listening: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by service
    hand_on: HandOn = field(default_factory=HandOn)  # to the origins of an edge
    reports: dict[str, Report] = field(default_factory=dict)  # by service, for the API

    def is_takeover(self, name: str) -> bool:
        """Whether a second publisher of this stream takes the first one's place."""
        return any(one.name == name and one.takeover for one in self.streams)

    def latency_of(self, name: str, default: Latency) -> Latency:
        """Of a stream's viewers who ask for none. default: of their protocol."""
        words = (one.latency for one in self.streams if one.name == name)
        return next((Latency(word) for word in words if word != "auto"), default)


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
