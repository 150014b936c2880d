"""G.711: a configuration and nothing else, for its frames are bare samples of a byte each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from appliance.errors import MisuseError, PeerError
from appliance.media.track import Codec, Kind

MAX_CHANNELS = 8


@dataclass(frozen=True, slots=True)
class G711Config:
    """A-law (PCMA) or µ-law (PCMU); channels interleave. Raises: PeerError beyond our caps."""

    kind: ClassVar[Kind] = Kind.AUDIO
    codec: Codec = Codec.PCMA
    sample_rate_hz: int = 8000
    channels: int = 1

    def __post_init__(self) -> None:
        if self.codec not in {Codec.PCMA, Codec.PCMU}:
            raise MisuseError(f"{self.codec} is not G.711")
        if not 1_000 <= self.sample_rate_hz <= 192_000 or not 1 <= self.channels <= MAX_CHANNELS:
            raise PeerError(f"G.711 at {self.sample_rate_hz} Hz with {self.channels} channels")

    @property
    def rfc6381(self) -> str:
        """No registered value exists; QuickTime's sample entry names are what players know."""
        return "alaw" if self.codec is Codec.PCMA else "ulaw"
