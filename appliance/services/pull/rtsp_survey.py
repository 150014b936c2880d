"""What a camera offers and how it comes, by each way of media in turn; for `porthole probe`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from appliance.containers.flv_tag_reader import Event
from appliance.errors import ApplianceError
from appliance.hub.clock import SYSTEM_CLOCK
from appliance.media.unit import AccessUnit
from appliance.net.tls import ClientTls
from appliance.services.contract import RtspSettings
from appliance.services.pull.remote import scrub
from appliance.services.pull.rtsp_fetch import Camera, RtspFetch
from appliance.services.pull.rtsp_notes import Notes, Way
from appliance.services.pull.rtsp_tracks import CameraTrack
from appliance.wire.rtsp.target import RtspAddress

OPEN_S = 10.0
SILENCE_US = 5_000_000


@dataclass(slots=True)
class TrackFound:
    """What was measured of one track. key_interval_s: longest of those seen; None if there were
    less than two keyframes."""

    kind: str
    codec: str
    clock_rate_hz: int
    units: int = 0
    size_bytes: int = 0
    keys: int = 0
    key_interval_s: float | None = None
    packets: int = 0
    lost_packets: int = 0
    jitter_ms: float = 0.0
    has_wall_clock: bool = False


@dataclass(slots=True)
class WayFound:
    """fault: empty if media came. first_ms: from asking to the first unit that can be shown."""

    way: Way
    fault: str = ""
    first_ms: float | None = None
    media_s: float = 0.0
    tracks: list[TrackFound] = field(default_factory=list)


class Meter:
    """Stands where the intake stands, and counts."""

    def __init__(self) -> None:
        self.begun_us = SYSTEM_CLOCK.monotonic_us()
        self.first_us: int | None = None
        self.units: dict[int, list[int]] = {}  # by track: units, bytes, keys, last key, interval
        self.tracks: list[CameraTrack] = []

    def take(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, AccessUnit):
                self._count(event)

    def _count(self, unit: AccessUnit) -> None:
        if self.first_us is None:
            self.first_us = SYSTEM_CLOCK.monotonic_us()
        figures = self.units.setdefault(unit.track.id, [0, 0, 0, 0, 0])
        figures[0] += 1
        figures[1] += unit.size_bytes
        if unit.key:
            figures[2] += 1
            if figures[2] > 1:
                figures[4] = max(figures[4], unit.dts_us - figures[3])
            figures[3] = unit.dts_us

    def begin(self, tracks: list[CameraTrack]) -> None:
        self.tracks = tracks

    def count(self, received_bytes: int) -> None:
        """Of the connection; each track is counted by itself."""

    def postpone(self) -> None:
        """There is no deadline but the caller's."""

    def tell_wall_offset(self, offset_us: int) -> None:
        """Asked for at the end."""


async def survey(
    address: RtspAddress, tls: ClientTls, ways: Iterable[Way], seconds: float
) -> list[WayFound]:
    """Each way is measured for so long."""
    return [await _measure(address, tls, way, seconds) for way in ways]


async def _measure(address: RtspAddress, tls: ClientTls, way: Way, seconds: float) -> WayFound:
    meter, found = Meter(), WayFound(way)
    camera = Camera(address, RtspSettings(str(way)), Notes(), SILENCE_US)
    fetching = asyncio.create_task(RtspFetch(camera, tls, meter, OPEN_S).run())
    try:
        await asyncio.wait({fetching}, timeout=seconds)
        if fetching.done():
            fetching.result()
    except ApplianceError as error:
        found.fault = scrub(address, str(error))
    except OSError as error:
        found.fault = scrub(address, error.strerror or str(error))
    finally:
        fetching.cancel()
        await asyncio.gather(fetching, return_exceptions=True)
    if meter.first_us is not None:
        found.first_ms = (meter.first_us - meter.begun_us) / 1000
        found.media_s = (SYSTEM_CLOCK.monotonic_us() - meter.first_us) / 1_000_000
    elif not found.fault:
        found.fault = f"no media within {seconds:g} s"
    found.tracks = [_track_found(track, meter) for track in meter.tracks]
    return found


def _track_found(track: CameraTrack, meter: Meter) -> TrackFound:
    incoming = track.incoming
    reception = incoming.reception
    found = TrackFound(track.kind.value, _codec(track), track.format.clock_rate_hz)
    units, size_bytes, keys, _, interval_us = meter.units.get(incoming.track_id, [0, 0, 0, 0, 0])
    found.units, found.size_bytes, found.keys = units, size_bytes, keys
    found.key_interval_s = interval_us / 1_000_000 if keys > 1 else None
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
