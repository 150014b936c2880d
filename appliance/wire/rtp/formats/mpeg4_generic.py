"""AAC in mpeg4-generic (RFC 3640): AAC-hbr and AAC-lbr, both ways.

Several units in a packet or one unit in several. Interleaving (§3.2.3.2) is refused: it wants a
buffer of up to seconds, and no camera does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from appliance.errors import PeerError
from appliance.media.aac import ADTS_HEADER_BYTES, AacConfig, split_adts
from appliance.media.bits import BitReader, Reader
from appliance.media.track import CodecConfig
from appliance.media.unit import AccessUnit, Buffer
from appliance.wire.rtp.formats.contract import DEFAULT_PAYLOAD_BYTES, Assembled, Payload
from appliance.wire.rtp.packet import RtpPacket

MAX_AU_BYTES = 65_535  # the most that 16 bits of size say; AAC has 768 per channel at most
MAX_UNITS = 64  # in one packet: 1.3 s of sound; against a packet of tiny ones
_MAX_FIELD_BITS = 16

_HEADER_BYTES = 4  # of our own packets: AU-headers-length and one AU header of hbr


@dataclass(frozen=True, slots=True)
class AuHeaderShape:
    """How many bits the fields of an AU header have (§3.2.1)."""

    size_bits: int = 13
    index_bits: int = 3
    index_delta_bits: int = 3

    @classmethod
    def from_fmtp(cls, fmtp: Mapping[str, str]) -> AuHeaderShape:
        """Raises: PeerError for a mode that we do not read."""
        mode = fmtp.get("mode", "aac-hbr").lower()
        defaults = cls(6, 2, 2) if mode == "aac-lbr" else cls()  # for cameras that say only mode=
        if not (mode.startswith("aac") or mode == "generic"):
            raise PeerError("mpeg4-generic of a mode that is not AAC")
        for name in ("ctsdeltalength", "dtsdeltalength", "randomaccessindication"):
            if _bits(fmtp, name, 0):
                raise PeerError(f"mpeg4-generic with {name}")
        for name in ("streamstateindication", "auxiliarydatasizelength", "constantsize"):
            if _bits(fmtp, name, 0):
                raise PeerError(f"mpeg4-generic with {name}")
        shape = cls(
            _bits(fmtp, "sizelength", defaults.size_bits),
            _bits(fmtp, "indexlength", defaults.index_bits),
            _bits(fmtp, "indexdeltalength", defaults.index_delta_bits),
        )
        if not shape.size_bits:
            raise PeerError("mpeg4-generic without sizes")
        return shape


def _bits(fmtp: Mapping[str, str], name: str, default: int) -> int:
    text = fmtp.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 4:
        raise PeerError(f"mpeg4-generic whose {name} is no number")
    if (value := int(text)) > _MAX_FIELD_BITS:
        raise PeerError(f"mpeg4-generic with a {name} of {value} bits")
    return value


class Mpeg4GenericDepacketizer:
    """clock_rate_hz: of the stamps; it may differ from the core's sample rate (HE-AAC)."""

    def __init__(self, config: AacConfig, clock_rate_hz: int, shape: AuHeaderShape) -> None:
        self.config: CodecConfig | None = config
        self._shape = shape
        self._duration = config.frame_samples * clock_rate_hz // config.sample_rate_hz
        self._fragments = bytearray()  # of one unit, at most MAX_AU_BYTES
        self._wanted_bytes = 0
        self._stamp = 0
        self._is_gap = False  # a fragment may then be the middle of a unit

    def push(self, packet: RtpPacket, stamp: int) -> list[Assembled]:
        try:
            sizes, data = self._split(packet.payload)
        except PeerError:
            self.lost()
            raise
        if len(sizes) == 1 and sizes[0] > len(data):
            return self._take_fragment(sizes[0], data, packet.marker, stamp)
        self._drop()
        self._is_gap = False
        reader = Reader(data)
        units = [bytes(reader.take(size)) for size in sizes]
        return [
            self._assembled(unit, stamp + index * self._duration)
            for index, unit in enumerate(units)
            if unit
        ]

    def _split(self, payload: Buffer) -> tuple[list[int], memoryview]:
        """The sizes of the units, and the bytes behind the headers."""
        reader = Reader(payload)
        header_bits = reader.u16()
        bits = BitReader(reader.take((header_bits + 7) // 8))
        shape = self._shape
        sizes: list[int] = []
        while header_bits - bits.position >= shape.size_bits + (
            shape.index_delta_bits if sizes else shape.index_bits
        ):
            size = bits.u(shape.size_bits)
            if bits.u(shape.index_delta_bits if sizes else shape.index_bits):
                raise PeerError("interleaved AAC")
            if len(sizes) == MAX_UNITS:
                raise PeerError(f"more than {MAX_UNITS} AAC units in a packet")
            sizes.append(size)
        if not sizes:
            raise PeerError("an mpeg4-generic packet without AU header")
        return sizes, reader.rest()

    def _take_fragment(
        self, size: int, data: memoryview, marker: bool, stamp: int
    ) -> list[Assembled]:
        if self._wanted_bytes and (self._stamp, self._wanted_bytes) != (stamp, size):
            self._drop()
        if self._is_gap:
            self._is_gap = not marker
            return []
        self._stamp, self._wanted_bytes = stamp, size
        self._fragments += data
        if len(self._fragments) < size and not marker:
            return []
        unit = bytes(self._fragments)
        self._drop()
        if len(unit) != size:
            raise PeerError(f"an AAC unit of {size} bytes in fragments of {len(unit)}")
        return [self._assembled(unit, stamp)]

    def _assembled(self, unit: bytes, stamp: int) -> Assembled:
        return Assembled(stamp, (_without_adts(unit),), key=True, duration=self._duration)

    def lost(self) -> None:
        self._drop()
        self._is_gap = True

    def _drop(self) -> None:
        self._fragments.clear()
        self._wanted_bytes = 0

    def flush(self) -> list[Assembled]:
        self._drop()
        return []


def _without_adts(unit: bytes) -> bytes:
    """Some cameras leave the ADTS header on. A raw frame never begins so: these bits would be an
    END element and nothing (ISO/IEC 14496-3 §4.4.2.1)."""
    if len(unit) > ADTS_HEADER_BYTES and unit[0] == 0xFF and unit[1] & 0xF6 == 0xF0:
        try:
            _, frames = split_adts(unit)
        except PeerError:
            return unit
        if len(frames) == 1:
            return bytes(frames[0])
    return unit


class Mpeg4GenericPacketizer:
    """AAC-hbr (§3.3.6), one unit per packet: sound is sent when it is there."""

    fmtp = "mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3"
    max_unit_bytes = (1 << 13) - 1

    def __init__(self, max_bytes: int = DEFAULT_PAYLOAD_BYTES) -> None:
        self._room_bytes = max_bytes - _HEADER_BYTES

    def payloads(self, unit: AccessUnit) -> list[Payload]:
        """A unit that 13 bits of size cannot say is left out: AAC has none with six channels or
        fewer."""
        data = unit.parts[0]
        size = len(data)
        if size > self.max_unit_bytes:
            return []
        head = b"\x00\x10" + (size << 3).to_bytes(2, "big")
        return [
            Payload(head + data[at : at + self._room_bytes], marker=at + self._room_bytes >= size)
            for at in range(0, size, self._room_bytes)
        ]
