"""Pictures of a stream that is passed through, decoded only while somebody wants them.

Theory of operation: what a decoder would need to reach the newest picture (everything since the
last keyframe) is held, which costs no copy as it is the units themselves. Once pictures are wanted,
a thread decodes these, shows the last of them, and then every unit as it comes. If it cannot keep
up, what waits is thrown away and it goes on at the next keyframe.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from appliance.media.nal import join_annexb
from appliance.media.track import Codec, Track
from appliance.media.unit import AccessUnit

if TYPE_CHECKING:
    import av

log = logging.getLogger(__name__)

MICROSECOND = Fraction(1, 1_000_000)
MAX_HELD_BYTES = 8 << 20  # since a keyframe; against cameras that send one a minute
MAX_HELD_UNITS = 1024
MAX_QUEUED_UNITS = 90  # beyond what was held in the beginning; against a decoder that is too slow


class Viewfinder:
    """on_picture: called in the decoder's thread with a frame and the time of its picture."""

    def __init__(self, on_picture: Callable[[av.VideoFrame, int], None]) -> None:
        self._on_picture = on_picture
        self._held: list[AccessUnit] = []
        self._held_bytes = 0
        self._condition = threading.Condition()
        self._queue: deque[AccessUnit] = deque()
        self._shown_us = 0  # pictures before it only lead to those that are wanted
        self._thread: threading.Thread | None = None
        self._is_wanted = False
        self._is_running = False

    def set_wanted(self, wanted: bool) -> None:
        """Asked with each unit, so it must be cheap."""
        self._is_wanted = wanted

    def offer(self, unit: AccessUnit) -> None:
        """A unit of the picture that was passed on, in the order of decoding."""
        if unit.key:
            self._held.clear()
            self._held_bytes = 0
        elif not self._held:
            return  # nothing to decode it with
        if self._held_bytes + unit.size_bytes > MAX_HELD_BYTES or len(self._held) >= MAX_HELD_UNITS:
            self._held.clear()
        else:
            self._held.append(unit)
            self._held_bytes += unit.size_bytes
        if self._is_wanted:
            self._follow(unit)
        elif self._is_running:
            self._stop()

    def _follow(self, unit: AccessUnit) -> None:
        with self._condition:
            if not self._is_running:
                if not self._held:
                    return
                self._is_running = True
                self._queue.extend(self._held)
                self._shown_us = unit.pts_us
            elif unit.key or len(self._queue) < MAX_QUEUED_UNITS:
                if unit.key and len(self._queue) >= MAX_QUEUED_UNITS:
                    self._queue.clear()
                self._queue.append(unit)
            else:
                self._queue.clear()
                self._is_running = False  # begins again with what is held
            self._condition.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="viewfinder", daemon=True)
            self._thread.start()

    def _stop(self) -> None:
        with self._condition:
            self._is_running = False
            self._queue.clear()
            self._condition.notify()

    def _work(self) -> None:
        decoder: Decoder | None = None
        try:
            while True:
                with self._condition:
                    while not self._queue:
                        if not self._is_running:
                            decoder = None  # its pictures are most of this process's memory
                        self._condition.wait()
                    unit = self._queue.popleft()
                if decoder is None or decoder.track is not unit.track:
                    decoder = Decoder(unit.track)
                for frame in decoder.decode(unit):
                    time_us = unit.pts_us if frame.pts is None else frame.pts
                    if time_us >= self._shown_us:
                        self._on_picture(frame, time_us)
        except OSError:  # the appliance is gone, which the stream notices as well
            log.debug("nobody takes pictures any more")


class Decoder:
    """Of one track; damaged units give no picture."""

    def __init__(self, track: Track) -> None:
        import av  # here, so that passing a stream through does not load a single codec

        self.track = track
        self._error = av.FFmpegError
        self._make_packet: Any = av.Packet
        name = "hevc" if track.codec is Codec.H265 else "h264"
        context: Any = av.VideoCodecContext.create(name, "r")
        context.thread_count = 1  # more would hold pictures back, and cores from the stream
        self._context = context
        config: Any = track.config
        self._sets = (*getattr(config, "vps", ()), *config.sps, *config.pps)

    def decode(self, unit: AccessUnit) -> list[av.VideoFrame]:
        parts = (*self._sets, *unit.parts) if unit.key else unit.parts
        packet = self._make_packet(join_annexb(parts))
        packet.pts, packet.dts, packet.time_base = unit.pts_us, unit.dts_us, MICROSECOND
        try:
            return list(self._context.decode(packet))
        except self._error as error:
            log.debug("a picture is left out: %s", error)
            return []
