"""Motion JPEG (RFC 2435), receiving: scan data and a few numbers become whole JFIF pictures."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.errors import PeerError
from appliance.media.bits import Reader
from appliance.media.mjpeg import MjpegConfig
from appliance.media.track import CodecConfig
from appliance.media.unit import Buffer
from appliance.wire.rtp.formats import jpeg_file
from appliance.wire.rtp.formats.contract import MAX_UNIT_BYTES, Assembled
from appliance.wire.rtp.packet import RtpPacket

Tables = tuple[bytes, bytes]

_HAS_RESTARTS = 64  # added to a type
_FIRST_OWN_Q, _LAST_OWN_Q = 128, 255  # tables come along; those of 255 in every picture


@dataclass(slots=True)
class _Piece:
    """One packet's headers (§3.1). tables: of the first packet if Q wants them."""

    offset: int
    kind: int
    quality: int
    size: tuple[int, int]
    restart_interval: int
    tables: Tables | None
    scan: memoryview


class JpegDepacketizer:
    """size: width and height from the session description, for pictures beyond 2040 pixels."""

    def __init__(self, size: tuple[int, int] | None = None) -> None:
        self._size = size
        self._config: MjpegConfig | None = None
        self._kept: dict[int, Tables] = {}  # by Q, so 128 at most
        self._first: _Piece | None = None
        self._scan = bytearray()  # at most MAX_UNIT_BYTES
        self._stamp = 0

    @property
    def config(self) -> CodecConfig | None:
        return self._config

    def push(self, packet: RtpPacket, stamp: int) -> list[Assembled]:
        try:
            piece = self._parse(packet.payload)
            self._take(piece, stamp)
        except PeerError:
            self.lost()
            raise
        return self._finish() if packet.marker else []

    def _parse(self, payload: Buffer) -> _Piece:
        reader = Reader(payload)
        reader.skip(1)  # type-specific: a field of an interlaced picture is shown as a picture
        offset, kind, quality = reader.u24(), reader.u8(), reader.u8()
        size = reader.u8() * 8, reader.u8() * 8
        if kind & ~_HAS_RESTARTS > 1:
            raise PeerError(f"RTP JPEG of type {kind}")
        restart_interval = 0
        if kind & _HAS_RESTARTS:
            restart_interval = reader.u16()
            reader.skip(2)  # which intervals are here: gathered they are in order
        tables = None
        if quality >= _FIRST_OWN_Q and not offset:
            tables = _read_tables(reader)
            if tables and quality != _LAST_OWN_Q:
                self._kept[quality] = tables
            tables = tables or self._kept.get(quality)
        return _Piece(
            offset, kind & ~_HAS_RESTARTS, quality, size, restart_interval, tables, reader.rest()
        )

    def _take(self, piece: _Piece, stamp: int) -> None:
        if not piece.offset:
            self.lost()
            self._first, self._stamp = piece, stamp
        elif self._first is None or stamp != self._stamp or piece.offset != len(self._scan):
            self.lost()
            return
        if len(self._scan) + len(piece.scan) > MAX_UNIT_BYTES:
            raise PeerError(f"a JPEG picture of more than {MAX_UNIT_BYTES} bytes")
        self._scan += piece.scan

    def _finish(self) -> list[Assembled]:
        first, scan = self._first, bytes(self._scan)
        self.lost()
        if first is None or not scan:
            return []
        config = MjpegConfig(*self._size_of(first))
        self._config = self._config if config == self._config else config
        head = jpeg_file.header(
            first.kind,
            (config.width_px, config.height_px),
            _tables_of(first),
            first.restart_interval,
        )
        tail = b"" if scan.endswith(jpeg_file.EOI) else jpeg_file.EOI
        return [Assembled(self._stamp, (head + scan + tail,), key=True)]

    def _size_of(self, first: _Piece) -> tuple[int, int]:
        """In eights of pixels each, so 2040 is the most; 0 says that the packet cannot tell."""
        if all(first.size):
            return first.size
        if self._size is None:
            raise PeerError("a JPEG picture without a size")
        return self._size

    def lost(self) -> None:
        self._first = None
        self._scan.clear()

    def flush(self) -> list[Assembled]:
        self.lost()
        return []


def _read_tables(reader: Reader) -> Tables | None:
    """The quantization table header (§3.1.8); None if it says: as before."""
    reader.skip(1)
    precision, length = reader.u8(), reader.u16()
    if not length:
        return None
    data = Reader(reader.take(length))
    luma = bytes(data.take(jpeg_file.TABLE_BYTES << (precision & 1)))
    if not data.remaining:
        return luma, luma  # some cameras send one table for both
    return luma, bytes(data.take(jpeg_file.TABLE_BYTES << (precision >> 1 & 1)))


def _tables_of(first: _Piece) -> Tables:
    """Raises: PeerError if Q has no meaning, or its tables never came."""
    if first.tables:
        return first.tables
    if not 1 <= first.quality <= 99:
        raise PeerError(f"RTP JPEG without tables for Q {first.quality}")
    return jpeg_file.scaled_tables(first.quality)
