"""H.264 in RTP, packetization modes 0 and 1, both ways (RFC 6184).

Not here: mode 2, interleaved (STAP-B, MTAP, FU-B); nothing sends it.
"""

from __future__ import annotations

from appliance.media.h264 import H264Config, ParameterSets, split_parameter_sets
from appliance.media.sps import NalSplit
from appliance.media.track import CodecConfig
from appliance.media.unit import Buffer
from appliance.wire.rtp.formats.nal_payloads import NalPacketizer
from appliance.wire.rtp.formats.nal_units import NalDepacketizer

_STAP_A = 24
_FU_A = 28
_KIND = 0x1F
_IMPORTANCE = 0x60  # nal_ref_idc
_START = 0x80


class H264Depacketizer(NalDepacketizer[H264Config]):
    """config: from the session description's sprop-parameter-sets, if it has them."""

    __slots__ = ()

    def __init__(self, config: H264Config | None = None) -> None:
        super().__init__(ParameterSets(config))

    def _take(self, payload: Buffer) -> None:
        first = payload[0]
        kind = first & _KIND
        if kind == _FU_A:
            if len(payload) < 2:
                self._spoil()
                return
            flags = payload[1]
            header = b""
            if flags & _START:
                header = bytes((first & 0xE0 | flags & _KIND,))
                self._middle = bytes((first, flags & _KIND))
            self._fragment(header, payload[2:], flags)
        elif self._fragments:
            self._spoil()
        elif kind == _STAP_A:
            self._take_aggregate(payload)
        elif 0 < kind < _STAP_A or payload[:3] == b"\0\0\1" or payload[:4] == b"\0\0\0\1":
            self._add(bytes(payload))
        else:
            self.ignored_payloads += 1

    def _take_aggregate(self, payload: Buffer) -> None:
        """§5.7.1: each NAL unit behind its two-byte size."""
        position, end = 1, len(payload)
        while position + 2 < end and not self._spoiled:
            start = position + 2
            position = start + (payload[position] << 8 | payload[position + 1])
            if position > end:
                self._spoil()
            elif position > start:
                self._add(bytes(payload[start:position]))

    def _is_picture(self, nal: bytes) -> bool:
        return 0 < nal[0] & _KIND < 6

    def _is_first_slice(self, nal: bytes) -> bool:
        """first_mb_in_slice is ue(v) 0: a set bit, at the start of every slice type."""
        return len(nal) > 1 and nal[1] >= 0x80

    def _split(self, nals: list[bytes]) -> NalSplit:
        return split_parameter_sets(nals)


class H264Packetizer(NalPacketizer):
    """For packetization mode 1. Key units carry their parameter sets; small ones are aggregated."""

    __slots__ = ()

    _header_bytes = 1

    def _sets(self, config: CodecConfig) -> tuple[bytes, ...]:
        return (*config.sps, *config.pps) if isinstance(config, H264Config) else ()

    def _aggregate_header(self, nals: list[Buffer]) -> bytes:
        """§5.7: the greatest importance of the units within."""
        importance = max(nal[0] & _IMPORTANCE for nal in nals)
        return bytes((importance | _STAP_A,))

    def _fragment_header(self, nal: Buffer, flags: int) -> bytes:
        """§5.8: indicator and FU header."""
        return bytes((nal[0] & 0xE0 | _FU_A, flags | nal[0] & _KIND))
