"""Tracks, units and a settable clock for tests of the hub; no codec bitstream is parsed."""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.hub.clock import Clock
from appliance.media.track import Codec, Kind, Track
from appliance.media.unit import AccessUnit, Chunk


@dataclass(frozen=True, slots=True)
class PlainConfig:
    kind: Kind
    codec: Codec
    rfc6381: str = "avc1.42E01E"


VIDEO = Track(1, PlainConfig(Kind.VIDEO, Codec.H264))
AUDIO = Track(2, PlainConfig(Kind.AUDIO, Codec.AAC), 48_000)


def unit(dts_us: int, *, key: bool = False, track: Track = VIDEO, size: int = 100) -> AccessUnit:
    return AccessUnit(track, dts_us, dts_us, key, (bytes(size),))


def chunk(dts_us: int, *, key: bool = False, data: bytes = b"x" * 100) -> Chunk:
    return Chunk(data, dts_us, 40_000, key)


class HeldClock(Clock):
    """Stands still until told otherwise."""

    def __init__(self, monotonic_us: int = 1_000_000_000, unix_us: int = 1_700_000_000_000_000):
        self.now_us = monotonic_us
        self.wall_us = unix_us

    def monotonic_us(self) -> int:
        return self.now_us

    def unix_us(self) -> int:
        return self.wall_us

    def advance(self, by_us: int) -> None:
        self.now_us += by_us
        self.wall_us += by_us


@dataclass
class EchoMuxer:
    """One chunk per unit, its text naming the unit; can be told to fail."""

    fail_with: Exception | None = None
    headers: list[tuple[Track, ...]] = field(default_factory=list)
    flushes: int = 0
    current: bytes = b""

    def header(self, tracks: tuple[Track, ...]) -> bytes:
        self.headers.append(tuple(tracks))
        self.current = b"header%d" % len(self.headers)
        return self.current

    def feed(self, unit: AccessUnit) -> list[Chunk]:
        if self.fail_with:
            raise self.fail_with
        return [Chunk(b"%d" % unit.dts_us, unit.dts_us, 40_000, unit.key, self.current)]

    def flush(self) -> list[Chunk]:
        self.flushes += 1
        return []
