"""One track as it is received: datagrams in, access units out, and the reports in between.

Order, loss, statistics, clock, payload format and decoding times, put together once for all who
receive RTP. Whether it comes by TCP, UDP or multicast is told by `patience_us` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from appliance.errors import PeerError
from appliance.media.clock import US_PER_S
from appliance.media.h264 import H264Config
from appliance.media.h265 import H265Config
from appliance.media.track import CodecConfig, Track
from appliance.media.unit import AccessUnit, Buffer
from appliance.wire.rtp import rtcp
from appliance.wire.rtp.dts import DEFAULT_FRAME_US, DtsFinder
from appliance.wire.rtp.formats.contract import Assembled, Depacketizer
from appliance.wire.rtp.formats.nal_units import NalDepacketizer
from appliance.wire.rtp.packet import PacketRun, RtpPacket, parse
from appliance.wire.rtp.reception import Reception
from appliance.wire.rtp.reorder import Lost, Reorder
from appliance.wire.rtp.session_clock import TrackClock

MAX_KEY_WAIT_US = 10_000_000  # for streams of intra refresh, which have one key unit, the first
ADOPT_PACKETS = 16  # of one other payload type, with none of the announced one
MAX_CONTROLS = 16  # of one moment; against a read full of them, as each may have dozens of reports


class IncomingTrack:
    """Call `receive` for each datagram, `take` after each batch of them and when due.

    track_id: of the tracks it makes; a new one with the same id when the parameter sets change.
    track: the newest; None until parameter sets are known, by the session's description or in band.
    payload_type: as announced; cameras that send another one are followed.
    patience_us: how long a gap is waited for; 0 by TCP.
    keep_damaged: give out units whose references were lost; by default they are dropped until a key
        unit comes, or for MAX_KEY_WAIT_US.

    foreign_packets: of other payload types. faults: damaged packets and reports.
    dropped_units: damaged ones, and those before the parameter sets were known.
    """

    __slots__ = (
        "_control_us",
        "_controls",
        "_damaged_us",
        "_depacketizer",
        "_dts",
        "_fresh",
        "_gone_ssrc",
        "_keep_damaged",
        "_rival",
        "_rival_packets",
        "_runs",
        "clock",
        "dropped_units",
        "faults",
        "foreign_packets",
        "payload_type",
        "reception",
        "reorder",
        "track",
        "track_id",
    )

    def __init__(
        self,
        track_id: int,
        depacketizer: Depacketizer,
        clock: TrackClock,
        payload_type: int,
        *,
        patience_us: int,
        keep_damaged: bool = False,
    ) -> None:
        self.clock = clock
        self.payload_type = payload_type
        self.reorder = Reorder(patience_us)
        self.reception = Reception(clock.stamps.rate_hz)
        self.foreign_packets = self.faults = self.dropped_units = 0
        self._control_us = self._controls = 0  # the newest moment of RTCP, and how many came then
        self._gone_ssrc: int | None = None  # that said goodbye
        self._depacketizer = depacketizer
        self._runs: NalDepacketizer[Any] | None = None  # it again, if it takes runs
        if isinstance(depacketizer, NalDepacketizer):
            self._runs = depacketizer
        self._dts: DtsFinder | None = None
        self._keep_damaged = keep_damaged
        self._damaged_us: int | None = None  # since when units are damaged
        self._fresh = False  # the sender began another sequence before the next unit
        self._rival = -1  # a payload type that was not announced
        self._rival_packets = 0
        self.track_id = track_id
        self.track: Track | None = None
        if depacketizer.config is not None:
            self._describe(depacketizer.config)

    @property
    def due_us(self) -> int | None:
        """When `take` should be called even if nothing arrives."""
        return self.reorder.due_us

    @property
    def ended(self) -> bool:
        """The source said goodbye, and no other one took its place. What was sent before may still
        come, and some that say it go on all the same."""
        return self._gone_ssrc is not None and self._gone_ssrc == self.reception.ssrc

    def receive(self, data: Buffer, now_us: int) -> None:
        """One RTP packet. Its buffer must not change until its unit is complete."""
        try:
            packet = parse(data)
        except PeerError:
            self.faults += 1
            return
        if packet.payload_type != self.payload_type and not self._is_adopted(packet):
            self.foreign_packets += 1
            return
        self.reorder.push(packet, now_us)
        if packet.ssrc == self.reorder.ssrc:
            self.reception.note(packet, now_us)

    def receive_all(self, packets: Sequence[bytes], now_us: int) -> None:
        """As `receive` for each, at a fraction of the cost where pictures come in many packets."""
        at, end, takes_runs = 0, len(packets), self._runs is not None
        while at < end:
            run = self.reorder.push_run(packets, at, self.payload_type) if takes_runs else None
            if run is None:
                self.receive(packets[at], now_us)
                at += 1
            else:
                count = len(run.packets)
                self.reception.note(run, now_us, count)
                at += count

    def take(self, now_us: int) -> list[AccessUnit]:
        """The units complete by now, on the session's axis of time."""
        units: list[AccessUnit] = []
        for packet in self.reorder.take(now_us):
            if isinstance(packet, Lost):
                self._depacketizer.lost()
                if packet.restarted:
                    self.clock.restart()
                    self._fresh = True
                continue
            for unit in self._push(packet):
                self._give(unit, now_us, units)
        return units

    def _push(self, packet: RtpPacket | PacketRun) -> list[Assembled]:
        stamp = self.clock.stamps.unroll(packet.timestamp)
        try:
            if isinstance(packet, RtpPacket):
                return self._depacketizer.push(packet, stamp)
            return self._runs.push_run(packet, stamp) if self._runs else []
        except PeerError:
            self.faults += 1
            return []

    def finish(self, now_us: int) -> list[AccessUnit]:
        """What is left when nothing more will come."""
        units = self.take(now_us + self.reorder.patience_us)
        for unit in self._depacketizer.flush():
            self._give(unit, now_us, units)
        return units

    def receive_control(self, data: Buffer, now_us: int) -> None:
        """One RTCP compound that came on this track's channel or port."""
        if now_us != self._control_us:
            self._control_us, self._controls = now_us, 0
        self._controls += 1
        if self._controls > MAX_CONTROLS:
            self.faults += 1
            return
        try:
            packets = rtcp.parse(data)
        except PeerError:
            self.faults += 1
            return
        for packet in packets:
            match packet:
                case rtcp.SenderReport():  # whatever its SSRC: some cameras put another there
                    self.reception.note_report(packet, now_us)
                    self.clock.note(packet)
                case rtcp.Goodbye() if self.reception.ssrc in packet.ssrcs:
                    self._gone_ssrc = self.reception.ssrc

    def report(self, ssrc: int, cname: str, now_us: int) -> bytes:
        """A receiver report and who sends it, as RFC 3550 §6.1 wants them together."""
        block = self.reception.block(now_us)
        report = rtcp.ReceiverReport(ssrc, () if block is None else (block,))
        return report.pack() + rtcp.SourceDescription(ssrc, cname).pack()

    def _is_adopted(self, packet: RtpPacket) -> bool:
        """Whether the other payload type is the one this camera really means."""
        if self.reception.ssrc is not None:
            return False
        if packet.payload_type != self._rival:
            self._rival, self._rival_packets = packet.payload_type, 0
        self._rival_packets += 1
        if self._rival_packets < ADOPT_PACKETS:
            return False
        self.payload_type = packet.payload_type
        return True

    def _give(self, unit: Assembled, now_us: int, units: list[AccessUnit]) -> None:
        config = self._depacketizer.config if self._runs is None else unit.config
        if config is None or self._is_unfit(unit, now_us):
            self.dropped_units += 1
            return
        track = self.track
        if track is None or track.config is not config:
            track = self._describe(config)
        pts_us = self.clock.us(unit.stamp, now_us)
        dts_us = self._dts.dts_us(pts_us) if self._dts else pts_us
        fresh, self._fresh = self._fresh, False
        units.append(AccessUnit(track, dts_us, pts_us, unit.key, unit.parts, fresh))

    def _is_unfit(self, unit: Assembled, now_us: int) -> bool:
        if not unit.damaged:
            self._damaged_us = None
            return False
        if self._damaged_us is None:
            self._damaged_us = now_us
        return not self._keep_damaged and now_us - self._damaged_us < MAX_KEY_WAIT_US

    def _describe(self, config: CodecConfig) -> Track:
        """Decoding times of sound, and of video that is never reordered, are its own."""
        self.track = Track(self.track_id, config, self.clock.stamps.rate_hz)
        if not isinstance(config, H264Config | H265Config):
            self._dts = None
            return self.track
        frame_us = round(US_PER_S / config.fps) if config.fps else DEFAULT_FRAME_US
        if self._dts is None:
            self._dts = DtsFinder(config.max_reorder_frames, frame_us)
        else:
            self._dts.describe(config.max_reorder_frames, frame_us)
        return self.track
