"""What travels on the pipe besides tracks and access units, as values.

The worker sends tracks, access units, `Health` and `Fault`; the appliance sends commands.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from appliance.media.track import Track
from appliance.media.unit import AccessUnit


class Reason(StrEnum):
    """Why a worker cannot go on; a closed set, so that it can label a metric."""

    SOURCE_MISSING = "source-missing"
    SOURCE_INVALID = "source-invalid"
    CANNOT_OPEN = "cannot-open"
    UNSUPPORTED = "unsupported"
    SOURCE_LOST = "source-lost"
    ENCODER = "encoder"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Fault:
    """The worker's last words. text: one sentence for a person, saying what to do."""

    reason: Reason
    text: str


@dataclass(frozen=True, slots=True)
class Health:
    """Sent every few seconds; counts are since the worker's start.

    dropped_frames: pictures left out because encoding or the pipe was too slow.
    late_us: how far the newest unit was behind its due time.
    """

    dropped_frames: int
    late_us: int
    rss_bytes: int


@dataclass(frozen=True, slots=True)
class RequestKeyframe:
    """The next picture shall be an IDR, if the source encodes."""


@dataclass(frozen=True, slots=True)
class SetBitrate:
    """The video encoder's target from now on, if the source encodes."""

    bitrate_bps: int


Command = RequestKeyframe | SetBitrate
Tracks = tuple[Track, ...]  # "these are now all the tracks"
Report = Tracks | AccessUnit | Health | Fault
Event = Report | Command
