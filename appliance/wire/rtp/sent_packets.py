"""When packets went out, until the receiver tells when they came in (transport-wide feedback)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from appliance.wire.rtp.packet import SEQUENCE_MASK
from appliance.wire.rtp.twcc import Feedback

MAX_SENDS = 512  # batches that no feedback has covered; against a receiver that tells nothing
_KEPT_SENDS = 384


class PacketResult(NamedTuple):
    """arrived_us: by the receiver's clock; None: it was lost on the way."""

    sent_us: int
    arrived_us: int | None
    size_bytes: int


@dataclass(slots=True)
class _Send:
    sent_us: int
    sizes: Sequence[int]


class SentPackets:
    """Of one viewer, over all its tracks; one entry for all packets of one send."""

    __slots__ = ("_firsts", "_sends", "next_sequence", "reported")

    def __init__(self) -> None:
        self._firsts: list[int] = []  # the unrolled number of each send's first packet
        self._sends: list[_Send] = []
        self.next_sequence = 0  # unrolled; the header has its low 16 bits
        self.reported = 0  # up to which number feedback was believed

    def add(self, sizes: Sequence[int], now_us: int) -> int:
        """Packets that go out now; the number of the first of them. sizes: in bytes; kept."""
        first = self.next_sequence
        if len(self._sends) >= MAX_SENDS:
            del self._sends[: MAX_SENDS - _KEPT_SENDS], self._firsts[: MAX_SENDS - _KEPT_SENDS]
        self._firsts.append(first)
        self._sends.append(_Send(now_us, sizes))
        self.next_sequence = first + len(sizes)
        return first & SEQUENCE_MASK

    def resolve(self, feedback: Feedback) -> list[PacketResult]:
        """What it says of packets that nothing was said of before, in the order of sending.

        Numbers that were never sent are passed over, as a receiver may say what it likes.
        """
        step = (feedback.base_sequence - self.reported + 0x8000 & SEQUENCE_MASK) - 0x8000
        base = self.reported + step
        if base >= self.next_sequence:
            return []
        results: list[PacketResult] = []
        for number, arrived_us in enumerate(feedback.arrivals_us, base):
            if number >= self.next_sequence:
                break
            if number >= self.reported and (found := self._find(number)) is not None:
                results.append(PacketResult(found[0], arrived_us, found[1]))
        end = min(base + len(feedback.arrivals_us), self.next_sequence)
        self.reported = max(self.reported, end)
        self._forget()
        return results

    def _find(self, number: int) -> tuple[int, int] | None:
        at = bisect_right(self._firsts, number) - 1
        if at < 0:
            return None
        send, place = self._sends[at], number - self._firsts[at]
        return send.sent_us, send.sizes[place]

    def _forget(self) -> None:
        """Sends that are reported whole."""
        at = bisect_right(self._firsts, self.reported) - 1
        if at > 0:
            del self._sends[:at], self._firsts[:at]
