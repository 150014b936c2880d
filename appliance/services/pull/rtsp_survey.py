"""What a camera offers and how it comes, by each way of media in turn; for `porthole probe`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from appliance.containers.flv_tag_reader import Event
from appliance.errors import ApplianceError
from appliance.hub.clock import SYSTEM_CLOCK
from appliance.media.unit import AccessUnit
from appliance.net.tls import ClientTls
from appliance.services.contract import RtspSettings
from appliance.services.pull.faults import GARBAGE, LOGIN, SILENT, TLS, UNREACHABLE, PullFault
from appliance.services.pull.remote import scrub
from appliance.services.pull.rtsp_fetch import Camera, RtspFetch
from appliance.services.pull.rtsp_notes import Notes, Way
from appliance.services.pull.rtsp_tracks import CameraTrack
from appliance.wire.rtsp.target import RtspAddress

OPEN_S = 10.0
SILENCE_US = 5_000_000
TURN_S = 0.2
HOST = "host"  # its name is unknown
# Nothing else will be found out by asking otherwise; and wrong passwords are counted by cameras.
FINAL = frozenset({LOGIN, HOST, TLS})

Progress = Callable[[float, int], None]
"""Told the part that is done, and packets of the way that is being measured."""


@dataclass(slots=True)
class TrackFound:
    """What was measured of one track, by its own stamps: what a server sends at once in the
    beginning counts for the time it shows. key_interval_s: longest of those seen; None if there
    were less than two keyframes. rate_hz, bitrate_bps: None for less than two units."""

    kind: str
    codec: str
    clock_rate_hz: int
    units: int = 0
    rate_hz: float | None = None
    bitrate_bps: int | None = None
    keys: int = 0
    key_interval_s: float | None = None
    packets: int = 0
    lost_packets: int = 0
    jitter_ms: float = 0.0
    has_wall_clock: bool = False


@dataclass(slots=True)
class WayFound:
    """fault: why nothing came, or no more; reason: the same in one word. first_ms: from asking to
    the first unit that can be shown; None if none came."""

    way: Way
    reason: str = ""
    fault: str = ""
    first_ms: float | None = None
    tracks: list[TrackFound] = field(default_factory=list)

    @property
    def is_final(self) -> bool:
        """No other way will find out more."""
        return self.reason in FINAL or self.fault.startswith("DESCRIBE")


@dataclass(slots=True)
class _Figures:
    units: int = 0
    size_bytes: int = 0
    first_us: int = 0
    newest_us: int = 0
    newest_bytes: int = 0
    keys: int = 0
    key_us: int = 0
    key_interval_us: int = 0

    def count(self, unit: AccessUnit) -> None:
        if not self.units:
            self.first_us = unit.dts_us
        self.units += 1
        self.newest_us, self.newest_bytes = unit.dts_us, unit.size_bytes
        self.size_bytes += unit.size_bytes
        if unit.key:
            if self.keys:
                self.key_interval_us = max(self.key_interval_us, unit.dts_us - self.key_us)
            self.keys += 1
            self.key_us = unit.dts_us

    @property
    def span_s(self) -> float:
        return (self.newest_us - self.first_us) / 1_000_000


class Meter:
    """Stands where the intake stands, and counts."""

    def __init__(self) -> None:
        self.begun_us = SYSTEM_CLOCK.monotonic_us()
        self.first_us: int | None = None
        self.figures: dict[int, _Figures] = {}  # by track
        self.tracks: list[CameraTrack] = []

    def take(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, AccessUnit):
                self._count(event)

    def _count(self, unit: AccessUnit) -> None:
        if self.first_us is None:
            self.first_us = SYSTEM_CLOCK.monotonic_us()
        self.figures.setdefault(unit.track.id, _Figures()).count(unit)

    @property
    def packets(self) -> int:
        return sum(track.incoming.reception.packets for track in self.tracks)

    def begin(self, tracks: list[CameraTrack]) -> None:
        self.tracks = tracks

    def count(self, received_bytes: int) -> None:
        """Of the connection; each track is counted by itself."""

    def postpone(self) -> None:
        """There is no deadline but the caller's."""

    def tell_wall_offset(self, offset_us: int) -> None:
        """Asked for at the end."""


async def survey(
    address: RtspAddress,
    tls: ClientTls,
    ways: tuple[Way, ...],
    seconds: float,
    progress: Progress | None = None,
) -> list[WayFound]:
    """Each way is measured for so long, until one says that there is no use in asking on."""
    found: list[WayFound] = []
    for number, way in enumerate(ways):
        seen = _Seen(progress, number / len(ways), len(ways) * seconds)
        found.append(await _measure(address, tls, way, seconds, seen))
        if found[-1].is_final:
            break
    return found


@dataclass(slots=True)
class _Seen:
    """How far it is. begun: the part that is done already; all_s: of all ways."""

    progress: Progress | None
    begun: float
    all_s: float

    def tell(self, passed_s: float, packets: int) -> None:
        if self.progress is not None:
            self.progress(self.begun + passed_s / self.all_s, packets)


async def _measure(
    address: RtspAddress, tls: ClientTls, way: Way, seconds: float, seen: _Seen
) -> WayFound:
    meter, found = Meter(), WayFound(way)
    camera = Camera(address, RtspSettings(str(way)), Notes(), SILENCE_US)
    fetching = asyncio.create_task(RtspFetch(camera, tls, meter, OPEN_S).run())
    try:
        async with asyncio.timeout(seconds):
            await _watch(fetching, meter, seen)
    except TimeoutError as error:  # ours, or one of the system's
        if fetching.done():
            found.reason, found.fault = UNREACHABLE, str(error) or "no answer in time"
    except ApplianceError as error:
        found.reason = error.reason if isinstance(error, PullFault) else GARBAGE
        found.fault = _words(address, error)
    except socket.gaierror as error:
        found.reason = HOST
        found.fault = f"cannot resolve {address.host}: {error.strerror}"
    except OSError as error:
        found.reason = UNREACHABLE
        found.fault = scrub(address, error.strerror or str(error))
    finally:
        fetching.cancel()
        await asyncio.gather(fetching, return_exceptions=True)
    if meter.first_us is not None:
        found.first_ms = (meter.first_us - meter.begun_us) / 1000
    elif not found.fault:
        found.reason, found.fault = SILENT, f"no media within {seconds:g} s"
    found.tracks = [_track_found(track, meter) for track in meter.tracks]
    return found


def _words(address: RtspAddress, error: ApplianceError) -> str:
    if isinstance(error, PullFault):
        return str(error.scrubbed(lambda text: scrub(address, text)))
    return scrub(address, str(error))


async def _watch(fetching: asyncio.Task[None], meter: Meter, seen: _Seen) -> None:
    """To its end. Raises: what it raises."""
    while not fetching.done():
        passed_s = (SYSTEM_CLOCK.monotonic_us() - meter.begun_us) / 1_000_000
        seen.tell(passed_s, meter.packets)
        await asyncio.wait({fetching}, timeout=TURN_S)
    fetching.result()


def _track_found(track: CameraTrack, meter: Meter) -> TrackFound:
    incoming = track.incoming
    reception = incoming.reception
    found = TrackFound(track.kind.value, _codec(track), track.format.clock_rate_hz)
    figures = meter.figures.get(incoming.track_id, _Figures())
    found.units, found.keys = figures.units, figures.keys
    if figures.span_s > 0:
        found.rate_hz = (figures.units - 1) / figures.span_s
        found.bitrate_bps = int((figures.size_bytes - figures.newest_bytes) * 8 / figures.span_s)
    if figures.keys > 1:
        found.key_interval_s = figures.key_interval_us / 1_000_000
    found.packets, found.lost_packets = reception.packets, max(0, reception.lost_packets)
    found.jitter_ms = reception.jitter_us / 1000
    found.has_wall_clock = incoming.clock.wall_offset_us is not None
    return found


def _codec(track: CameraTrack) -> str:
    """``h264 1920x1080``, ``aac 48000 Hz x2``; the codec alone while no more is known."""
    config = None if track.incoming.track is None else track.incoming.track.config
    words = [str(track.format.codec.value)]
    width, height = getattr(config, "width_px", None), getattr(config, "height_px", None)
    if width and height:
        words.append(f"{width}x{height}")
    rate_hz, channels = getattr(config, "sample_rate_hz", None), getattr(config, "channels", None)
    if rate_hz:
        words.append(f"{rate_hz} Hz" + (f" x{channels}" if channels else ""))
    return " ".join(words)
