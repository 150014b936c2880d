"""Tracks and what describes them before their first unit."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Kind(StrEnum):
    VIDEO = "video"
    AUDIO = "audio"


class Codec(StrEnum):
    H264 = "h264"
    H265 = "h265"
    AV1 = "av1"
    VP9 = "vp9"
    MJPEG = "mjpeg"
    AAC = "aac"
    OPUS = "opus"
    PCMA = "pcma"
    PCMU = "pcmu"
    L16 = "l16"
    MP3 = "mp3"
    FLAC = "flac"
    AC3 = "ac3"
    EAC3 = "eac3"


class CodecConfig(Protocol):
    """What every codec's frozen configuration offers; compared by value.

    The concrete types live with their codecs: `H264Config` in media/h264.py, and so on.
    """

    @property
    def kind(self) -> Kind: ...

    @property
    def codec(self) -> Codec: ...

    @property
    def rfc6381(self) -> str:
        """The value of a CODECS parameter, such as ``avc1.64001F`` (RFC 6381 §3)."""
        ...


@dataclass(frozen=True, slots=True)
class Track:
    """One elementary stream; new parameter sets make a new Track with the same id (`is not`).

    rotation_deg: how far a viewer must turn the picture clockwise: 0, 90, 180 or 270.
    """

    id: int
    config: CodecConfig
    clock_rate_hz: int = 90_000
    rotation_deg: int = 0

    @property
    def kind(self) -> Kind:
        return self.config.kind

    @property
    def codec(self) -> Codec:
        return self.config.codec
