"""JPEGs for those who ask, made beside the stream in a thread of their own.

Theory of operation: requests wait for the next picture of the stream; when the thread is free, it
gets the picture and all requests that wait. Those that want the same size and quality share one
encoding. So a stream never waits for a still, and a slow board makes fewer stills instead.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from appliance.capture.clock import unix_offset_us
from appliance.capture.fault import SourceFault
from appliance.capture.outlet import Sink
from appliance.wire.pipe.messages import Picture, RequestPicture

if TYPE_CHECKING:
    import av

    from appliance.capture.picture.stills import StillEncoder

log = logging.getLogger(__name__)

MAX_WAITING = 32  # requests; against an appliance that asks faster than pictures come
PATIENCE_US = 3_000_000  # then a request is told that no picture comes


@dataclass(slots=True)
class View:
    """A picture to make stills of. sub_width: what `sub` with width 0 means."""

    frame: av.VideoFrame
    time_us: int
    rotation_deg: int
    sub_width: int = 0


class StillDesk:
    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._waiting: list[tuple[RequestPicture, int]] = []  # and when it came
        self._batches: queue.SimpleQueue[tuple[View, list[RequestPicture]]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_busy = False

    @property
    def is_wanted(self) -> bool:
        """Whether a picture would be taken now."""
        return bool(self._waiting) and not self._is_busy

    @property
    def is_asked(self) -> bool:
        return bool(self._waiting)

    def widest(self, sub_width: int) -> int:
        """What those who wait want at most, as a picture is seen; 0 for the stream's own width.

        sub_width: what `sub` with width 0 means.
        """
        widths = [r.width or (sub_width if r.sub else 0) for r, _ in self._waiting]
        return 0 if 0 in widths or not widths else max(widths)

    def ask(self, requests: Sequence[RequestPicture], now_us: int) -> None:
        for request in requests:
            if len(self._waiting) >= MAX_WAITING:
                self._refuse(request, "too many pictures are asked for at once")
            else:
                self._waiting.append((request, now_us))

    def expire(self, now_us: int) -> None:
        """Answer those who have waited for too long."""
        while self._waiting and now_us - self._waiting[0][1] > PATIENCE_US:
            seconds = PATIENCE_US // 1_000_000
            self._refuse(self._waiting.pop(0)[0], f"the camera gave no picture for {seconds} s")

    def offer(self, make_view: Callable[[], View]) -> None:
        """make_view: gives a picture nobody changes any more; only called if one is wanted."""
        if not self.is_wanted:
            return
        requests = [request for request, _ in self._waiting]
        self._waiting.clear()
        self._is_busy = True
        self._batches.put((make_view(), requests))
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="stills", daemon=True)
            self._thread.start()

    def _refuse(self, request: RequestPicture, error: str) -> None:
        self._sink.picture(Picture(request.serial, error=error))

    def _work(self) -> None:
        from appliance.capture.picture.stills import StillEncoder  # here, as it loads libav

        encoder = StillEncoder()
        try:
            while True:
                view, requests = self._batches.get()
                self._answer(encoder, view, requests)
                del view  # its memory is not held until somebody asks again
                self._is_busy = False
        except OSError:  # the appliance is gone, which the stream notices as well
            log.debug("nobody takes stills any more")

    def _answer(self, encoder: StillEncoder, view: View, requests: list[RequestPicture]) -> None:
        made: dict[tuple[int, int], tuple[bytes, int, int] | str] = {}
        unix_us = view.time_us + unix_offset_us()
        for request in requests:
            width = request.width or (view.sub_width if request.sub else 0)
            wanted = width, request.quality
            if wanted not in made:
                try:
                    made[wanted] = encoder.encode(
                        view.frame, width, request.quality, view.rotation_deg, unix_us
                    )
                except (SourceFault, ValueError) as error:
                    made[wanted] = str(error)
            result = made[wanted]
            if isinstance(result, str):
                self._refuse(request, result)
            else:
                jpeg, seen_width, seen_height = result
                self._sink.picture(
                    Picture(request.serial, view.time_us, seen_width, seen_height, jpeg)
                )
