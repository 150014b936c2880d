"""MPEG audio (MP3 and its siblings): what a frame's header says (ISO/IEC 11172-3 §2.4.1.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from appliance.errors import PeerError
from appliance.media.bits import Reader
from appliance.media.track import Codec, Kind
from appliance.media.unit import Buffer

_RATES_HZ = (44_100, 48_000, 32_000)  # of MPEG-1; halved for MPEG-2, quartered for "2.5"
_MPEG_1, _MPEG_2, _MPEG_25 = 3, 2, 0
_LAYER_3, _LAYER_1 = 1, 3
_MONO = 3


@dataclass(frozen=True, slots=True)
class Mp3Config:
    """is_mpeg1: not one of the lower rates that ISO/IEC 13818-3 added."""

    kind: ClassVar[Kind] = Kind.AUDIO
    codec: ClassVar[Codec] = Codec.MP3
    sample_rate_hz: int
    channels: int
    frame_samples: int
    is_mpeg1: bool

    @property
    def object_type(self) -> int:
        """objectTypeIndication (ISO/IEC 14496-1 §7.2.6.6)."""
        return 0x6B if self.is_mpeg1 else 0x69

    @property
    def rfc6381(self) -> str:
        return f"mp4a.{self.object_type:02X}"

    @classmethod
    def from_frame(cls, frame: Buffer) -> Mp3Config:
        """Raises: PeerError if it does not begin with a header."""
        header = Reader(frame).u32()
        version, layer = header >> 19 & 3, header >> 17 & 3
        bitrate, rate = header >> 12 & 15, header >> 10 & 3
        if header >> 21 != 0x7FF or version == 1 or not layer or bitrate == 15 or rate == 3:
            raise PeerError("no MPEG audio header where one must be")
        is_mpeg1 = version == _MPEG_1
        rate_hz = _RATES_HZ[rate] // {_MPEG_1: 1, _MPEG_2: 2, _MPEG_25: 4}[version]
        samples = 384 if layer == _LAYER_1 else 1152
        if layer == _LAYER_3 and not is_mpeg1:
            samples = 576
        return cls(rate_hz, 1 if header >> 6 & 3 == _MONO else 2, samples, is_mpeg1)
