"""What one publisher sends, put together to units; what it is told of that. Loads OpenSSL."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

from appliance.errors import PeerError, StreamBusy
from appliance.hub.publisher import Publisher
from appliance.media.track import Kind, Track
from appliance.media.unit import AccessUnit
from appliance.services.webrtc.incoming import IncomingSection
from appliance.services.webrtc.media import Link
from appliance.wire.rtp.keyframe_requests import KeyframeRequests
from appliance.wire.rtp.packet import parse
from appliance.wire.rtp.rtcp import (
    Goodbye,
    PictureLoss,
    ReceiverReport,
    RtcpPacket,
    SenderReport,
    SourceDescription,
)
from appliance.wire.rtp.session_clock import SessionClock
from appliance.wire.rtp.twcc import ArrivalRecorder
from appliance.wire.sdp.webrtc import AgreedSection
from appliance.wire.srtp.outbound import OutboundSession

REPORT_US = 1_000_000
DESCRIBE_US = 2_000_000  # how long a track waits for the parameter sets of the others
SILENCE_US = 15_000_000  # without media, from the connection on
KEYFRAME_US = 4_000_000  # browsers make none by themselves; HLS cuts there, and others begin there
CNAME = "porthole"


class Publishing:
    """From the answer to the publisher until `close`, which gives the stream back."""

    def __init__(self, publisher: Publisher, sections: Sequence[AgreedSection]) -> None:
        """Raises: PeerError if the offer says of a codec what cannot be taken."""
        clock = SessionClock()
        self._publisher = publisher
        self._sections = [
            IncomingSection(section, number, clock) for number, section in enumerate(sections, 1)
        ]
        self._by_type = {kind: one for one in self._sections for kind in one.payload_types}
        self._pictures = [
            one
            for one, section in zip(self._sections, sections, strict=True)
            if section.kind is Kind.VIDEO
        ]
        self._ssrc = secrets.randbits(32)
        self._arrivals = ArrivalRecorder()
        self._keyframes = KeyframeRequests()
        self._described: list[Track] = []
        self._link: Link | None = None
        self._on_end: Callable[[str], object] | None = None
        self._newest_us = self._reported_us = self._key_us = 0
        self._first_us: int | None = None
        self._foreign_packets = 0
        self.received_bytes = self.sent_bytes = 0
        self.takes_packets = True
        self.hint = ""
        publisher.on_keyframe_request = self._ask_for_keyframe

    @property
    def lost_units(self) -> int:
        return sum(one.track.dropped_units for one in self._sections)

    @property
    def is_hurried(self) -> bool:
        return any(one.is_waiting for one in self._sections) or self._arrivals.due_us is not None

    def now_us(self) -> int:
        return self._publisher.stream.clock.monotonic_us()

    def begin(self, link: Link, outbound: OutboundSession, on_end: Callable[[str], object]) -> None:
        self._link, self._on_end = link, on_end
        self._newest_us = self._key_us = self.now_us()

    # -- what comes ----------------------------------------------------------------------------

    def packet(self, data: bytes, now_us: int) -> None:
        packet = parse(data)
        section = self._by_type.get(packet.payload_type)
        self.received_bytes += len(data)
        if section is None:
            self._foreign_packets += 1
            return
        section.receive(packet, data, self._arrivals, now_us)
        self._take(section, now_us)

    def control(self, packet: RtcpPacket, now_us: int) -> None:
        match packet:
            case SenderReport():
                for section in self._sections:
                    if section.ssrc == packet.ssrc:
                        section.track.reception.note_report(packet, now_us)
                        section.track.clock.note(packet)
            case Goodbye():
                self._end("the publisher said goodbye")

    def _take(self, section: IncomingSection, now_us: int) -> None:
        try:
            for unit in section.take(now_us):
                self._publish(unit, now_us)
        except (PeerError, StreamBusy) as error:
            self._end(str(error))
            return
        if section.take_loss() and section in self._pictures:
            self._ask_for_keyframe()
        if (nack := section.take_nack(self._ssrc, now_us)) is not None:
            self._tell(nack)
        if self._arrivals.due_us is not None and self._arrivals.due_us <= now_us:
            for feedback in self._arrivals.feedback(self._ssrc, section.ssrc or 0):
                self._tell(feedback)

    def _publish(self, unit: AccessUnit, now_us: int) -> None:
        """Raises: PeerError for what cannot be carried, StreamBusy once another one took over."""
        self._newest_us = now_us
        if unit.key and unit.track.kind is Kind.VIDEO:
            self._key_us = now_us
            self._keyframes.keyframe()
        if self._first_us is None:
            self._first_us = now_us
        known = [one.track.track for one in self._sections if one.track.track is not None]
        is_waiting = not self._described and now_us - self._first_us < DESCRIBE_US
        if is_waiting and len(known) < len(self._sections):
            return
        if len(known) != len(self._described) or any(
            new is not old for new, old in zip(known, self._described, strict=True)
        ):
            self._publisher.describe(known)
            self._described = known
        self._publisher.write(unit)

    # -- what we say ---------------------------------------------------------------------------

    def _ask_for_keyframe(self) -> None:
        if self._keyframes.ask(self.now_us()):
            self._tell_loss()

    def _tell_loss(self) -> None:
        for section in self._pictures:
            if section.ssrc is not None:
                self._tell(PictureLoss(self._ssrc, section.ssrc).pack())

    def _tell(self, packet: bytes) -> None:
        if self._link is not None:
            name = SourceDescription(self._ssrc, CNAME).pack()
            self._link.send_control(ReceiverReport(self._ssrc).pack() + name + packet)

    def tick(self, now_us: int) -> None:
        if self._link is None:
            return
        for section in self._sections:
            self._take(section, now_us)
        is_due = now_us - self._key_us >= KEYFRAME_US and self._publisher.stream.demand.viewers
        if is_due and self._keyframes.due_us is None:
            self._ask_for_keyframe()
        if self._keyframes.take(now_us):
            self._tell_loss()
        if now_us - self._reported_us >= REPORT_US:
            self._reported_us = now_us
            for section in self._sections:
                self._link.send_control(section.track.report(self._ssrc, CNAME, now_us))
        if self._publisher.revoked_by is not None:
            self._end("another publisher took over")
        elif now_us - self._newest_us > SILENCE_US:
            self._end("the publisher is silent")

    def _end(self, why: str) -> None:
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(why)

    def figures(self) -> dict[str, Any]:
        return {
            "lost_packets": sum(one.track.reorder.lost for one in self._sections),
            "asked_again": sum(one.asked for one in self._sections),
            "restored": sum(one.restored for one in self._sections),
            "keyframes_asked": self._keyframes.told,
            "foreign_packets": self._foreign_packets,
        }

    def close(self) -> None:
        self._on_end = None
        self._publisher.on_keyframe_request = None
        self._publisher.close()
