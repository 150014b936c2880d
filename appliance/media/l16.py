"""L16: uncompressed 16-bit samples; a configuration and nothing else (RFC 3551 §4.5.11)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from appliance.errors import PeerError
from appliance.media.track import Codec, Kind

MAX_CHANNELS = 8
SAMPLE_BYTES = 2  # of one channel


@dataclass(frozen=True, slots=True)
class L16Config:
    """Signed samples, channels interleaved. Raises: PeerError beyond our caps.

    A unit's samples are big-endian, as RTP and MPEG-TS carry them: nobody turns them round on the
    way to the one who decodes (libav's pcm_s16be).
    """

    kind: ClassVar[Kind] = Kind.AUDIO
    codec: ClassVar[Codec] = Codec.L16
    sample_rate_hz: int = 44_100
    channels: int = 1

    def __post_init__(self) -> None:
        if not 1_000 <= self.sample_rate_hz <= 192_000 or not 1 <= self.channels <= MAX_CHANNELS:
            raise PeerError(f"L16 at {self.sample_rate_hz} Hz with {self.channels} channels")

    @property
    def rfc6381(self) -> str:
        """No registered value exists; QuickTime's sample entry name is what players know."""
        return "twos"
