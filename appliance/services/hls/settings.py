"""`[hls]`"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

CROSS_ORIGIN = "Access-Control-Allow-Origin: *\r\n"


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
    public: other sites' pages may read the media (CORS) and shared caches may keep it. Off, since
        who may watch by being near would lend that right to every page in their browser.
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
    public: bool = False

    @property
    def fields(self) -> str:
        """Header lines of every answer."""
        return CROSS_ORIGIN if self.public else ""

    @property
    def immutable(self) -> str:
        """Cache-Control of what never changes under its name."""
        return f"{'public' if self.public else 'private'}, max-age=60"
