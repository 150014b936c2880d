"""LATM's StreamMuxConfig (ISO/IEC 14496-3 §1.7.3.2.3), of the one shape that cameras send: one
program, one layer, frames whose length stands before them."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.errors import PeerError
from appliance.media.aac import MAX_ASC_BYTES, AacConfig, take_config
from appliance.media.bits import BitReader


@dataclass(frozen=True, slots=True)
class StreamMux:
    """subframes: how many raw frames each AudioMuxElement has; other_data_bits: after them."""

    config: AacConfig
    subframes: int
    other_data_bits: int


def parse_stream_mux(bits: BitReader) -> StreamMux:
    """Raises: PeerError if it is damaged or of a shape that we do not read."""
    version = bits.u(1)
    if version and bits.u(1):
        raise PeerError("LATM of a version to come")
    if version:
        _value(bits)  # taraBufferFullness
    if not bits.flag():
        raise PeerError("LATM whose streams are not framed alike")
    subframes = bits.u(6) + 1
    if bits.u(4) or bits.u(3):
        raise PeerError("LATM of several programs or layers")
    config = _sized_config(bits) if version else take_config(bits)
    if bits.u(3):
        raise PeerError("LATM frames without a length before them")
    bits.skip(8)  # latmBufferFullness
    other_data_bits = 0
    if bits.flag():
        other_data_bits = _value(bits) if version else _escaped(bits)
    if bits.flag():
        bits.skip(8)  # CRC of this configuration
    return StreamMux(config, subframes, other_data_bits)


def _sized_config(bits: BitReader) -> AacConfig:
    length = _value(bits)
    if length > MAX_ASC_BYTES * 8:
        raise PeerError(f"an AudioSpecificConfig of {length} bits")
    return AacConfig((bits.u(length) << -length % 8).to_bytes((length + 7) // 8, "big"))


def _value(bits: BitReader) -> int:
    """LatmGetValue: one to four bytes."""
    return bits.u(8 * (bits.u(2) + 1))


def _escaped(bits: BitReader) -> int:
    """otherDataLenBits: bytes, each behind a flag that says whether another follows."""
    value = 0
    for _ in range(4):
        more = bits.flag()
        value = value << 8 | bits.u(8)
        if not more:
            return value
    raise PeerError("LATM with other data of more than 32 bits of length")
