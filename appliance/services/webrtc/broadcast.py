"""What all viewers of one rendition share: packets made once, what was sent lately, the fan-out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from appliance.hub.rendition import Rendition
from appliance.hub.stream import Stream
from appliance.net.datagram_fanout import DatagramFanOut
from appliance.net.fanout import FanOutSettings
from appliance.net.supervisor import Supervisor
from appliance.wire.rtp.history import SendHistory
from appliance.wire.rtp.keyframe_requests import KeyframeRequests
from appliance.wire.rtp.outgoing import RtpChunk
from appliance.wire.rtp.packet import SEQUENCE_MASK
from appliance.wire.rtp.rtcp import FullIntra, PictureLoss
from appliance.wire.rtp.viewer_packets import ViewerPackets

_HALF = 0x8000


@dataclass(slots=True)
class Portion:
    """One chunk on its way to all viewers."""

    chunk: RtpChunk
    packets: ViewerPackets


class Broadcast:
    """One rendition's. It lasts as long as the rendition."""

    def __init__(self, stream: Stream, rendition: Rendition, settings: FanOutSettings) -> None:
        self.stream = stream
        self.rendition = rendition
        self.fanout = DatagramFanOut(rendition.ring, self._prepare, settings)
        self.keyframes = KeyframeRequests()
        self._histories: dict[int, SendHistory] = {}  # by the index of the track
        self._newest: dict[int, int] = {}  # which number of each was made last

    def history(self, index: int) -> SendHistory:
        return self._histories.setdefault(index, SendHistory())

    def ask(self, now_us: int) -> None:
        """Somebody has no keyframe to begin with."""
        if self.keyframes.ask(now_us):
            self.stream.request_keyframe()

    def receive(self, packet: PictureLoss | FullIntra, now_us: int) -> None:
        """Somebody's wish for a keyframe."""
        if self.keyframes.receive(packet, now_us):
            self.stream.request_keyframe()

    def tick(self, now_us: int) -> None:
        """The wish that waited."""
        if self.keyframes.take(now_us):
            self.stream.request_keyframe()

    def _prepare(self, chunk: Any) -> Portion:
        """Called again for what somebody is sent late."""
        assert isinstance(chunk, RtpChunk)
        portion = Portion(chunk, ViewerPackets(chunk))
        last = chunk.places[-1].sequence
        newest = self._newest.get(chunk.index)
        if newest is None or 0 < ((last - newest) & SEQUENCE_MASK) < _HALF:
            self._newest[chunk.index] = last
            self.history(chunk.index).add(portion.packets)
            if chunk.key:
                self.keyframes.keyframe()
        return portion


class Broadcasts:
    """By rendition; each is made with its first viewer, and goes when its rendition ends."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._by_ring: dict[int, Broadcast] = {}  # by identity; one per rendition

    def of(self, stream: Stream, rendition: Rendition, settings: FanOutSettings) -> Broadcast:
        found = self._by_ring.get(id(rendition.ring))
        if found is None:
            found = self._by_ring[id(rendition.ring)] = Broadcast(stream, rendition, settings)
            self._supervisor.spawn("webrtc fan-out", self._run(found))
        return found

    async def _run(self, broadcast: Broadcast) -> None:
        try:
            await broadcast.fanout.run()
        finally:
            self._by_ring.pop(id(broadcast.rendition.ring), None)

    def close(self) -> None:
        for broadcast in list(self._by_ring.values()):
            broadcast.fanout.close()
