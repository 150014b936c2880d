"""Stills and the smaller stream of a picture that is passed through, beside it.

Made from pictures of the camera's own smaller stream where the source has them, else by decoding.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from appliance.capture.clock import WallClock, monotonic_us
from appliance.capture.fault import SourceFault
from appliance.capture.options import Options
from appliance.capture.outlet import Sink
from appliance.capture.pipeline.stills import StillDesk, View
from appliance.capture.pipeline.viewfinder import Viewfinder
from appliance.media.track import Kind, Track
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.messages import SUB_VIDEO_ID, VIDEO_ID, Picture

if TYPE_CHECKING:
    import av

    from appliance.capture.pipeline.second import SecondStream

log = logging.getLogger(__name__)

BESIDE_US = 2_000_000  # so long a source's own smaller pictures keep the decoder away
LINGER_US = 5_000_000  # decoding goes on after a still, for whoever asks for the next one


class Watcher:
    """A `Sink` that passes everything on and looks at the picture while that is wanted.

    rotation_deg: what is left to viewers.
    """

    def __init__(self, options: Options, sink: Sink, *, rotation_deg: int = 0) -> None:
        self._options = options
        self._sink = sink
        self._rotation_deg = rotation_deg
        self.desk = StillDesk(sink)
        self._viewfinder = Viewfinder(self._take)
        self._second: SecondStream | None = None
        self._second_lock = threading.Lock()  # told by one thread, fed by another
        self._is_second_wanted = False
        self._is_key_wanted = False
        self._clock = WallClock()
        self._lock = threading.Lock()  # of the tracks: pictures come in the decoder's thread
        self._tracks: tuple[Track, ...] = ()
        self._sub_track: Track | None = None
        self._asked_us: int | None = None
        self._beside_us: int | None = None

    # -- what is passed on ---------------------------------------------------------------------

    def describe(self, tracks: tuple[Track, ...]) -> None:
        with self._lock:
            self._tracks = tracks
            self._describe()

    def _describe(self) -> None:
        self._sink.describe(self._tracks + ((self._sub_track,) if self._sub_track else ()))

    def write(self, unit: AccessUnit) -> None:
        self._sink.write(unit)
        if unit.track.kind is Kind.VIDEO:
            now_us = monotonic_us()
            self._viewfinder.set_wanted(self._wants_decoding(now_us))
            self._viewfinder.offer(unit)

    def drop(self, count: int) -> None:
        self._sink.drop(count)

    def state(self, document: dict[str, Any]) -> None:
        self._sink.state(document)

    def answer(self, serial: int, error: str = "") -> None:
        self._sink.answer(serial, error)

    def picture(self, picture: Picture) -> None:
        self._sink.picture(picture)

    # -- what is looked at ---------------------------------------------------------------------

    @property
    def wants_picture(self) -> bool:
        """Whether one would be used now."""
        return self._is_second_wanted or self.desk.is_wanted

    def _wants_decoding(self, now_us: int) -> bool:
        if self._beside_us is not None and now_us - self._beside_us < BESIDE_US:
            return False
        if self.desk.is_asked:
            self._asked_us = now_us
        lingers = self._asked_us is not None and now_us - self._asked_us < LINGER_US
        return self._is_second_wanted or lingers

    def show(self, frame: av.VideoFrame, time_us: int) -> None:
        """A picture of the source's own, beside the stream; the frame is given away."""
        self._beside_us = monotonic_us()
        self._take(frame, time_us)

    def set_second_wanted(self, wanted: bool) -> None:
        self._is_second_wanted = wanted
        with self._second_lock:
            if self._second is not None:
                self._second.set_wanted(wanted)

    def request_keyframe(self) -> None:
        """Of the smaller stream; the other is not made here."""
        self._is_key_wanted = True

    def restart(self) -> None:
        with self._second_lock:
            if self._second is not None:
                self._second.restart()

    def _take(self, frame: av.VideoFrame, time_us: int) -> None:
        if self.desk.is_wanted:
            sub_width = self._options.sub.width if self._options.sub is not None else 0
            self.desk.offer(lambda: View(frame, time_us, self._rotation_deg, sub_width))
        try:
            with self._second_lock:
                units = self._encode_second(frame, time_us)
        except SourceFault as fault:  # the stream itself needs no encoder
            log.warning("there is no second stream: %s", fault)
            self.set_second_wanted(False)
            return
        for unit in units:
            self._write_second(unit)

    def _encode_second(self, frame: av.VideoFrame, time_us: int) -> list[AccessUnit]:
        second = self._open_second()
        shaped = None if second is None else second.take(frame, time_us)
        if second is None or shaped is None:
            return []
        self._clock.follow()
        key, self._is_key_wanted = self._is_key_wanted, False
        return second.encode(shaped, time_us, self._clock.unix_us(time_us), key=key)

    def _open_second(self) -> SecondStream | None:
        if self._second is None and self._is_second_wanted and self._options.sub is not None:
            from appliance.capture.pipeline.encoding import Words
            from appliance.capture.pipeline.second import SecondStream

            words = Words.of(self._options.overlay, self._options.device)
            self._second = SecondStream(self._options.sub, self._options, words, self._rotation_deg)
            self._second.set_wanted(True)
        return self._second

    def _write_second(self, unit: AccessUnit) -> None:
        assert unit.track.id == SUB_VIDEO_ID
        with self._lock:
            if not any(track.id == VIDEO_ID for track in self._tracks):
                return
            if unit.track is not self._sub_track:
                self._sub_track = unit.track
                self._describe()
            self._sink.write(unit)

    def figures(self) -> dict[str, Any]:
        sub = self._options.sub
        if sub is None:
            return {}
        figures: dict[str, Any] = {
            "width": sub.width, "height": sub.height, "fps": sub.fps,
            "bitrate_bps": sub.bitrate_bps, "active": self._is_second_wanted,
        }  # fmt: skip
        return {"sub": figures if self._second is None else self._second.figures()}
