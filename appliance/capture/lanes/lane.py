"""What every lane offers, and the stamping they share.

Times of a lane are microseconds on the input's own timeline plus `shift_us`, by which a looped
input is moved on each time round.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Protocol, TypeAlias

import av

from appliance.capture.commands import Commands
from appliance.media.clock import ticks_to_us
from appliance.media.track import Kind, Track
from appliance.media.unit import AccessUnit

Packet: TypeAlias = "av.Packet[Any]"
DEFAULT_STEP_US = 33_333
MAX_STEP_US = 1_000_000


class Lane(Protocol):
    """One stream of an input on its way to a track."""

    @property
    def track(self) -> Track | None:
        """None until it is known; another object once it changed."""
        ...

    @property
    def stamps(self) -> Stamps: ...

    def feed(self, packet: Packet) -> list[AccessUnit]:
        """The units this packet completes.

        Raises: PeerError or av.FFmpegError for a packet that must be left out.
        """
        ...

    def obey(self, commands: Commands, late_us: int) -> None:
        """Take what the appliance asks of an encoder, and how late the newest unit was.

        A lane that passes units has no encoder and ignores both.
        """
        ...

    def take_dropped(self) -> int:
        """How many pictures were left out since the last call, because encoding was too slow."""
        ...

    def flush(self) -> list[AccessUnit]:
        """What was held back; the input ended or starts over."""
        ...

    def reopen(self, stream: Any) -> None:
        """Go on with this stream of the same input, opened anew."""
        ...


class TimeBase(Protocol):
    """Of a stream or a frame: a Fraction in PyAV 18, in 19 a type of its own."""

    @property
    def numerator(self) -> int: ...

    @property
    def denominator(self) -> int: ...


def stamp_us(ticks: int, time_base: TimeBase) -> int:
    return ticks_to_us(ticks * time_base.numerator, time_base.denominator)


class Stamps:
    """Stamps of a stream's packets, and how far its time reaches.

    shift_us: added to every stamp that `take` returns.
    """

    def __init__(
        self, kind: Kind, time_base: Fraction | None, step_us: int = DEFAULT_STEP_US
    ) -> None:
        self.kind = kind
        self.time_base = time_base or Fraction(1, 90_000)
        self.shift_us = 0
        self._start_us: int | None = None
        self._end_us = 0
        self._step_us = step_us
        self._last_us: int | None = None

    def restart(self, time_base: Fraction | None) -> None:
        self.time_base = time_base or self.time_base
        self._last_us = None

    @property
    def span_us(self) -> int:
        """From the earliest stamp to where the packet after the last one would be."""
        return 0 if self._start_us is None else self._end_us - self._start_us

    def step_ticks(self, packet: Packet) -> int:
        """How long this packet lasts, on its own clock."""
        if packet.duration:
            return packet.duration
        return int(self._step_us * self.time_base.denominator // self.time_base.numerator // 10**6)

    def take(self, packet: Packet) -> tuple[int, int]:
        """dts and pts, shifted; a missing one is guessed from its neighbours."""
        dts, pts = packet.dts, packet.pts
        if dts is None:
            dts = pts
        if dts is not None:
            dts_us = stamp_us(dts, self.time_base)
            pts_us = dts_us if pts is None else stamp_us(pts, self.time_base)
        else:
            dts_us = pts_us = 0 if self._last_us is None else self._last_us + self._step_us
        self._advance(packet, dts_us)
        return dts_us + self.shift_us, pts_us + self.shift_us

    def _advance(self, packet: Packet, dts_us: int) -> None:
        if packet.duration:
            self._step_us = min(stamp_us(packet.duration, self.time_base), MAX_STEP_US)
        elif self._last_us is not None and 0 < dts_us - self._last_us < MAX_STEP_US:
            self._step_us = dts_us - self._last_us
        self._last_us = dts_us
        if self._start_us is None or dts_us < self._start_us:
            self._start_us = dts_us
        self._end_us = max(self._end_us, dts_us + self._step_us)
