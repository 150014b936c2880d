"""How long to a receiver and back, out of its report blocks (RFC 3550 §6.4.1)."""

from __future__ import annotations

from appliance.media.clock import US_PER_S
from appliance.wire.rtp.rtcp import ReportBlock

DEFAULT_US = 100_000  # before any report
MAX_US = 10_000_000  # more is a receiver that does not tell the truth, or a clock that was set
_SHARE = 8  # of a new value in the smoothed one


class RoundTrip:
    """Of one receiver. us: smoothed; newest_us: None before any report tells it."""

    __slots__ = ("newest_us", "us")

    def __init__(self) -> None:
        self.us = DEFAULT_US
        self.newest_us: int | None = None

    def note(self, block: ReportBlock, now_ntp: int) -> None:
        """now_ntp: the wall clock as our sender reports tell it, 64 bits."""
        if not block.last_report:
            return
        passed = ((now_ntp >> 16) - block.last_report - block.delay) & 0xFFFFFFFF
        passed_us = passed * US_PER_S >> 16
        if passed >> 31:
            passed_us = 0  # its clock is a little faster than ours
        if passed_us > MAX_US:
            return
        if self.newest_us is None:
            self.us = passed_us
        self.us += (passed_us - self.us) // _SHARE
        self.newest_us = passed_us
