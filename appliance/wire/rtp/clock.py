"""RTP timestamps on endless clocks, and what sender reports say of them (RFC 3550 §6.4.1)."""

from __future__ import annotations

from appliance.media.clock import US_PER_S, Unroller, ticks_to_us
from appliance.wire.rtp.packet import STAMP_MASK
from appliance.wire.rtp.rtcp import SenderReport

NTP_TO_UNIX_S = 2_208_988_800
FIRST_TRUE_S = 1_577_836_800  # 2020-01-01: a camera that says less has no clock, only an uptime
MAX_DISTANCE_US = 10_000_000  # of a report's stamp from the packets around it
MAX_DRIFT_US = 200_000  # from report to report; more is a step of the sender's clock
MAX_DOUBTS = 3  # reports in succession that fit neither what is known nor each other


class StampClock:
    """One track's timestamps, unrolled, and in microseconds.

    newest: the last stamp unrolled; None before any.
    """

    __slots__ = ("_unroller", "newest", "rate_hz")

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self._unroller = Unroller(32)
        self.newest: int | None = None

    def unroll(self, timestamp: int) -> int:
        """The endless form of the next packet's timestamp."""
        self.newest = stamp = self._unroller.unroll(timestamp)
        return stamp

    def nearest(self, timestamp: int) -> int | None:
        """The endless form of a timestamp told beside the packets; None before any."""
        if self.newest is None:
            return None
        step = (timestamp - self.newest) & STAMP_MASK
        return self.newest + (step - STAMP_MASK - 1 if step >> 31 else step)

    def us(self, stamp: int) -> int:
        return ticks_to_us(stamp, self.rate_hz)


class SenderClock:
    """When the sender's own clock showed a stamp; it believes no report that contradicts itself.

    Cameras send reports with the stamp of another clock rate, of another track, or none; a step of
    the camera's clock is believed when the next report confirms it.
    """

    __slots__ = ("_clock", "_doubts", "_offset_us", "_rival_us")

    def __init__(self, clock: StampClock) -> None:
        self._clock = clock
        self._offset_us: int | None = None
        self._rival_us: int | None = None  # the offset by the newest report, if it is another
        self._doubts = 0

    def note(self, report: SenderReport) -> bool:
        """One report of this track's source. Whether it was believed."""
        stamp, newest = self._clock.nearest(report.timestamp), self._clock.newest
        if not report.ntp or stamp is None or newest is None:
            return False
        if abs(self._clock.us(stamp) - self._clock.us(newest)) > MAX_DISTANCE_US:
            return False
        offset_us = ntp_to_unix_us(report.ntp) - self._clock.us(stamp)
        believed_us = self._rival_us if self._offset_us is None else self._offset_us
        if believed_us is None or any(
            us is not None and abs(offset_us - us) <= MAX_DRIFT_US
            for us in (believed_us, self._rival_us)
        ):
            self._offset_us, self._rival_us, self._doubts = offset_us, None, 0
            return True
        self._rival_us = offset_us
        self._doubts += 1
        if self._doubts >= MAX_DOUBTS:
            self._offset_us = None  # until two agree
        return False

    @property
    def offset_us(self) -> int | None:
        """Sender's time minus stamp; comparable between the tracks of one sender."""
        return self._offset_us

    def wall_us(self, stamp: int) -> int | None:
        """Unix time of a stamp; None if it is not known or the sender's clock was never set."""
        if self._offset_us is None:
            return None
        wall_us = self._clock.us(stamp) + self._offset_us
        return wall_us if wall_us >= FIRST_TRUE_S * US_PER_S else None


def ntp_to_unix_us(ntp: int) -> int:
    """Of the era that ends in 2036; negative for what stands before 1970."""
    return (ntp * US_PER_S >> 32) - NTP_TO_UNIX_S * US_PER_S


def unix_us_to_ntp(unix_us: int) -> int:
    """The 64 bits of a sender report; eras after 2036 have the same bits again."""
    return (((unix_us + NTP_TO_UNIX_S * US_PER_S) << 32) // US_PER_S) & (1 << 64) - 1
