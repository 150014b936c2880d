"""One section of a publisher: packets in, also those sent again; what is missing is asked for."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.media.unit import AccessUnit
from appliance.wire.rtp.extensions import parse_elements
from appliance.wire.rtp.incoming import IncomingTrack
from appliance.wire.rtp.missing import MissingPackets
from appliance.wire.rtp.packet import RtpPacket, header
from appliance.wire.rtp.rtcp import Nack
from appliance.wire.rtp.rtx import unwrap_rtx
from appliance.wire.rtp.session_clock import SessionClock
from appliance.wire.rtp.twcc import ArrivalRecorder
from appliance.wire.sdp.offers import format_of
from appliance.wire.sdp.webrtc import AgreedSection
from appliance.wire.sdp.webrtc_offer import Extension

PATIENCE_US = 250_000  # for what is sent again; later it is a gap
ROUND_TRIP_US = 60_000  # between two questions for the same packet


class IncomingSection:
    """track: what it is put together by. lost_packets: that nobody sent again in time."""

    __slots__ = (
        *("_codec", "_missing", "_seen_lost", "_ssrc", "_transport_id", "asked", "restored"),
        "track",
    )

    def __init__(self, section: AgreedSection, track_id: int, clock: SessionClock) -> None:
        """Raises: PeerError if what the section says of its codec cannot be taken."""
        self._codec = section.codec
        form = format_of(section.offered.media, section.codec.payload_type)
        self.track = IncomingTrack(
            track_id,
            form.depacketizer(),
            clock.track(form.clock_rate_hz),
            form.payload_type,
            patience_us=PATIENCE_US,
        )
        self.asked = self.restored = 0
        self._transport_id = section.extensions.get(Extension.TRANSPORT_CC, 0)
        has_nack = "nack" in section.feedback
        self._missing = MissingPackets(PATIENCE_US) if has_nack else None
        self._ssrc: int | None = None
        self._seen_lost = 0

    @property
    def ssrc(self) -> int | None:
        return self._ssrc

    @property
    def payload_types(self) -> Iterator[int]:
        yield self._codec.payload_type
        if self._codec.rtx_payload_type is not None:
            yield self._codec.rtx_payload_type

    @property
    def is_waiting(self) -> bool:
        """For packets that are missing."""
        return self.track.due_us is not None

    def receive(
        self, packet: RtpPacket, data: bytes, arrivals: ArrivalRecorder, now_us: int
    ) -> None:
        """data: the packet as it came. Raises: PeerError if it is damaged."""
        if self._transport_id:
            number = parse_elements(packet.extension).get(self._transport_id)
            if number is not None and len(number) == 2:
                arrivals.note(int.from_bytes(number, "big"), now_us)
        if packet.payload_type == self._codec.payload_type:
            self._ssrc = packet.ssrc
            self._note(packet.sequence, now_us)
            self.track.receive(data, now_us)
            return
        if self._ssrc is None:
            return
        again = unwrap_rtx(packet, self._codec.payload_type, self._ssrc)
        if again is None:
            return
        self.restored += 1
        self._note(again.sequence, now_us)
        head = header(again.payload_type, again.sequence, again.timestamp, again.ssrc, again.marker)
        self.track.receive(head + bytes(again.payload), now_us)

    def _note(self, sequence: int, now_us: int) -> None:
        if self._missing is not None:
            self._missing.note(sequence, now_us)

    def take(self, now_us: int) -> list[AccessUnit]:
        return self.track.take(now_us)

    def take_nack(self, our_ssrc: int, now_us: int) -> bytes | None:
        """What to ask for again now."""
        if self._missing is None or self._ssrc is None:
            return None
        wanted = self._missing.take(ROUND_TRIP_US, now_us)
        self.asked += len(wanted)
        return Nack(our_ssrc, self._ssrc, wanted).pack() if wanted else None

    def take_loss(self) -> bool:
        """Whether something is lost for good since the last time."""
        lost, before = self.track.reorder.lost, self._seen_lost
        self._seen_lost = lost
        is_wide = self._missing is not None and self._missing.overflowed
        if self._missing is not None:
            self._missing.overflowed = False
        return lost > before or is_wide
