"""Our end of one WebRTC session on one UDP port, of the sans-IO cores alone, with a lossy path.

It plays a clip again and again, or takes what a peer publishes. What a service does with many
sessions is none of its business.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from appliance.errors import PeerError
from appliance.media.clock import us_to_ticks
from appliance.media.unit import AccessUnit
from appliance.wire.dtls.certificate import make_certificate
from appliance.wire.dtls.context import make_context
from appliance.wire.dtls.server import DtlsServer, DtlsState
from appliance.wire.ice.agent import Remote
from appliance.wire.ice.candidate import host_candidates
from appliance.wire.ice.credentials import Credentials
from appliance.wire.ice.demux import PacketKind, packet_kind
from appliance.wire.ice.directory import IceDirectory
from appliance.wire.rtp import rtcp
from appliance.wire.rtp.bandwidth import Bandwidth
from appliance.wire.rtp.clock import unix_us_to_ntp
from appliance.wire.rtp.extensions import Extensions, HeaderForm, parse_elements
from appliance.wire.rtp.formats.h264 import H264Depacketizer, H264Packetizer
from appliance.wire.rtp.history import Retransmission, SendHistory
from appliance.wire.rtp.keyframe_requests import KeyframeRequests
from appliance.wire.rtp.missing import MissingPackets
from appliance.wire.rtp.outgoing import Identity, RtpChunk, frame_payloads
from appliance.wire.rtp.packet import is_rtcp, parse
from appliance.wire.rtp.reorder import Lost, Reorder
from appliance.wire.rtp.rtx import RtxNumbering, unwrap_rtx
from appliance.wire.rtp.sent_packets import SentPackets
from appliance.wire.rtp.twcc import ArrivalRecorder, read_feedback
from appliance.wire.rtp.viewer_packets import ViewerPackets
from appliance.wire.sdp.webrtc import (
    AgreedSection,
    LocalTransport,
    Sending,
    answer_player,
    answer_publisher,
)
from appliance.wire.sdp.webrtc_offer import Extension, parse_offer
from appliance.wire.srtp.inbound import InboundSession
from appliance.wire.srtp.outbound import OutboundSession
from appliance.wire.srtp.profile import SrtpProfile

SSRC, RTX_SSRC, OUR_SSRC = 1111, 1112, 3333
ROUND_TRIP_US = 20_000


def now_us() -> int:
    return time.monotonic_ns() // 1000


@dataclass
class Secured:
    """Once the handshake is over."""

    outbound: OutboundSession
    inbound: InboundSession


class WebRtcEnd(asyncio.DatagramProtocol):
    """loss: of media packets, either way, as a share."""

    def __init__(self, profiles: Sequence[SrtpProfile], loss: float) -> None:
        self.certificate = make_certificate()
        self.context = make_context(self.certificate, profiles)
        self.directory = IceDirectory()
        self.loss, self.rng = loss, random.Random(1)
        self.remote: Remote | None = None
        self.dtls: DtlsServer | None = None
        self.secured: Secured | None = None
        self.faults: list[str] = []
        self.media: Playing | Taking | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def answer(self, text: str, sending: Sending | None) -> tuple[str, AgreedSection]:
        """To an offer with a video in it."""
        parsed = parse_offer(text)
        port = self.transport.get_extra_info("sockname")[1]
        credentials = Credentials("ourF", "ourPassword0123456789ab")
        self.directory.add(credentials, now_us())
        candidates = tuple(host_candidates(["127.0.0.1"], port, None))
        local = LocalTransport(credentials, self.certificate.fingerprint, candidates)
        if sending is None:
            answer = answer_publisher(parsed, local, session_id=1)
        else:
            answer = answer_player(parsed, local, [sending], session_id=1, name="live/camera")
        self.dtls = DtlsServer(self.context, parsed.fingerprints, now_us())
        [video] = [section for section in answer.sections if section.kind == "video"]
        return answer.session.pack().decode(), video

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        remote = Remote(*address)
        if packet_kind(data) is PacketKind.STUN:
            checked = self.directory.receive(data, remote, now_us())
            if checked:
                self.transport.sendto(checked.answer, address)
                self.remote = remote if checked.is_moved else self.remote
        elif self.directory.agent_of(remote) is not None:
            self.remote = self.remote or remote  # its hello may come before it names the path
            try:
                self._receive(data)
            except PeerError as error:
                self.faults.append(str(error))

    def _receive(self, data: bytes) -> None:
        assert self.dtls is not None
        if packet_kind(data) is PacketKind.DTLS:
            try:
                self.dtls.receive(data, now_us())
            finally:
                self.flush()
            if self.dtls.keys is not None and self.secured is None:
                keys = self.dtls.keys
                self.secured = Secured(OutboundSession(keys.local), InboundSession(keys.remote))
        elif self.secured is None or self.media is None:
            self.faults.append("media before keys")
        elif is_rtcp(data):
            for packet in rtcp.parse(self.secured.inbound.open_control(data)):
                self.media.control(packet)
        elif self.rng.random() >= self.loss:
            self.media.packet(self.secured.inbound.open(data))

    def flush(self) -> None:
        assert self.dtls is not None
        for datagram in self.dtls.take_datagrams():
            self.send(datagram)

    def send(self, datagram: bytes | memoryview) -> None:
        assert self.remote is not None
        self.transport.sendto(datagram, self.remote[:2])

    def send_control(self, *packets: bytes) -> None:
        if self.secured is not None:
            compound = b"".join((*packets, rtcp.SourceDescription(OUR_SSRC, "us").pack()))
            self.send(self.secured.outbound.protect_control(compound))

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            if self.dtls is not None and self.dtls.state is DtlsState.HANDSHAKE and self.remote:
                self.dtls.tick(now_us())
                self.flush()
            if self.secured is not None and self.media is not None:
                self.media.tick()
            await asyncio.sleep(0.005)


class Playing:
    """The clip, in real time, as one viewer sees it."""

    def __init__(self, end: WebRtcEnd, section: AgreedSection, units: list[AccessUnit]) -> None:
        assert section.codec.rtx_payload_type is not None
        ids = section.extensions
        extensions = Extensions(
            transport_cc=ids[Extension.TRANSPORT_CC],
            abs_send_time=ids[Extension.ABS_SEND_TIME],
            playout_delay=ids[Extension.PLAYOUT_DELAY],
            mid=ids[Extension.MID],
            mid_value=section.mid,
        )
        self.end, self.units = end, units
        self.form = HeaderForm(section.codec.payload_type, extensions)
        self.rtx_form = HeaderForm(section.codec.rtx_payload_type, extensions)
        self.mine, self.rtx_mine = Identity(SSRC, 65_500, 7), Identity(RTX_SSRC, 0, 7)
        self.history = SendHistory()
        self.retransmission = Retransmission(self.history, self.mine.sequence_offset)
        self.rtx, self.sent = RtxNumbering(0), SentPackets()
        self.bandwidth = Bandwidth(1_000_000, 100_000, 8_000_000)
        self.keyframes = KeyframeRequests()
        self.packetizer = H264Packetizer(1200)
        self.sequence = self.at = 0
        self.next_us = 0
        self.lost = 0
        self.is_key_wanted = True

    def tick(self) -> None:
        if now_us() >= self.next_us:
            self.next_us = max(self.next_us, now_us() - 100_000) + 33_333
            self._send_unit()
        if self.keyframes.take(now_us()):
            self.is_key_wanted = True

    def packet(self, packet: bytes) -> None:
        raise PeerError("a player that sends")

    def control(self, packet: rtcp.RtcpPacket) -> None:
        match packet:
            case rtcp.Nack():
                self._send_again(packet)
            case rtcp.PictureLoss() | rtcp.FullIntra():
                self.is_key_wanted |= self.keyframes.receive(packet, now_us())
            case rtcp.Unknown():
                if feedback := read_feedback(packet):
                    self.bandwidth.note_feedback(self.sent.resolve(feedback), now_us())

    def _send_unit(self) -> None:
        if self.is_key_wanted:
            self.at, self.is_key_wanted = 0, False
            self.keyframes.keyframe()
        unit = self.units[self.at % len(self.units)]
        self.at += 1
        stamp = us_to_ticks(now_us(), 90_000)
        data, places = frame_payloads(self.packetizer.payloads(unit), 0, self.sequence, stamp)
        packets = ViewerPackets(RtpChunk(data, 0, 0, unit.key, places=places))
        self.sequence = self.sequence + len(places) & 0xFFFF
        self.history.add(packets)
        self._send(packets)
        self.retransmission.note_sent(packets)
        if self.at % 30 == 1:
            report = rtcp.SenderReport(
                SSRC, unix_us_to_ntp(time.time_ns() // 1000), self.mine.timestamp(stamp), 0, 0
            )
            self.end.send_control(report.pack())

    def _send(self, packets: ViewerPackets) -> None:
        """Cut apart as the kernel would; some of it never leaves."""
        assert self.end.secured is not None
        outbound = self.end.secured.outbound
        overhead = self.form.size_bytes + outbound.tag_bytes
        transport = self.sent.add(packets.sizes(overhead), now_us())
        headers = self.form.headers(packets.places, self.mine, transport, now_us())
        first = self.mine.sequence(packets.places[0].sequence)
        data = memoryview(outbound.stream(SSRC).protect(first, headers, packets.payloads))
        for start, end, size in packets.runs(overhead):
            for at in range(start, end, size):
                if self.end.rng.random() < self.end.loss:
                    self.lost += 1
                else:
                    self.end.send(data[at : min(at + size, end)])

    def _send_again(self, nack: rtcp.Nack) -> None:
        assert self.end.secured is not None
        outbound, first = self.end.secured.outbound, self.rtx.sequence
        answers = self.retransmission.answer(nack.sequences, ROUND_TRIP_US, now_us())
        places, payloads = self.rtx.wrap(answers)
        overhead = self.rtx_form.size_bytes + outbound.tag_bytes
        sizes = [len(payload) + overhead for payload in payloads]
        transport = self.sent.add(sizes, now_us()) if sizes else 0
        headers = self.rtx_form.headers(places, self.rtx_mine, transport, now_us())
        stream = outbound.stream(RTX_SSRC)
        for step, (header, payload) in enumerate(zip(headers, payloads, strict=True)):
            self.end.send(stream.protect(first + step & 0xFFFF, [header], [payload]))


@dataclass
class Taking:
    """What a browser publishes, in order and whole; orientation and the rest are passed over."""

    end: WebRtcEnd
    section: AgreedSection
    units: int = 0
    keys: int = 0
    lost: int = 0
    restored: int = 0
    asked_again: int = 0
    feedbacks: int = 0
    reorder: Reorder = field(default_factory=lambda: Reorder(300_000))
    missing: MissingPackets = field(default_factory=lambda: MissingPackets(300_000))
    arrivals: ArrivalRecorder = field(default_factory=ArrivalRecorder)
    keyframes: KeyframeRequests = field(default_factory=KeyframeRequests)
    depacketizer: H264Depacketizer = field(default_factory=H264Depacketizer)
    ssrc: int = 0

    def control(self, packet: rtcp.RtcpPacket) -> None:
        pass

    def packet(self, data: bytes) -> None:
        packet = parse(data)
        elements = parse_elements(packet.extension)
        if number := elements.get(self.section.extensions[Extension.TRANSPORT_CC]):
            self.arrivals.note(int.from_bytes(number, "big"), now_us())
        codec = self.section.codec
        if packet.payload_type == codec.rtx_payload_type:
            original = unwrap_rtx(packet, codec.payload_type, self.ssrc)
            if original is None:
                return
            self.restored += 1
            packet = original
        elif packet.payload_type == codec.payload_type:
            self.ssrc = packet.ssrc
        else:
            return
        self.missing.note(packet.sequence, now_us())
        self.reorder.push(packet, now_us())

    def tick(self) -> None:
        for packet in self.reorder.take(now_us()):
            if isinstance(packet, Lost):
                self.lost += packet.packets
                self.depacketizer.lost()
                self.ask_for_key()
                continue
            for unit in self.depacketizer.push(packet, packet.timestamp):
                self.units += 1
                self.keys += unit.key
        if wanted := self.missing.take(ROUND_TRIP_US, now_us()):
            self.asked_again += len(wanted)
            self._tell(rtcp.Nack(OUR_SSRC, self.ssrc, wanted).pack())
        if self.arrivals.due_us is not None and self.arrivals.due_us <= now_us():
            for feedback in self.arrivals.feedback(OUR_SSRC, self.ssrc):
                self.feedbacks += 1
                self._tell(feedback)

    def ask_for_key(self) -> None:
        if self.keyframes.ask(now_us()):
            self._tell(rtcp.PictureLoss(OUR_SSRC, self.ssrc).pack())

    def _tell(self, packet: bytes) -> None:
        self.end.send_control(rtcp.ReceiverReport(OUR_SSRC).pack(), packet)
