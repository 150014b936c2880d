"""`[hls]`"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class HlsFormat(StrEnum):
    """What segments are; the value begins the names of playlists and segments."""

    FMP4 = "fmp4"
    TS = "ts"


@dataclass(frozen=True, slots=True)
class Settings:
    """Durations in microseconds.

    segment_us: how long a segment is at least; it ends at the first keyframe after that.
    window_us: how much of the past a playlist lists, three target durations at least, as long as
        it fits MAX_WINDOW_BYTES (live_playlist.py).
    format: what viewers get who do not ask for one with ``?format=``.
    """

    segment_us: int = field(
        default=2_000_000,
        metadata={"key": "segment", "unit": "duration", "min": 200_000, "max": 10_000_000},
    )
    window_us: int = field(
        default=20_000_000,
        metadata={"key": "window", "unit": "duration", "min": 1_000_000, "max": 600_000_000},
    )
    format: HlsFormat = HlsFormat.FMP4
