"""What was sent lately, for whoever lost it: kept once per track, answered per viewer.

NACK is RFC 4585 §6.2.1; how the answers travel is `rtx`'s. Answers are bounded twice, as a single
NACK can name thousands of packets: none goes out again within a round trip, and all of them
together stay a fraction of the media.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from appliance.media.unit import Buffer
from appliance.wire.rtp.outgoing import Place
from appliance.wire.rtp.packet import SEQUENCE_MASK
from appliance.wire.rtp.viewer_packets import ViewerPackets

MAX_PACKETS = 512  # a power of two; half a second of 8 Mbps
MIN_AGAIN_US = 20_000  # between two answers for one packet, however short the round trip is
SHARE = 5  # of the media's bytes, one in so many may be sent again
MAX_CREDIT_BYTES = 256 * 1024  # saved up while nothing was lost; a burst of a picture or two
FIRST_CREDIT_BYTES = 32 * 1024


@dataclass(slots=True)
class SentPacket:
    """place: with the track's own sequence number, which is no viewer's."""

    place: Place
    payload: Buffer


class SendHistory:
    """The newest packets of one track, in the order of their sequence numbers."""

    __slots__ = ("_packets",)

    def __init__(self) -> None:
        self._packets: list[SentPacket | None] = [None] * MAX_PACKETS

    def add(self, packets: ViewerPackets) -> None:
        kept = self._packets
        for place, payload in zip(packets.places, packets.payloads, strict=True):
            kept[place.sequence % MAX_PACKETS] = SentPacket(place, payload)

    def find(self, sequence: int) -> SentPacket | None:
        """By the track's own number."""
        packet = self._packets[sequence % MAX_PACKETS]
        return packet if packet is not None and packet.place.sequence == sequence else None


@dataclass(slots=True)
class Answer:
    """sequence: the viewer's own number of the packet."""

    sequence: int
    packet: SentPacket


class Retransmission:
    """One viewer of one track. The viewer's numbers are the track's plus `sequence_offset`.

    asked, answered, refused: packets; refused is what was sent again a moment ago, is not kept any
    more, or is beyond the share.
    """

    __slots__ = (
        "_again_us",
        "_credit_bytes",
        "_history",
        "_next",
        "_span_packets",
        "answered",
        "asked",
        "refused",
        "sequence_offset",
    )

    def __init__(self, history: SendHistory, sequence_offset: int) -> None:
        self._history = history
        self.sequence_offset = sequence_offset
        self._credit_bytes = FIRST_CREDIT_BYTES
        self._next = 0  # the track's number after the last one sent to this viewer
        self._span_packets = 0  # how many before it the viewer was sent under today's offset
        self._again_us: dict[int, int] = {}  # by the track's number; at most MAX_PACKETS of them
        self.asked = self.answered = self.refused = 0

    def note_sent(self, packets: ViewerPackets) -> None:
        """These went out for the first time."""
        if not packets.places:
            return
        self._next = (packets.places[-1].sequence + 1) & SEQUENCE_MASK
        self._span_packets = min(self._span_packets + len(packets.places), MAX_PACKETS)
        credit_bytes = self._credit_bytes + packets.payload_bytes // SHARE
        self._credit_bytes = min(credit_bytes, MAX_CREDIT_BYTES)

    def renumber(self, sequence_offset: int) -> None:
        """The viewer skipped some of the track: what it had before cannot be told any more."""
        self.sequence_offset = sequence_offset
        self._span_packets = 0
        self._again_us.clear()

    def answer(self, sequences: Iterable[int], round_trip_us: int, now_us: int) -> list[Answer]:
        """What to send again, in the order asked."""
        pause_us = max(round_trip_us, MIN_AGAIN_US)
        found: list[Answer] = []
        for sequence in sequences:
            self.asked += 1
            packet = self._admit(sequence, pause_us, now_us)
            if packet is None:
                self.refused += 1
            else:
                found.append(Answer(sequence, packet))
        self.answered += len(found)
        return found

    def _admit(self, sequence: int, pause_us: int, now_us: int) -> SentPacket | None:
        number = (sequence - self.sequence_offset) & SEQUENCE_MASK
        if not 1 <= (self._next - number) & SEQUENCE_MASK <= self._span_packets:
            return None
        packet = self._history.find(number)
        if packet is None or len(packet.payload) > self._credit_bytes:
            return None
        last_us = self._again_us.get(number)
        if last_us is not None and now_us - last_us < pause_us:
            return None
        self._again_us.pop(number, None)  # so that the oldest stays in front
        if len(self._again_us) >= MAX_PACKETS:
            del self._again_us[next(iter(self._again_us))]
        self._again_us[number] = now_us
        self._credit_bytes -= len(packet.payload)
        return packet
