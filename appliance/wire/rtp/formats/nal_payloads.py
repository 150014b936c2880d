"""What the payload formats of H.264 and HEVC share on the way out: NAL units to payloads."""

from __future__ import annotations

from abc import ABC, abstractmethod

from appliance.media.track import CodecConfig
from appliance.media.unit import AccessUnit, Buffer
from appliance.wire.rtp.formats.contract import DEFAULT_PAYLOAD_BYTES, Payload

_START, _END = 0x80, 0x40  # of an FU header
_SIZE_BYTES = 2  # before each NAL unit of an aggregate


class NalPacketizer(ABC):
    """The cutting; the codec writes the headers of aggregates and fragments.

    Fragments of one NAL unit are of equal size but for the last one, as UDP segmentation offload
    wants them.
    """

    __slots__ = ("_max_bytes",)

    _header_bytes: int  # of a NAL unit, which an aggregate has as well and a fragment replaces

    def __init__(self, max_bytes: int = DEFAULT_PAYLOAD_BYTES) -> None:
        self._max_bytes = max_bytes

    def payloads(self, unit: AccessUnit) -> list[Payload]:
        nals = unit.parts
        if unit.key:
            nals = (*self._sets(unit.track.config), *nals)
        payloads: list[Payload] = []
        small: list[Buffer] = []
        whole_room = room = self._max_bytes - self._header_bytes
        for nal in nals:
            size = _SIZE_BYTES + len(nal)
            if size > room:
                self._flush(small, payloads)
                room = whole_room
            if size > room:
                self._cut(nal, payloads)
            else:
                small.append(nal)
                room -= size
        self._flush(small, payloads)
        if payloads:
            payloads[-1].marker = True
        return payloads

    @abstractmethod
    def _sets(self, config: CodecConfig) -> tuple[bytes, ...]:
        """The parameter sets that go before a key unit."""

    @abstractmethod
    def _aggregate_header(self, nals: list[Buffer]) -> bytes: ...

    @abstractmethod
    def _fragment_header(self, nal: Buffer, flags: int) -> bytes: ...

    def _cut(self, nal: Buffer, payloads: list[Payload]) -> None:
        size = len(nal)
        if size <= self._max_bytes:
            payloads.append(Payload(bytes(nal), False))
            return
        view = memoryview(nal)
        header = self._fragment_header(nal, _START)
        middle = self._fragment_header(nal, 0)
        step = self._max_bytes - len(header)
        for start in range(self._header_bytes, size, step):
            end = start + step
            if end >= size:
                header = self._fragment_header(nal, _END)
            payloads.append(Payload(header + view[start:end], False))
            header = middle

    def _flush(self, small: list[Buffer], payloads: list[Payload]) -> None:
        if len(small) == 1:
            payloads.append(Payload(bytes(small[0]), False))
        elif small:
            pieces: list[Buffer] = [self._aggregate_header(small)]
            for nal in small:
                pieces += (len(nal).to_bytes(_SIZE_BYTES, "big"), nal)
            payloads.append(Payload(b"".join(pieces), False))
        small.clear()
