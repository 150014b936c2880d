"""Packets into the order of their sequence numbers, with a deadline for those that are missing.

Theory of operation: the packet expected next goes straight through. One from the future waits, for
`patience_us` at most or until `depth_packets` wait; then the gap before it is declared lost. One
from the past is late or a duplicate, and dropped. Numbers far from the expected ones, or another
SSRC, are believed when two packets in succession agree on them (RFC 3550 §A.1), and then the
sequence starts anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.wire.rtp.packet import SEQUENCE_MASK, PacketRun, RtpPacket, read_run

MAX_DEPTH_PACKETS = 512
DEFAULT_PATIENCE_US = 100_000
MAX_HEAD_START_PACKETS = 64  # of the first packet to come, before the announced first one
MAX_DROPOUT_PACKETS = 3000  # RFC 3550 §A.1: a greater step forward is another sequence
_HALF = 0x8000


@dataclass(slots=True)
class Lost:
    """A gap before the next packet.

    packets: how many are missing; 0 if that cannot be known.
    restarted: the sender began another sequence, perhaps with other timestamps.
    """

    packets: int
    restarted: bool = False


@dataclass(slots=True)
class _Waiting:
    packet: RtpPacket
    since_us: int


class Reorder:
    """patience_us: 0 for what cannot be out of order (TCP): a gap shows at once.

    duplicates, late, lost, restarts: counters; a packet that is late was counted as lost before.
    ssrc: whose packets these are; None before the first.
    """

    __slots__ = (
        "_announced",
        "_depth_packets",
        "_next",
        "_ready",
        "_stranger",
        "_stranger_next",
        "_waiting",
        "duplicates",
        "late",
        "lost",
        "patience_us",
        "restarts",
        "ssrc",
    )

    def __init__(
        self, patience_us: int = DEFAULT_PATIENCE_US, depth_packets: int = MAX_DEPTH_PACKETS
    ) -> None:
        self.patience_us = patience_us
        self._depth_packets = depth_packets  # against memory filled behind a gap
        self.ssrc: int | None = None
        self._announced: int | None = None
        self._next = 0
        self._ready: list[RtpPacket | PacketRun | Lost] = []
        self._waiting: dict[int, _Waiting] = {}  # by sequence, in order of arrival
        self._stranger: RtpPacket | None = None
        self._stranger_next = 0  # what was expected next when it came
        self.duplicates = self.late = self.lost = self.restarts = 0

    def expect(self, sequence: int) -> None:
        """The first sequence number as announced (RTSP's RTP-Info), before any packet.

        Without it the first to come is the first, and what it overtook is late.
        """
        self._announced = sequence

    def push(self, packet: RtpPacket, now_us: int) -> None:
        """One packet as it arrived."""
        if packet.sequence == self._next and packet.ssrc == self.ssrc:
            self._ready.append(packet)
            self._next = (self._next + 1) & SEQUENCE_MASK
            if self._waiting:
                self._release()
        else:
            self._push_unexpected(packet, now_us)

    def push_run(self, packets: Sequence[bytes], begin: int, payload_type: int) -> PacketRun | None:
        """Those from `begin` on that are expected next and share a timestamp, taken together.

        None if there are none, or packets wait for others: they go through `push`.
        """
        if self._waiting or self.ssrc is None:
            return None
        run = read_run(packets, begin, payload_type, self.ssrc, self._next)
        if run is not None:
            self._ready.append(run)
            self._next = (run.sequence + 1) & SEQUENCE_MASK
        return run

    def take(self, now_us: int) -> list[RtpPacket | PacketRun | Lost]:
        """What is in order by now, once; call it after each batch of packets and when due."""
        while self._waiting and self._oldest_us() + self.patience_us <= now_us:
            self._skip_gap()
        ready, self._ready = self._ready, []
        return ready

    @property
    def due_us(self) -> int | None:
        """When `take` should be called even if nothing arrives."""
        return self._oldest_us() + self.patience_us if self._waiting else None

    def _push_unexpected(self, packet: RtpPacket, now_us: int) -> None:
        if self.ssrc is None:
            first = self._announced
            if first is None or (packet.sequence - first) & SEQUENCE_MASK > MAX_HEAD_START_PACKETS:
                first = packet.sequence  # cameras announce nonsense as well
            self.ssrc, self._next = packet.ssrc, first
            self.push(packet, now_us)
            return
        step = (packet.sequence - self._next) & SEQUENCE_MASK
        behind = SEQUENCE_MASK + 1 - step
        past = MAX_DEPTH_PACKETS if self.patience_us else 0  # nothing comes late by TCP
        if packet.ssrc != self.ssrc or (step > MAX_DROPOUT_PACKETS and behind > past):
            self._push_stranger(packet)
        elif step >= _HALF:
            self.late += 1
        elif packet.sequence in self._waiting:
            self.duplicates += 1
        else:
            self._waiting[packet.sequence] = _Waiting(packet, now_us)
            if self.patience_us == 0 or len(self._waiting) > self._depth_packets:
                self._skip_gap()

    def _push_stranger(self, packet: RtpPacket) -> None:
        """Start anew if nothing expected came between this one and its predecessor."""
        first = self._stranger
        if (
            first is None
            or first.ssrc != packet.ssrc
            or first.sequence != packet.sequence - 1 & SEQUENCE_MASK
            or self._stranger_next != self._next
        ):
            self._stranger, self._stranger_next = packet, self._next
            return
        while self._waiting:
            self._skip_gap()
        self.restarts += 1
        self._ready.append(Lost(0, restarted=True))
        self._stranger = None
        self._begin(first)
        self.push(packet, 0)

    def _begin(self, packet: RtpPacket) -> None:
        self.ssrc = packet.ssrc
        self._ready.append(packet)
        self._next = (packet.sequence + 1) & SEQUENCE_MASK

    def _oldest_us(self) -> int:
        return next(iter(self._waiting.values())).since_us

    def _skip_gap(self) -> None:
        """Give up what is missing before the earliest packet that waits."""
        gap = min((sequence - self._next) & SEQUENCE_MASK for sequence in self._waiting)
        self.lost += gap
        self._ready.append(Lost(gap))
        self._next = (self._next + gap) & SEQUENCE_MASK
        self._release()

    def _release(self) -> None:
        """What waits and is in order now."""
        while waiting := self._waiting.pop(self._next, None):
            self._ready.append(waiting.packet)
            self._next = (self._next + 1) & SEQUENCE_MASK
