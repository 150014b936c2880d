"""Opus: the OpusHead configuration and how long a packet plays (RFC 7845 §5.1, RFC 6716 §3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from appliance.errors import PeerError
from appliance.media.bits import Reader
from appliance.media.track import Codec, Kind
from appliance.media.unit import Buffer

CLOCK_HZ = 48_000  # of every Opus stream, whatever was recorded
MAX_PACKET_US = 120_000
_MAGIC = b"OpusHead"
# Frame lengths by the configuration's low bits: SILK, hybrid, CELT (RFC 6716 §3.1, table 2)
_SILK_US = (10_000, 20_000, 40_000, 60_000)
_HYBRID_US = (10_000, 20_000)
_CELT_US = (2_500, 5_000, 10_000, 20_000)


@dataclass(frozen=True, slots=True)
class OpusConfig:
    """An identification header.

    input_rate_hz: of the recording, informative; playing is always at 48 kHz.
    gain_q8: output gain in dB, times 256.
    mapping: with a mapping family other than 0: stream count, coupled count, then a byte per
        channel.
    Raises: PeerError if a field is out of its range.
    """

    kind: ClassVar[Kind] = Kind.AUDIO
    codec: ClassVar[Codec] = Codec.OPUS
    channels: int = 2
    pre_skip_samples: int = 312
    input_rate_hz: int = 48_000
    gain_q8: int = 0
    mapping_family: int = 0
    mapping: bytes = b""

    def __post_init__(self) -> None:
        if not (
            0 <= self.pre_skip_samples <= 0xFFFF
            and 0 <= self.input_rate_hz <= 0xFFFF_FFFF
            and -0x8000 <= self.gain_q8 <= 0x7FFF
            and 0 <= self.mapping_family <= 0xFF
        ):
            raise PeerError("an OpusHead field is out of its range")
        if self.mapping_family == 0:
            if not 1 <= self.channels <= 2 or self.mapping:
                raise PeerError(f"Opus mapping family 0 with {self.channels} channels")
            return
        if not 1 <= self.channels <= 255 or len(self.mapping) != 2 + self.channels:
            raise PeerError(f"an Opus channel mapping of {len(self.mapping)} bytes")
        streams, coupled = self.mapping[0], self.mapping[1]
        if not streams or coupled > streams or streams + coupled > 255:
            raise PeerError(f"Opus with {streams} streams, {coupled} of them coupled")
        if any(255 > index >= streams + coupled for index in self.mapping[2:]):
            raise PeerError("an Opus channel mapped to a stream that does not exist")

    @property
    def sample_rate_hz(self) -> int:
        return CLOCK_HZ

    @property
    def rfc6381(self) -> str:
        return "opus"

    def to_opus_head(self) -> bytes:
        """RFC 7845 §5.1, little-endian (MP4's dOps has the same fields, big-endian)."""
        return b"".join(
            (
                _MAGIC,
                bytes((1, self.channels)),
                self.pre_skip_samples.to_bytes(2, "little"),
                self.input_rate_hz.to_bytes(4, "little"),
                self.gain_q8.to_bytes(2, "little", signed=True),
                bytes((self.mapping_family,)),
                self.mapping,
            )
        )

    @classmethod
    def from_opus_head(cls, data: Buffer) -> OpusConfig:
        """Raises: PeerError if it is no OpusHead of major version 0, or damaged."""
        reader = Reader(data)
        if reader.take(len(_MAGIC)) != _MAGIC or reader.u8() & 0xF0:
            raise PeerError("not an OpusHead of a version we know")
        channels = reader.u8()
        pre_skip_samples = int.from_bytes(reader.take(2), "little")
        input_rate_hz = int.from_bytes(reader.take(4), "little")
        gain_q8 = int.from_bytes(reader.take(2), "little", signed=True)
        family = reader.u8()
        mapping = bytes(reader.take(2 + channels)) if family else b""
        return cls(channels, pre_skip_samples, input_rate_hz, gain_q8, family, mapping)


def packet_duration_us(packet: Buffer) -> int:
    """How long a packet plays, from its first two bytes.

    Raises: PeerError if it is empty, without its frame count, or longer than 120 ms (RFC 6716
    §3.4).
    """
    reader = Reader(packet)
    toc = reader.u8()
    configuration, code = toc >> 3, toc & 3
    if configuration < 12:
        frame_us = _SILK_US[configuration & 3]
    elif configuration < 16:
        frame_us = _HYBRID_US[configuration & 1]
    else:
        frame_us = _CELT_US[configuration & 3]
    frames = reader.u8() & 0x3F if code == 3 else min(code, 1) + 1
    duration_us = frame_us * frames
    if not 0 < duration_us <= MAX_PACKET_US:
        raise PeerError(f"an Opus packet of {frames} frames of {frame_us} µs")
    return duration_us
