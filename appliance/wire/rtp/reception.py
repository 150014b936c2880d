"""How well one source is received, for receiver reports (RFC 3550 §6.4.1, §A.3, §A.8)."""

from __future__ import annotations

from appliance.media.clock import US_PER_S
from appliance.wire.rtp.packet import SEQUENCE_MASK, PacketRun, RtpPacket
from appliance.wire.rtp.rtcp import ReportBlock, SenderReport

MAX_JUMP_PACKETS = 3000  # RFC 3550 §A.1: beyond it the sequence began anew
_HALF = 0x8000


class Reception:
    """Statistics of the packets of one track, as they arrive.

    packets: received so far of this source. ssrc: which one that is; None before any packet.
    """

    __slots__ = (
        "_base",
        "_clock_rate_hz",
        "_highest",
        "_jitter_16ths",
        "_prior_expected",
        "_prior_received",
        "_report_ntp",
        "_report_us",
        "_transit_ticks",
        "packets",
        "ssrc",
    )

    def __init__(self, clock_rate_hz: int) -> None:
        self._clock_rate_hz = clock_rate_hz
        self.ssrc: int | None = None
        self._report_ntp = self._report_us = 0
        self._base = self._highest = 0  # extended: cycles in the high bits
        self.packets = self._prior_expected = self._prior_received = 0
        self._jitter_16ths = self._transit_ticks = 0

    @property
    def jitter_us(self) -> int:
        return (self._jitter_16ths >> 4) * US_PER_S // self._clock_rate_hz

    @property
    def lost_packets(self) -> int:
        """Since the beginning; negative if there are more duplicates than losses."""
        return self._expected() - self.packets

    def note(self, packet: RtpPacket | PacketRun, now_us: int, packets: int = 1) -> None:
        """One packet, in the order of arrival; or so many of a run, which arrived as one."""
        arrival_ticks = now_us * self._clock_rate_hz // US_PER_S
        step = (packet.sequence - self._highest) & SEQUENCE_MASK
        if packet.ssrc != self.ssrc or MAX_JUMP_PACKETS < step < 0x10000 - MAX_JUMP_PACKETS:
            self.ssrc = packet.ssrc
            self._begin(packet.sequence)
            self._transit_ticks = (arrival_ticks - packet.timestamp) & 0xFFFFFFFF
        elif step < _HALF:
            self._highest += step
        self.packets += packets
        transit_ticks = (arrival_ticks - packet.timestamp) & 0xFFFFFFFF
        change = (transit_ticks - self._transit_ticks) & 0xFFFFFFFF
        change = min(change, 0x100000000 - change)
        self._transit_ticks = transit_ticks
        if change < self._clock_rate_hz:  # more is a timestamp that jumped
            self._jitter_16ths += change - ((self._jitter_16ths + 8) >> 4)

    def note_report(self, report: SenderReport, now_us: int) -> None:
        """The newest sender report: the answer lets the sender measure the round trip."""
        self._report_ntp, self._report_us = report.ntp >> 16 & 0xFFFFFFFF, now_us

    def block(self, now_us: int) -> ReportBlock | None:
        """What a report says now; the lost fraction is since the last call. None before any."""
        if self.ssrc is None:
            return None
        expected = self._expected()
        interval = expected - self._prior_expected
        lost = interval - (self.packets - self._prior_received)
        self._prior_expected, self._prior_received = expected, self.packets
        since = (now_us - self._report_us) * 65_536 // US_PER_S if self._report_ntp else 0
        return ReportBlock(
            self.ssrc,
            min(255, (lost << 8) // interval) if interval > 0 and lost > 0 else 0,
            expected - self.packets,
            self._highest & 0xFFFFFFFF,
            min(self._jitter_16ths >> 4, 0xFFFFFFFF),
            self._report_ntp,
            max(0, min(since, 0xFFFFFFFF)),
        )

    def _begin(self, sequence: int) -> None:
        self._base = self._highest = sequence
        self.packets = self._prior_expected = self._prior_received = 0
        self._jitter_16ths = self._transit_ticks = 0

    def _expected(self) -> int:
        return self._highest - self._base + 1 if self.ssrc is not None else 0
