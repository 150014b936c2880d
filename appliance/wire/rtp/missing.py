"""What a receiver asks for again: gaps in the sequence, each a few times, while it is worth it.

Theory of operation: a packet that leaves a gap before it makes the numbers between missing. Each
is asked for after a moment (it may only be late), then once per round trip. Who arrives is missing
no more; who is too old or was asked for too often is given up. A gap beyond all bounds is not asked
for at all: a keyframe mends it sooner (`overflowed`).
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.media.clock import Unroller

MAX_MISSING = 256  # of one track; beyond it a keyframe is cheaper. Against numbers far apart
MAX_TRIES = 8
PATIENCE_US = 10_000  # for what is only out of order
MIN_AGAIN_US = 20_000


@dataclass(slots=True)
class _Gap:
    due_us: int
    since_us: int
    tries: int = 0


class MissingPackets:
    """Of one track. give_up_us: after which a packet is of no use, as long as `Reorder` waits.

    recovered, given_up: packets. overflowed: a gap was too wide; the owner asks for a keyframe and
    sets it back.
    """

    __slots__ = (
        "_gaps",
        "_highest",
        "_unroller",
        "give_up_us",
        "given_up",
        "overflowed",
        "recovered",
    )

    def __init__(self, give_up_us: int) -> None:
        self.give_up_us = give_up_us
        self._unroller = Unroller(16)
        self._highest: int | None = None
        self._gaps: dict[int, _Gap] = {}  # by unrolled number, in its order
        self.recovered = self.given_up = 0
        self.overflowed = False

    def note(self, sequence: int, now_us: int) -> None:
        """A packet arrived, for the first time or again."""
        number = self._unroller.unroll(sequence)
        highest = self._highest
        if highest is not None and number <= highest:
            if self._gaps.pop(number, None) is not None:
                self.recovered += 1
            return
        self._highest = number
        if highest is None or number == highest + 1:
            return
        if number - highest - 1 + len(self._gaps) > MAX_MISSING:
            self.given_up += len(self._gaps)
            self._gaps.clear()
            self.overflowed = True
            return
        for gone in range(highest + 1, number):
            self._gaps[gone] = _Gap(now_us + PATIENCE_US, now_us)

    def take(self, round_trip_us: int, now_us: int) -> tuple[int, ...]:
        """The numbers to ask for now, in order, as `rtcp.Nack` wants them."""
        wanted: list[int] = []
        lost: list[int] = []
        for number, gap in self._gaps.items():
            if gap.tries >= MAX_TRIES or now_us - gap.since_us >= self.give_up_us:
                lost.append(number)
            elif gap.due_us <= now_us:
                gap.tries += 1
                gap.due_us = now_us + max(round_trip_us, MIN_AGAIN_US)
                wanted.append(number & 0xFFFF)
        for number in lost:
            del self._gaps[number]
        self.given_up += len(lost)
        return tuple(wanted)

    @property
    def due_us(self) -> int | None:
        """When `take` should be called even if nothing arrives."""
        return min((gap.due_us for gap in self._gaps.values()), default=None)
