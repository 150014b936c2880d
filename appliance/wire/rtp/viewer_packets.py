"""One chunk's packets for viewers who each get headers and a cipher of their own, as in WebRTC.

The payloads are shared; where the kernel can cut one send into datagrams depends on how much each
viewer's packets have besides them.
"""

from __future__ import annotations

from collections.abc import Sequence

from appliance.wire.rtp.outgoing import FRAME_BYTES, Place, RtpChunk, Run, find_runs
from appliance.wire.rtp.packet import HEADER_BYTES


class ViewerPackets:
    """Made once per chunk.

    places: as the chunk has them. payloads: views of the chunk's bytes.
    """

    __slots__ = ("_runs", "index", "payload_bytes", "payloads", "places")

    def __init__(self, chunk: RtpChunk) -> None:
        view = memoryview(chunk.data)
        self.index = chunk.index
        self.places: Sequence[Place] = chunk.places
        self.payloads: tuple[memoryview, ...] = tuple(
            view[start + FRAME_BYTES + HEADER_BYTES : start + FRAME_BYTES + size]
            for start, size, *_ in chunk.places
        )
        self.payload_bytes = sum(map(len, self.payloads))
        self._runs: dict[int, tuple[Run, ...]] = {}  # by overhead, of which few are negotiated

    def runs(self, overhead_bytes: int) -> tuple[Run, ...]:
        """What one system call can send each, of the packets one behind the other.

        overhead_bytes: of each, besides its payload: header, extension and tag.
        """
        found = self._runs.get(overhead_bytes)
        if found is None:
            found = self._runs[overhead_bytes] = tuple(find_runs(self._spaced(overhead_bytes)))
        return found

    def sizes(self, overhead_bytes: int) -> list[int]:
        """Of each packet as it is sent."""
        return [len(payload) + overhead_bytes for payload in self.payloads]

    def _spaced(self, overhead_bytes: int) -> list[Place]:
        spaced: list[Place] = []
        start = 0
        for place, payload in zip(self.places, self.payloads, strict=True):
            size = len(payload) + overhead_bytes
            spaced.append(place._replace(offset=start, size=size))
            start += size
        return spaced
