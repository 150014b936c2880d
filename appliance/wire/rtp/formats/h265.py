"""HEVC in RTP, single stream, both ways (RFC 7798).

Not here: decoding order numbers (sprop-max-don-diff above 0) and PACI; nothing sends them.
"""

from __future__ import annotations

from appliance.media.h265 import H265Config, ParameterSets, split_parameter_sets
from appliance.media.sps import NalSplit
from appliance.media.track import CodecConfig
from appliance.media.unit import Buffer
from appliance.wire.rtp.formats.nal_payloads import NalPacketizer
from appliance.wire.rtp.formats.nal_units import NalDepacketizer

_AGGREGATION = 48
_FRAGMENTATION = 49
_FIRST_NOT_SLICE = 32
_KIND = 0x3F  # of an FU header
_OTHERS = 0x81  # of a NAL unit's first byte: what is not its type
_START = 0x80


class H265Depacketizer(NalDepacketizer[H265Config]):
    """config: from the session description's sprop-vps, sprop-sps and sprop-pps, if it has them."""

    __slots__ = ()

    def __init__(self, config: H265Config | None = None) -> None:
        super().__init__(ParameterSets(config))

    def _take(self, payload: Buffer) -> None:
        kind = payload[0] >> 1 & 0x3F
        if kind == _FRAGMENTATION:
            self._take_fragment(payload)
        elif self._fragments:
            self._spoil()
        elif kind == _AGGREGATION:
            self._take_aggregate(payload)
        elif kind < _AGGREGATION and len(payload) > 2:
            self._add(bytes(payload))
        else:
            self.ignored_payloads += 1

    def _take_fragment(self, payload: Buffer) -> None:
        """§4.4.3."""
        if len(payload) < 3:
            self._spoil()
            return
        flags = payload[2]
        header = b""
        if flags & _START:
            header = bytes((payload[0] & _OTHERS | (flags & _KIND) << 1, payload[1]))
            self._middle = bytes((payload[0], payload[1], flags & _KIND))
        self._fragment(header, payload[3:], flags)

    def _take_aggregate(self, payload: Buffer) -> None:
        """§4.4.2: each NAL unit behind its two-byte size."""
        position, end = 2, len(payload)
        while position + 2 < end and not self._spoiled:
            start = position + 2
            position = start + (payload[position] << 8 | payload[position + 1])
            if position > end:
                self._spoil()
            elif position > start:
                self._add(bytes(payload[start:position]))

    def _is_picture(self, nal: bytes) -> bool:
        """A temporal id of 0 stands for no unit: that is the start code of a careless camera."""
        return len(nal) > 2 and nal[0] >> 1 & 0x3F < _FIRST_NOT_SLICE and nal[1] & 7 != 0

    def _is_first_slice(self, nal: bytes) -> bool:
        """first_slice_segment_in_pic_flag."""
        return len(nal) > 2 and nal[2] >= 0x80

    def _split(self, nals: list[bytes]) -> NalSplit:
        return split_parameter_sets(nals)


class H265Packetizer(NalPacketizer):
    """Key units carry their parameter sets; small ones are aggregated."""

    __slots__ = ()

    _header_bytes = 2

    def _sets(self, config: CodecConfig) -> tuple[bytes, ...]:
        if not isinstance(config, H265Config):
            return ()
        return (*config.vps, *config.sps, *config.pps)

    def _aggregate_header(self, nals: list[Buffer]) -> bytes:
        """§4.4.2: the lowest layer and temporal id of the units within."""
        layer = min((nal[0] & 1) << 5 | nal[1] >> 3 for nal in nals)
        temporal = min(nal[1] & 7 for nal in nals)
        return bytes((_AGGREGATION << 1 | layer >> 5, (layer & 0x1F) << 3 | temporal))

    def _fragment_header(self, nal: Buffer, flags: int) -> bytes:
        """§4.4.3: payload header and FU header."""
        kind = nal[0] >> 1 & 0x3F
        return bytes((nal[0] & _OTHERS | _FRAGMENTATION << 1, nal[1], flags | kind))
