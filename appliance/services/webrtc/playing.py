"""What one viewer is sent of a stream, and what it says about that. Loads OpenSSL."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.hub.stream import Stream
from appliance.media.clock import us_to_ticks
from appliance.media.track import Kind
from appliance.net.datagram_fanout import DatagramViewer
from appliance.net.fanout import End
from appliance.services.webrtc.broadcast import Broadcast, Portion
from appliance.services.webrtc.forms import WebRtcMuxer
from appliance.services.webrtc.leg import MAX_FIRST_SEQUENCE, Beginning, Leg
from appliance.services.webrtc.media import Link
from appliance.wire.rtp.bandwidth import Bandwidth
from appliance.wire.rtp.clock import unix_us_to_ntp
from appliance.wire.rtp.outgoing import RtpChunk, Run
from appliance.wire.rtp.round_trip import RoundTrip
from appliance.wire.rtp.rtcp import (
    FullIntra,
    Goodbye,
    Nack,
    PictureLoss,
    ReceiverReport,
    ReportBlock,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    Unknown,
)
from appliance.wire.rtp.sent_packets import SentPackets
from appliance.wire.rtp.twcc import read_feedback
from appliance.wire.sdp.rtp_muxer import carry
from appliance.wire.sdp.webrtc import AgreedSection
from appliance.wire.srtp.outbound import OutboundSession

REPORT_US = 1_000_000  # browsers need a report of each track before sound and picture go together
STALE_SOUND_US = 400_000  # pictures of the past are needed for those of now, sound is not
START_BPS, MIN_BPS, MAX_BPS = 2_000_000, 50_000, 50_000_000  # of the estimate


@dataclass(slots=True)
class _Unsent:
    """A chunk of which the socket did not take all."""

    chunk: RtpChunk
    data: bytes
    runs: deque[Run]


class Playing:
    """From the answer to the viewer until `close`. sections: those that we send in.

    It counts as a viewer from the beginning, so that sound is encoded by the time it is needed.
    """

    __slots__ = (
        *("_broadcast", "_cname", "_is_closed", "_legs", "_link", "_name", "_reported_us"),
        *("_round_trip", "_sections", "_sent", "_stream", "_unsent", "_viewer", "bandwidth"),
    )

    def __init__(self, broadcast: Broadcast, sections: Sequence[AgreedSection]) -> None:
        self._broadcast = broadcast
        self._stream: Stream = broadcast.stream
        self._sections = sections
        self._link: Link | None = None
        self._legs: dict[int, Leg] = {}  # by the index of the track
        self._viewer: DatagramViewer | None = None
        self._unsent: _Unsent | None = None
        self._sent = SentPackets()
        self._round_trip = RoundTrip()
        self._reported_us = 0
        self._cname = secrets.token_hex(4)
        self._is_closed = False
        self.bandwidth = Bandwidth(START_BPS, MIN_BPS, MAX_BPS)
        broadcast.rendition.demand.join()

    @property
    def takes_packets(self) -> bool:
        return False

    @property
    def is_hurried(self) -> bool:
        return False

    @property
    def received_bytes(self) -> int:
        return 0

    @property
    def hint(self) -> str:
        return "the camera sends B-frames" if self.dropped_units else ""

    def packet(self, data: bytes, now_us: int) -> None:
        """Nothing is taken."""

    @property
    def lost_units(self) -> int:
        return self._viewer.lost_units if self._viewer is not None else 0

    @property
    def sent_bytes(self) -> int:
        return self._viewer.sent_bytes if self._viewer is not None else 0

    def begin(self, link: Link, outbound: OutboundSession, on_end: Callable[[str], object]) -> None:
        """From the newest keyframe on. on_end: called once if the stream ends, or has."""
        self._link = link
        if self._broadcast.rendition.ring.closed:
            on_end(End.STREAM.value)
            return
        for section in self._sections:
            leg = self._make_leg(section, outbound)
            if leg is not None:
                self._legs[leg.index] = leg
        self.report()
        broadcast = self._broadcast
        place = broadcast.stream.place_to_join(broadcast.rendition.ring)
        self._viewer = broadcast.fanout.add(self._send, place)
        self._viewer.on_end = lambda end: on_end(end.value)
        if self._viewer.needs_key:
            self._broadcast.ask(self.now_us())

    def _make_leg(self, section: AgreedSection, outbound: OutboundSession) -> Leg | None:
        """None if the track has gone since."""
        sending = section.sending
        assert sending is not None, "Playing has sections that we send in"
        for index, one in enumerate(carry(self._broadcast.rendition.tracks)):
            if one.track.id == sending.track.id:
                history = self._broadcast.history(index)
                beginning = Beginning(
                    secrets.randbelow(MAX_FIRST_SEQUENCE),
                    secrets.randbits(32),
                    secrets.randbelow(MAX_FIRST_SEQUENCE),
                )
                rate_hz = one.clock_rate_hz
                return Leg(section, index, rate_hz, outbound, self._sent, history, beginning)
        return None

    def now_us(self) -> int:
        return self._stream.clock.monotonic_us()

    # -- media ---------------------------------------------------------------------------------

    def _send(self, portion: Portion) -> None:
        """What the fan-out calls. Raises: BlockingIOError, to be called again; OSError."""
        packets = portion.packets
        leg, link = self._legs.get(packets.index), self._link
        if leg is None or link is None or self._is_stale(leg, portion.chunk):
            return
        unsent = self._unsent
        if unsent is None or unsent.chunk is not portion.chunk:
            data = leg.dress(packets, self.now_us())
            unsent = _Unsent(portion.chunk, data, deque(packets.runs(leg.overhead_bytes)))
            self._unsent = unsent
            leg.note_sent(packets)
        while unsent.runs:
            link.send_cut(unsent.data, unsent.runs[0])
            unsent.runs.popleft()
        self._unsent = None

    def _is_stale(self, leg: Leg, chunk: RtpChunk) -> bool:
        if leg.kind is not Kind.AUDIO:
            return False
        return chunk.dts_us < (self._stream.newest_dts_us or 0) - STALE_SOUND_US

    # -- what the viewer says ------------------------------------------------------------------

    def control(self, packet: RtcpPacket, now_us: int) -> None:
        match packet:
            case Nack():
                self._send_again(packet, now_us)
            case PictureLoss() | FullIntra():
                if self._leg_of(packet.media_ssrc) is not None:
                    self._broadcast.receive(packet, now_us)
            case ReceiverReport() | SenderReport():
                for block in packet.blocks:
                    self._note(block)
            case Unknown():
                feedback = read_feedback(packet)
                if feedback is not None:
                    self.bandwidth.note_feedback(self._sent.resolve(feedback), now_us)

    def _send_again(self, nack: Nack, now_us: int) -> None:
        leg, link = self._leg_of(nack.media_ssrc), self._link
        if leg is None or link is None:
            return
        for packet in leg.send_again(nack.sequences, self._round_trip.us, now_us):
            link.send(packet)

    def _leg_of(self, ssrc: int) -> Leg | None:
        return next((leg for leg in self._legs.values() if leg.ssrc == ssrc), None)

    def _note(self, block: ReportBlock) -> None:
        if self._leg_of(block.ssrc) is not None:
            self._round_trip.note(block, unix_us_to_ntp(self._stream.clock.unix_us()))

    # -- what we say ---------------------------------------------------------------------------

    def tick(self, now_us: int) -> None:
        self._broadcast.tick(now_us)
        if self._link is not None and now_us - self._reported_us >= REPORT_US:
            self.report()

    def report(self) -> None:
        """Tells of every track which stamp belongs to now (RFC 3550 §6.4.1)."""
        self._reported_us = self.now_us()
        anchor = self._stream.anchor
        if anchor is None:
            return
        unix_us = self._stream.clock.unix_us()
        media_us, ntp = anchor.dts_us + unix_us - anchor.unix_us, unix_us_to_ntp(unix_us)
        for leg in self._legs.values():
            report = leg.report(ntp, us_to_ticks(media_us, leg.clock_rate_hz))
            self._send_control(report.pack(), leg)

    def _send_control(self, report: bytes, leg: Leg, last: bytes = b"") -> None:
        if self._link is not None:
            name = SourceDescription(leg.ssrc, self._cname).pack()
            self._link.send_control(report + name + last)

    @property
    def dropped_units(self) -> int:
        """Of the stream, as browsers cannot show them."""
        muxer = self._broadcast.rendition.muxer
        return muxer.dropped_units if isinstance(muxer, WebRtcMuxer) else 0

    def figures(self) -> dict[str, Any]:
        """For the API."""
        legs = self._legs.values()
        return {
            "round_trip_us": self._round_trip.us,
            "estimate_bps": self.bandwidth.target_bps,
            "packets": sum(leg.packets for leg in legs),
            "nacked": sum(leg.retransmission.asked for leg in legs),
            "sent_again": sum(leg.retransmission.answered for leg in legs),
            "b_frames_dropped": self.dropped_units,
        }

    def close(self) -> None:
        """Says goodbye. Safe to call again."""
        if self._is_closed:
            return
        self._is_closed = True
        self._broadcast.rendition.demand.leave()
        if self._viewer is not None:
            self._viewer.on_end = None
            self._broadcast.fanout.remove(self._viewer)
        for leg in self._legs.values():
            report = ReceiverReport(leg.ssrc).pack()  # a compound begins with a report
            self._send_control(report, leg, Goodbye((leg.ssrc,)).pack())
