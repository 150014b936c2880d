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


class SendResult(NamedTuple):
    """Of packets that left together, or of some of them.

    arrived_us: when the last of them did, by the receiver's clock; None if all were lost.
    """

    sent_us: int
    arrived_us: int | None
    arrived_bytes: int
    packets: int
    lost_packets: int


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
        if not sizes:
            return first & SEQUENCE_MASK
        if len(self._sends) >= MAX_SENDS:
            del self._sends[: MAX_SENDS - _KEPT_SENDS], self._firsts[: MAX_SENDS - _KEPT_SENDS]
        self._firsts.append(first)
        self._sends.append(_Send(now_us, sizes))
        self.next_sequence = first + len(sizes)
        return first & SEQUENCE_MASK

    def resolve(self, feedback: Feedback) -> list[SendResult]:
        """What it says of packets that nothing was said of before, in the order of sending.

        Numbers that were never sent are passed over, as a receiver may say what it likes.
        """
        step = (feedback.base_sequence - self.reported + 0x8000 & SEQUENCE_MASK) - 0x8000
        base, arrivals_us = self.reported + step, feedback.arrivals_us
        end = min(base + len(arrivals_us), self.next_sequence)
        number = max(self.reported, base)
        results: list[SendResult] = []
        if self._firsts and number < end:
            number = max(number, self._firsts[0])
            at = bisect_right(self._firsts, number) - 1
        while number < end:
            send, first = self._sends[at], self._firsts[at]
            until = min(end, first + len(send.sizes))
            sizes = send.sizes[number - first : until - first]
            results.append(_result(send.sent_us, arrivals_us[number - base : until - base], sizes))
            number, at = until, at + 1
        if end > self.reported and base < self.next_sequence:
            self.reported = end
            self._forget()
        return results

    def _forget(self) -> None:
        """Sends that are reported whole."""
        at = bisect_right(self._firsts, self.reported) - 1
        if at > 0:
            del self._sends[:at], self._firsts[:at]


def _result(sent_us: int, arrivals_us: Sequence[int | None], sizes: Sequence[int]) -> SendResult:
    lost = arrivals_us.count(None)
    if not lost:
        return SendResult(sent_us, max(arrivals_us), sum(sizes), len(sizes), 0)  # type: ignore[type-var]
    pairs = zip(arrivals_us, sizes, strict=True)
    arrived = [(arrived_us, size) for arrived_us, size in pairs if arrived_us is not None]
    last_us = max((arrived_us for arrived_us, _ in arrived), default=None)
    return SendResult(sent_us, last_us, sum(size for _, size in arrived), len(sizes), lost)
