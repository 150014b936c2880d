"""AAC in MP4A-LATM (RFC 6416 §7.3), receiving.

A packet has whole AudioMuxElements, or a piece of one of which the last carries the marker.
"""

from __future__ import annotations

from appliance.errors import PeerError
from appliance.media.aac import AacConfig
from appliance.media.bits import BitReader
from appliance.media.track import CodecConfig
from appliance.wire.rtp.formats.contract import Assembled
from appliance.wire.rtp.formats.stream_mux import StreamMux, parse_stream_mux
from appliance.wire.rtp.packet import RtpPacket

MAX_ELEMENT_BYTES = 131_072  # 64 frames of 2 KiB
MAX_ELEMENTS = 64  # in one packet; against one of empty ones
_MAX_HEAD_BYTES = 1024  # of a StreamMuxConfig with the greatest AudioSpecificConfig


class LatmDepacketizer:
    """mux: from ``config=`` of the session description; None: it comes in band.

    has_mux: cpresent; each element begins by saying whether a configuration comes.
    """

    def __init__(self, mux: StreamMux | None, clock_rate_hz: int, *, has_mux: bool) -> None:
        if mux is None and not has_mux:
            raise PeerError("LATM without a configuration, in band or out of it")
        self._mux = mux
        self._has_mux = has_mux
        self._clock_rate_hz = clock_rate_hz
        self._pending = bytearray()  # of one element, at most MAX_ELEMENT_BYTES
        self._stamp = 0
        self._is_gap = False
        self._config: AacConfig | None = mux.config if mux else None

    @property
    def config(self) -> CodecConfig | None:
        return self._config

    def push(self, packet: RtpPacket, stamp: int) -> list[Assembled]:
        if self._pending and stamp != self._stamp:
            self._pending.clear()  # its end was announced by nothing: a sender that died
        if self._is_gap:
            self._is_gap = not packet.marker
            return []
        if len(self._pending) + len(packet.payload) > MAX_ELEMENT_BYTES:
            self.lost()
            raise PeerError(f"an AudioMuxElement of more than {MAX_ELEMENT_BYTES} bytes")
        self._stamp = stamp
        self._pending += packet.payload
        if not packet.marker:
            return []
        element = bytes(self._pending)
        self._pending.clear()
        return self._split(element, stamp)

    def _split(self, data: bytes, stamp: int) -> list[Assembled]:
        """The frames of one or more elements."""
        units: list[Assembled] = []
        position = 0  # in bytes: elements are byte-aligned (ByteAlign, §1.7.3.1)
        for _ in range(MAX_ELEMENTS):
            if position >= len(data):
                return units
            frames, position = self._read_element(data, position)
            config = self._config
            if config is None:
                return units
            duration = config.frame_samples * self._clock_rate_hz // config.sample_rate_hz
            units += [
                Assembled(stamp + (len(units) + index) * duration, (frame,), True, duration)
                for index, frame in enumerate(frames)
            ]
        if position < len(data):
            raise PeerError(f"more than {MAX_ELEMENTS} AudioMuxElements in a packet")
        return units

    def _read_element(self, data: bytes, position: int) -> tuple[list[bytes], int]:
        """Its frames and where the next one begins. A frame is rarely byte-aligned."""
        at = position * 8
        if self._has_mux:
            head = BitReader(data[position : position + _MAX_HEAD_BYTES])
            if not head.flag():
                self._take_mux(parse_stream_mux(head))
            at += head.position
        mux = self._mux
        if mux is None:
            return [], len(data)
        frames: list[bytes] = []
        for _ in range(mux.subframes):
            length, at = _read_length(data, at)
            if length:
                frames.append(_slice(data, at, length))
            at += length * 8
        return frames, (at + mux.other_data_bits + 7) // 8

    def _take_mux(self, mux: StreamMux) -> None:
        if mux != self._mux:
            self._mux = mux
            self._config = mux.config if mux.config != self._config else self._config

    def lost(self) -> None:
        self._pending.clear()
        self._is_gap = True

    def flush(self) -> list[Assembled]:
        self._pending.clear()
        return []


def _read_length(data: bytes, at: int) -> tuple[int, int]:
    """PayloadLengthInfo (§1.7.3.1) at a bit: the sum of bytes up to one that is not 255."""
    length = 0
    first = at // 8
    bits = at % 8
    for index in range(first, len(data) - (1 if bits else 0)):
        byte = (int.from_bytes(data[index : index + 2].ljust(2, b"\0"), "big") << bits) >> 8 & 0xFF
        at += 8
        length += byte
        if byte != 0xFF:
            return length, at
    raise PeerError("a LATM length that passes its end")


def _slice(data: bytes, at: int, length: int) -> bytes:
    """`length` bytes from a bit on."""
    end = at + length * 8
    if end > len(data) * 8:
        raise PeerError(f"a LATM frame of {length} bytes that passes its end")
    if not at % 8:
        return data[at // 8 : end // 8]
    shifted = int.from_bytes(data[at // 8 : end // 8 + 1], "big") >> (8 - at % 8)
    return (shifted & ((1 << length * 8) - 1)).to_bytes(length, "big")
