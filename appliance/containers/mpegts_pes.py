"""PES packets: their header, and putting them together from transport packets.

ISO/IEC 13818-1 §2.4.3.6.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.errors import PeerError
from appliance.media.bits import Reader

STREAM_VIDEO = 0xE0
STREAM_AUDIO = 0xC0
STREAM_PRIVATE_1 = 0xBD
MAX_VIDEO_PES_BYTES = 4 << 20  # a peer that never begins the next one
MAX_AUDIO_PES_BYTES = 256 << 10

_START_CODE = b"\0\0\1"
_FIXED_BYTES = 6  # start code, stream id, length
_HAS_PTS, _HAS_DTS = 0x80, 0x40
# Stream ids without the optional header (§2.4.3.7, table 2-22)
_BARE_STREAMS = frozenset({0xBC, 0xBE, 0xBF, 0xF0, 0xF1, 0xF2, 0xF8, 0xFF})


def make_pes_header(stream_id: int, payload_bytes: int, pts: int, dts: int) -> bytes:
    """A header with stamps of 33 bits that wrap; DTS is left out where it equals PTS.

    The length is written when it fits, so that a demuxer need not wait for the next packet.
    """
    if pts == dts:
        length, flags, stamps = payload_bytes + 8, 0x8480_05, _stamp(2, pts)
    else:
        length, flags = payload_bytes + 13, 0x84C0_0A
        stamps = _stamp(3, pts) + _stamp(1, dts)
    if length > 0xFFFF:
        length = 0  # unbounded, which only video is long enough for
    head = (0x100 | stream_id) << 40 | length << 24 | flags
    return head.to_bytes(9, "big") + stamps


def _stamp(prefix: int, stamp: int) -> bytes:
    high, middle, low = stamp >> 30 & 7, stamp >> 15 & 0x7FFF, stamp & 0x7FFF
    bits = prefix << 36 | high << 33 | 1 << 32 | middle << 17 | 1 << 16 | low << 1 | 1
    return bits.to_bytes(5, "big")


@dataclass(slots=True)
class Pes:
    """A complete packet; stamps as they stand, 33 bits."""

    payload: memoryview
    pts: int | None
    dts: int | None
    discontinuity: bool = False


def parse_pes(data: bytes) -> Pes:
    """Raises: PeerError if the header is damaged."""
    reader = Reader(data)
    if bytes(reader.take(3)) != _START_CODE:
        raise PeerError("no PES start code where one must be")
    stream_id = reader.u8()
    length = reader.u16()
    if length and length <= reader.remaining:
        reader = Reader(reader.take(length))
    pts = dts = None
    if stream_id not in _BARE_STREAMS:
        if reader.u8() >> 6 != 2:
            raise PeerError("a PES header of MPEG-1")
        flags = reader.u8()
        header = Reader(reader.take(reader.u8()))
        if flags & _HAS_PTS:
            pts = dts = _parse_stamp(header)
            if flags & _HAS_DTS:
                dts = _parse_stamp(header)
    return Pes(reader.rest(), pts, dts)


def _parse_stamp(reader: Reader) -> int:
    """Marker bits are not looked at: some encoders forget them, and nothing depends on them."""
    bits = reader.uint(5)
    return (bits >> 33 & 7) << 30 | (bits >> 17 & 0x7FFF) << 15 | bits >> 1 & 0x7FFF


class PesAssembler:
    """One PID's payloads, put together until the packet is complete."""

    __slots__ = ("_data", "_max_bytes", "_wanted_bytes", "is_open")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._data = bytearray()  # copied, for a view would keep all that arrived with it alive
        self._wanted_bytes: int | None = None  # 0: not announced
        self.is_open = False

    def drop(self) -> None:
        """Forget what was begun; further payloads are ignored until the next start."""
        self._data = bytearray()
        self._wanted_bytes = None
        self.is_open = False

    def start(self) -> None:
        """A packet begins with the next payload; what was there must have been taken."""
        self.drop()
        self.is_open = True

    def append(self, payload: memoryview) -> bool:
        """True when all announced bytes are there, which is never without an announcement.

        Raises: PeerError if the packet exceeds its cap; it is then dropped.
        """
        if not self.is_open:
            return False
        data = self._data
        data += payload
        size = len(data)
        if self._wanted_bytes is None and size >= _FIXED_BYTES:
            length = data[4] << 8 | data[5]
            self._wanted_bytes = length + _FIXED_BYTES if length else 0
        if size > self._max_bytes:
            self.drop()
            raise PeerError(f"a PES packet of more than {self._max_bytes} bytes")
        return bool(self._wanted_bytes) and size >= (self._wanted_bytes or 0)

    def take(self) -> Pes:
        """The packet; call when `is_open`. Raises: PeerError if it is damaged."""
        data, wanted_bytes = bytes(self._data), self._wanted_bytes or 0
        self.drop()
        if len(data) < wanted_bytes:
            raise PeerError("a PES packet that ends before its length")
        return parse_pes(data)
