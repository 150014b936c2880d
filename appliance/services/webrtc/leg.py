"""One track on its way to one viewer: headers, cipher, what is sent again, sender reports.

Theory of operation: the viewer's numbers are the track's plus an offset. What the viewer is not
sent (it fell behind, or sound that is over) leaves no gap: the offset moves by as much, and nothing
before can be asked for again. Loads OpenSSL.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from appliance.media.track import Kind
from appliance.wire.rtp.extensions import Extensions, HeaderForm
from appliance.wire.rtp.history import Answer, Retransmission, SendHistory
from appliance.wire.rtp.outgoing import Identity
from appliance.wire.rtp.packet import SEQUENCE_MASK
from appliance.wire.rtp.rtcp import SenderReport
from appliance.wire.rtp.rtx import RtxNumbering
from appliance.wire.rtp.sent_packets import SentPackets
from appliance.wire.rtp.viewer_packets import ViewerPackets
from appliance.wire.sdp.webrtc import AgreedSection
from appliance.wire.sdp.webrtc_offer import Extension
from appliance.wire.srtp.outbound import OutboundSession

MAX_FIRST_SEQUENCE = 0x7FFF  # a loss at the beginning must not hide that the number wrapped


@dataclass(slots=True)
class Beginning:
    """Random, of one leg (RFC 3550 §5.1): where its numbers and stamps begin."""

    sequence: int
    stamp_offset: int
    rtx_sequence: int


class Leg:
    """packets, payload_bytes: sent, as sender reports count them; what is sent again is none.

    index: of the track in the rendition.
    """

    __slots__ = (
        *("_first", "_form", "_next", "_rtx_form", "_rtx_mine", "_rtx_stream", "_sent", "_stream"),
        *("clock_rate_hz", "index", "kind", "mine", "packets", "payload_bytes", "retransmission"),
        *("rtx", "tag_bytes"),
    )

    def __init__(
        self,
        section: AgreedSection,
        index: int,
        clock_rate_hz: int,
        outbound: OutboundSession,
        sent: SentPackets,
        history: SendHistory,
        beginning: Beginning,
    ) -> None:
        sending = section.sending
        assert sending is not None, "of a section that we send in"
        self.index = index
        self.kind: Kind = section.kind
        self.clock_rate_hz = clock_rate_hz
        self.tag_bytes = outbound.tag_bytes
        self.mine = Identity(sending.ssrc, 0, beginning.stamp_offset)
        self.packets = self.payload_bytes = 0
        self.retransmission = Retransmission(history, 0)
        self.rtx: RtxNumbering | None = None
        self._sent = sent
        self._first = beginning.sequence
        self._next: int | None = None  # the track's number that this viewer is due
        self._stream = outbound.stream(sending.ssrc)
        rtx_payload_type = section.codec.rtx_payload_type
        extensions = _extensions(section, has_rtx=rtx_payload_type is not None)
        self._form = HeaderForm(section.codec.payload_type, extensions)
        if rtx_payload_type is not None:
            self.rtx = RtxNumbering(beginning.rtx_sequence)
            self._rtx_form = HeaderForm(rtx_payload_type, extensions)
            self._rtx_mine = Identity(sending.rtx_ssrc, 0, beginning.stamp_offset)
            self._rtx_stream = outbound.stream(sending.rtx_ssrc)

    @property
    def ssrc(self) -> int:
        return self.mine.ssrc

    @property
    def overhead_bytes(self) -> int:
        """Of each packet, besides its payload."""
        return self._form.size_bytes + self.tag_bytes

    def dress(self, packets: ViewerPackets, now_us: int) -> bytes:
        """The packets as this viewer is sent them, one behind the other. To be called once for
        each: an index of SRTP is never used twice."""
        self._align(packets)
        number = 0
        if self._form.has_transport_cc:
            number = self._sent.add(packets.sizes(self.overhead_bytes), now_us)
        headers = self._form.headers(packets.places, self.mine, number, now_us)
        first = self.mine.sequence(packets.places[0].sequence)
        return self._stream.protect(first, headers, packets.payloads)

    def _align(self, packets: ViewerPackets) -> None:
        first, count = packets.places[0].sequence, len(packets.places)
        if self._next is None:
            self.mine.sequence_offset = (self._first - first) & SEQUENCE_MASK
            self.retransmission.renumber(self.mine.sequence_offset)
        elif gap := (first - self._next) & SEQUENCE_MASK:
            self.mine.sequence_offset = (self.mine.sequence_offset - gap) & SEQUENCE_MASK
            self.retransmission.renumber(self.mine.sequence_offset)
        self._next = (first + count) & SEQUENCE_MASK

    def note_sent(self, packets: ViewerPackets) -> None:
        self.packets += len(packets.places)
        self.payload_bytes += packets.payload_bytes
        self.retransmission.note_sent(packets)

    def send_again(self, sequences: Iterable[int], round_trip_us: int, now_us: int) -> list[bytes]:
        """What was lost and may be sent again, as RTX or, for viewers without it, as it was."""
        answers = self.retransmission.answer(sequences, round_trip_us, now_us)
        if not answers:
            return []
        return self._wrap(answers, now_us) if self.rtx is not None else self._repeat(answers)

    def _wrap(self, answers: list[Answer], now_us: int) -> list[bytes]:
        assert self.rtx is not None
        first, form, stream = self.rtx.sequence, self._rtx_form, self._rtx_stream
        places, payloads = self.rtx.wrap(answers)
        overhead = form.size_bytes + self.tag_bytes
        number = 0
        if form.has_transport_cc:
            number = self._sent.add([len(payload) + overhead for payload in payloads], now_us)
        headers = form.headers(places, self._rtx_mine, number, now_us)
        return [
            stream.protect((first + step) & SEQUENCE_MASK, [header], [payload])
            for step, (header, payload) in enumerate(zip(headers, payloads, strict=True))
        ]

    def _repeat(self, answers: list[Answer]) -> list[bytes]:
        """The headers are those of the first time to the last bit: nothing in them counts."""
        places = [answer.packet.place for answer in answers]
        headers = self._form.headers(places, self.mine)
        return [
            self._stream.protect_again(answer.sequence, header, answer.packet.payload)
            for answer, header in zip(answers, headers, strict=True)
        ]

    def report(self, ntp: int, stamp: int) -> SenderReport:
        """stamp: on the track's own clock, of the moment `ntp`."""
        counts = self.packets, self.payload_bytes
        return SenderReport(self.ssrc, ntp, self.mine.timestamp(stamp), *counts)


def _extensions(section: AgreedSection, *, has_rtx: bool) -> Extensions:
    """Without RTX a packet must be the same when it is sent again, so nothing counts in it then."""
    ids = section.extensions
    return Extensions(
        transport_cc=ids.get(Extension.TRANSPORT_CC, 0) if has_rtx else 0,
        abs_send_time=ids.get(Extension.ABS_SEND_TIME, 0) if has_rtx else 0,
        playout_delay=ids.get(Extension.PLAYOUT_DELAY, 0),
        mid=ids.get(Extension.MID, 0) if len(section.mid) <= 16 else 0,
        mid_value=section.mid,
    )
