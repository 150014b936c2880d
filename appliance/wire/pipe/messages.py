"""What travels on the pipe besides tracks and access units, as values.

The worker sends tracks, access units, `Health`, `State`, `Answer`, `Picture` and `Fault`; the
appliance sends commands, and tracks and access units that are to be encoded anew. Documents are
JSON objects: what they may hold is for those who use them (capture/pipeline and services/camera),
their size is for the pipe.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

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
class State:
    """What the camera is and does now: its device, encoder, controls, figures."""

    document: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """To the `Change` of this serial. error: empty, or one sentence that says what is allowed."""

    serial: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """To the `RequestPicture` of this serial: a JPEG taken at `time_us` (CLOCK_MONOTONIC), or an
    error and nothing."""

    serial: int
    time_us: int = 0
    width: int = 0
    height: int = 0
    jpeg: bytes = field(default=b"", repr=False)
    error: str = ""


@dataclass(frozen=True, slots=True)
class RequestKeyframe:
    """The next picture shall be an IDR, if the source encodes."""


@dataclass(frozen=True, slots=True)
class SetBitrate:
    """The video encoder's target from now on, if the source encodes."""

    bitrate_bps: int


@dataclass(frozen=True, slots=True)
class Change:
    """Settings to take over while running, all or none; `Answer` says which it was."""

    serial: int
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class RequestPicture:
    """A JPEG of the newest picture. width: 0 for the stream's own; quality: 1 to 100;
    sub: of the second, smaller stream."""

    serial: int
    width: int = 0
    quality: int = 80
    sub: bool = False


class Rung(IntEnum):
    """What the worker can do itself about media that has stopped."""

    ENCODER = 1
    CAMERA = 2


@dataclass(frozen=True, slots=True)
class Recover:
    """Restart the encoder, or close the camera and open it again."""

    rung: Rung


# Tracks of a worker; the second stream of a camera is its picture here and the same sound.
VIDEO_ID, AUDIO_ID, SUB_VIDEO_ID = 1, 2, 17

# Their other forms, made by workers that encode sound anew.
AAC_ID, OPUS_ID = 18, 19

Command = RequestKeyframe | SetBitrate | Change | RequestPicture | Recover
Tracks = tuple[Track, ...]  # "these are now all the tracks"
Report = Tracks | AccessUnit | Health | State | Answer | Picture | Fault
Event = Report | Command
