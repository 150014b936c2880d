"""Everybody's wishes for a keyframe, told to the source once a second at most (RFC 4585 §6.3.1).

A wish within that second is not forgotten but waits: it is told when the second is over, unless a
keyframe came meanwhile. FIR counts its requests (RFC 5104 §4.3.1.2), so a repeated one is known.
"""

from __future__ import annotations

from appliance.wire.rtp.rtcp import FullIntra, PictureLoss

INTERVAL_US = 1_000_000
MAX_REQUESTERS = 1024  # whose newest FIR is remembered; against endless SSRCs


class KeyframeRequests:
    """Towards one source. asked, told: how many wishes came, and how many went on.

    due_us: when `take` should be called for a wish that waits; None if there is none.
    """

    __slots__ = ("_fir_numbers", "_told_us", "asked", "due_us", "told")

    def __init__(self) -> None:
        self._told_us: int | None = None
        self._fir_numbers: dict[int, int] = {}
        self.due_us: int | None = None
        self.asked = self.told = 0

    def ask(self, now_us: int) -> bool:
        """Somebody needs a keyframe. Whether to tell the source now."""
        self.asked += 1
        free_us = now_us if self._told_us is None else self._told_us + INTERVAL_US
        if now_us < free_us:
            self.due_us = free_us
            return False
        self._tell(now_us)
        return True

    def receive(self, packet: PictureLoss | FullIntra, now_us: int) -> bool:
        """The wish of a viewer, as RTCP has it. Whether to tell the source now."""
        if isinstance(packet, FullIntra):
            if self._fir_numbers.get(packet.sender_ssrc) == packet.number:
                return False
            if len(self._fir_numbers) >= MAX_REQUESTERS:
                del self._fir_numbers[next(iter(self._fir_numbers))]
            self._fir_numbers[packet.sender_ssrc] = packet.number
        return self.ask(now_us)

    def take(self, now_us: int) -> bool:
        """Whether to tell the source now, for a wish that waited."""
        if self.due_us is None or now_us < self.due_us:
            return False
        self._tell(now_us)
        return True

    def keyframe(self) -> None:
        """One came: who asked before has it."""
        self.due_us = None

    def _tell(self, now_us: int) -> None:
        self._told_us, self.due_us = now_us, None
        self.told += 1
