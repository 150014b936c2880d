"""FLAC: the STREAMINFO block, which is all that a track needs (RFC 9639 §8.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from appliance.errors import PeerError
from appliance.media.bits import BitReader, Reader
from appliance.media.track import Codec, Kind
from appliance.media.unit import Buffer

MAGIC = b"fLaC"
STREAMINFO_BYTES = 34
_LAST_BLOCK = 0x80  # of type 0, STREAMINFO


@dataclass(frozen=True, slots=True)
class FlacConfig:
    """streaminfo: the block without its header. Raises: PeerError if it cannot be.

    frame_samples: of every frame but the last, where the block size does not vary.
    """

    kind: ClassVar[Kind] = Kind.AUDIO
    codec: ClassVar[Codec] = Codec.FLAC
    streaminfo: bytes
    frame_samples: int = field(init=False, compare=False)
    sample_rate_hz: int = field(init=False, compare=False)
    channels: int = field(init=False, compare=False)
    sample_bits: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.streaminfo) != STREAMINFO_BYTES:
            raise PeerError(f"a FLAC STREAMINFO of {len(self.streaminfo)} bytes")
        bits = BitReader(self.streaminfo)
        bits.skip(16)
        block_samples = bits.u(16)
        bits.skip(24 + 24)  # frame sizes
        rate_hz, channels, sample_bits = bits.u(20), bits.u(3) + 1, bits.u(5) + 1
        if block_samples < 16 or not rate_hz or sample_bits < 4:
            raise PeerError(f"FLAC at {rate_hz} Hz in blocks of {block_samples}")
        object.__setattr__(self, "frame_samples", block_samples)
        object.__setattr__(self, "sample_rate_hz", rate_hz)
        object.__setattr__(self, "channels", channels)
        object.__setattr__(self, "sample_bits", sample_bits)

    @property
    def rfc6381(self) -> str:
        return "fLaC"

    def to_blocks(self) -> bytes:
        """The only metadata block, with its header: a dfLa's body after version and flags."""
        return bytes((_LAST_BLOCK, 0, 0, STREAMINFO_BYTES)) + self.streaminfo

    @classmethod
    def from_header(cls, data: Buffer) -> FlacConfig:
        """A file's beginning, as Enhanced RTMP has it, or STREAMINFO alone, as FFmpeg 8 sends it.

        Raises: PeerError.
        """
        whole = bytes(data).removeprefix(MAGIC)
        if len(whole) == STREAMINFO_BYTES:
            return cls(whole)
        reader = Reader(whole)
        kind, size = reader.u8() & 0x7F, reader.u24()
        if kind or size != STREAMINFO_BYTES:
            raise PeerError("FLAC metadata that does not begin with STREAMINFO")
        return cls(bytes(reader.take(STREAMINFO_BYTES)))
