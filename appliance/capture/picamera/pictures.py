"""What happens to each picture before it is encoded, in the camera's thread: it is masked, written
on, and copied for those who want it as it is.

picamera2 0.3.38 runs `pre_callback` before encoders and in their thread, with its lock held: what
is drawn into the buffer here is what they encode. An exception would end that thread without a
word, so it is kept for the source, which passes nothing on from then on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import av

from appliance.capture.fault import SourceFault
from appliance.capture.options import MaskOptions, Options
from appliance.capture.picamera import api
from appliance.capture.picamera.camera import MAIN, Stream
from appliance.capture.picamera.system import System
from appliance.capture.picture.canvas import Canvas, Plane
from appliance.capture.picture.frames import blank_frame
from appliance.capture.picture.masks import Masks
from appliance.capture.picture.overlay import Overlay
from appliance.wire.pipe.messages import Reason

SENSOR_TIMESTAMP = "SensorTimestamp"  # ns


@dataclass(slots=True)
class Shot:
    """A picture of our own, masked and written on, taken at `sensor_us` of the sensor's clock."""

    stream: str
    frame: av.VideoFrame
    sensor_us: int


class Draft:
    """Masks and words for one stream's pictures."""

    def __init__(self, options: Options, stream: Stream, viewer_turns_deg: int) -> None:
        self._stream = stream
        masks = options.masks
        if options.rotation == 180:  # the sensor has turned the picture, and the masks' places
            masks = tuple(map(_turned, masks))
        self._masks = Masks(masks, stream.width, stream.height)
        self.overlay = Overlay(
            options.overlay, options.device, stream.width, stream.height, viewer_turns_deg
        )

    @property
    def has_work(self) -> bool:
        return len(self._masks) > 0 or self.overlay.shown

    def draw(self, canvas: Canvas) -> None:
        self._masks.draw(canvas)
        self.overlay.draw(canvas, time.time_ns() // 1000)


class Pictures:
    """`see` is the camera's callback; everything else is for the source's thread.

    drafts: by stream; without one a stream's pictures stay as they are. wants_all: shots of every
    picture of the main stream. deliver: takes shots, in the camera's thread.
    """

    def __init__(
        self,
        system: System,
        drafts: Mapping[str, Draft],
        streams: Mapping[str, Stream],
        deliver: Callable[[Shot], bool],
        *,
        wants_all: bool = False,
    ) -> None:
        self._error: Exception | None = None
        self._system = system
        self._drafts = drafts
        self._streams = streams
        self._deliver = deliver
        self._wants_all = wants_all
        self._wanted: set[str] = set()
        self._lock = threading.Lock()  # words and wishes change while a picture is drawn

    def want(self, stream: str) -> None:
        """A shot of the next picture of this stream."""
        with self._lock:
            self._wanted.add(stream)

    def write(self, text: str) -> None:
        with self._lock:
            for draft in self._drafts.values():
                draft.overlay.text = text

    def show_words(self, shown: bool) -> None:
        with self._lock:
            for draft in self._drafts.values():
                draft.overlay.shown = shown

    def check(self) -> None:
        """Raises: SourceFault if a picture could not be drawn on, which nobody has seen then."""
        if self._error is not None:
            raise SourceFault(
                Reason.INTERNAL, f"a fault of ours in drawing on the pictures: {self._error!r}"
            ) from self._error

    def see(self, request: api.CompletedRequest) -> None:
        with self._lock:
            for name in self._streams:
                try:
                    self._work(request, name)
                except Exception as error:
                    self._error = error

    def _work(self, request: api.CompletedRequest, name: str) -> None:
        draft = self._drafts.get(name)
        draws = draft is not None and draft.has_work
        wanted = name in self._wanted or (self._wants_all and name == MAIN)
        if not draws and not wanted:
            return
        stream = self._streams[name]
        with self._system.mapped_array(request, name, reshape=False) as mapped:
            canvas = planes_of(memoryview(mapped.array).cast("B"), stream)
            if draft is not None and draws:
                draft.draw(canvas)
            if wanted:
                self._copy(request, name, canvas)

    def _copy(self, request: api.CompletedRequest, name: str, canvas: Canvas) -> None:
        self._wanted.discard(name)
        frame = blank_frame(canvas.width, canvas.height)
        for plane, rows in zip(frame.planes, (canvas.luma, canvas.cb, canvas.cr), strict=True):
            _copy_rows(plane, rows)
        sensor_ns = request.get_metadata().get(SENSOR_TIMESTAMP) or time.monotonic_ns()
        self._deliver(Shot(name, frame, sensor_ns // 1000))


def _copy_rows(target: av.video.plane.VideoPlane, source: Plane) -> None:
    if target.line_size == source.stride and target.buffer_size == len(source.data):
        target.update(source.data)  # type: ignore[arg-type]
        return
    data = memoryview(target).cast("B")
    for line in range(source.height):
        start, to = line * source.stride, line * target.line_size
        data[to : to + source.width] = source.data[start : start + source.width]


def planes_of(data: memoryview, stream: Stream) -> Canvas:
    """The planes of YUV420 as libcamera lays them out: one after the other, chroma rows half as
    long as those of luma with their padding."""
    width, height, stride = stream.width, stream.height, stream.stride
    chroma_at = stride * height
    chroma_bytes = stride // 2 * (height // 2)

    def chroma(at: int) -> Plane:
        return Plane(data[at : at + chroma_bytes], stride // 2, width // 2, height // 2)

    luma = Plane(data[:chroma_at], stride, width, height)
    return Canvas([luma, chroma(chroma_at), chroma(chroma_at + chroma_bytes)])


def _turned(mask: MaskOptions) -> MaskOptions:
    return replace(mask, x=max(0.0, 1 - mask.x - mask.width), y=max(0.0, 1 - mask.y - mask.height))
