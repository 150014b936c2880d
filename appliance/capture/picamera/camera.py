"""One camera of the system, opened, configured and running; and how it is found."""

from __future__ import annotations

import atexit
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar

from appliance.capture.fault import ChangeRefused, SourceFault
from appliance.capture.picamera import api
from appliance.capture.picamera.controls import FRAME_DURATION, Controls, duration_us, fps_range
from appliance.capture.picamera.deadline import DriverHangs, Errand
from appliance.capture.picamera.encoding import Encoding
from appliance.capture.picamera.system import System
from appliance.wire.pipe.messages import Reason

log = logging.getLogger(__name__)

FORMAT = "YUV420"  # both encoders take it, and so does our drawing
MAIN, LORES = "main", "lores"
BUFFERS = 6  # picamera2's own number for video
OPEN_US, START_US, CLOSE_US = 8_000_000, 5_000_000, 5_000_000
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Layout:
    """What the camera shall deliver. turned: by 180 degrees, in the sensor; small: the size of the
    lores stream, if there shall be one."""

    width: int
    height: int
    fps: int
    turned: bool = False
    small: tuple[int, int] | None = None
    controls: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream as it was configured. stride: bytes from row to row of its luma."""

    width: int
    height: int
    stride: int


class Camera:
    """Open from the beginning; `close` ends it.

    refusals: of the controls it was to begin with.
    which: a number, or an identifier of libcamera's.

    Raises: SourceFault if there is no such camera or it cannot be opened.
    """

    def __init__(self, system: System, which: str, layout: Layout) -> None:
        self.system = system
        found = _within(OPEN_US, "looking for cameras", system.picamera2.global_camera_info)
        number = find_camera(which, found)
        info = found[number]
        self.identity = str(info.get("Id", ""))
        self.model = str(info.get("Model", "camera"))
        self._camera = _open(system, number, self.model)
        try:
            self.streams = self._configure(layout)
        except BaseException:
            self.close()
            raise

    def _configure(self, layout: Layout) -> dict[str, Stream]:
        camera = self._camera
        small = None if layout.small is None else {"format": FORMAT, "size": layout.small}
        try:
            configuration = camera.create_video_configuration(
                main={"format": FORMAT, "size": (layout.width, layout.height)},
                lores=small,
                raw=None,  # six more buffers of the sensor's full size, which nobody reads
                transform=self.system.transform(turned=layout.turned),
                colour_space=self.system.rec709(),
                buffer_count=BUFFERS,
                controls={FRAME_DURATION: duration_us(layout.fps)},
                display=None,
                queue=False,
            )
            _within(OPEN_US, "configuring the camera", lambda: camera.configure(configuration))
        except SourceFault:
            raise
        except Exception as error:
            raise SourceFault(
                Reason.CANNOT_OPEN,
                f"{self.model} refuses {layout.width}x{layout.height} at {layout.fps} fps: "
                f"{_root(error)}; choose another size or rate",
            ) from error
        self.controls = Controls(camera.camera_controls, self.system.choices, camera.set_controls)
        self._set_first(layout)
        return _streams(camera.camera_configuration())

    def _set_first(self, layout: Layout) -> None:
        self.fps = self.nearest_fps(layout.fps)
        if self.fps != layout.fps:
            self._camera.set_controls({FRAME_DURATION: duration_us(self.fps)})
        self.refusals: list[str] = []
        for name, value in layout.controls.items():  # one by one: a camera is better than none
            try:
                self.controls.set({name: value})
            except ChangeRefused as refusal:
                self.refusals.append(str(refusal))
                log.warning("%s: %s", self.model, refusal)

    def start(self, see: Callable[[api.CompletedRequest], None]) -> None:
        """see: gets each request before encoders do; nothing may leave it but a return."""
        self._camera.pre_callback = see
        try:
            _within(START_US, "starting the camera", self._camera.start)
        except SourceFault:
            raise
        except Exception as error:
            raise SourceFault(
                Reason.CANNOT_OPEN, f"{self.model} does not start: {_root(error)}"
            ) from error

    def close(self) -> None:
        """Raises: SourceFault if it hangs or fails; the camera is lost to this process then."""
        try:
            _within(CLOSE_US, "closing the camera", self._camera.close)
        except SourceFault:
            self.abandon()
            raise
        except Exception as error:
            raise SourceFault(
                Reason.SOURCE_LOST, f"{self.model} cannot be closed: {_root(error)}"
            ) from error

    def abandon(self) -> None:
        """Its driver hangs: picamera2 shall not close it at the end of the process, either."""
        atexit.unregister(self._camera.close)

    def __enter__(self) -> Camera:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, DriverHangs):
            self.abandon()
        elif error is None:
            self.close()
        else:
            with contextlib.suppress(SourceFault):  # what came first is what is told
                self.close()

    def nearest_fps(self, fps: int) -> int:
        """What the camera can do of this, in the mode it is in."""
        limits = fps_range(self._camera.camera_controls)
        if limits is None:
            return fps
        least, most = limits
        return max(1, int(min(max(fps, least), most + 0.5)))

    def check_fps(self, fps: int) -> None:
        """Raises: ChangeRefused with the range."""
        if fps < 1 or self.nearest_fps(fps) != fps:
            least, most = fps_range(self._camera.camera_controls) or (1, fps)
            raise ChangeRefused(
                f"fps = {fps}: {self.model} does {max(1, round(least))} to {round(most)} "
                "at this size"
            )

    def set_fps(self, fps: int) -> None:
        self._camera.set_controls({FRAME_DURATION: duration_us(fps)})
        self.fps = fps

    def start_encoding(self, encoding: Encoding, stream: str) -> None:
        """Raises: SourceFault if the encoder refuses."""
        camera, encoder, output = self._camera, encoding.encoder, encoding.output
        try:
            _within(
                START_US,
                "starting an encoder",
                lambda: camera.start_encoder(encoder, output, name=stream),
            )
        except SourceFault:
            raise
        except Exception as error:
            raise SourceFault(
                Reason.ENCODER, f"picamera2's encoder does not start: {_root(error)}"
            ) from error

    def stop_encoder(self, encoder: api.H264Encoder) -> None:
        """May take as long as the driver likes."""
        self._camera.stop_encoder(encoder)


def find_camera(which: str, found: Sequence[Mapping[str, Any]]) -> int:
    """The place in `global_camera_info` of a number or an identifier.

    Raises: SourceFault that lists what is there.
    """
    if not found:
        raise SourceFault(
            Reason.SOURCE_MISSING,
            "libcamera finds no camera: check the ribbon cable (with the board switched off), then "
            "`rpicam-hello --list-cameras`",
        )
    for number, info in enumerate(found):
        if which in {str(number), info.get("Id")}:
            return number
    there = "; ".join(
        f"picamera2:{number} is {info.get('Model', 'a camera')} at {info.get('Id', 'no address')}"
        for number, info in enumerate(found)
    )
    raise SourceFault(Reason.SOURCE_MISSING, f"there is no camera picamera2:{which}; {there}")


def _open(system: System, number: int, model: str) -> api.Picamera2:
    try:
        return _within(OPEN_US, "opening the camera", lambda: system.picamera2(number))
    except SourceFault:
        raise
    except Exception as error:
        raise SourceFault(
            Reason.CANNOT_OPEN,
            f"{model} cannot be opened: {_root(error)}; if another program has it (rpicam-vid, "
            "another stream of this appliance), end that one",
        ) from error


def _streams(configuration: api.Configuration) -> dict[str, Stream]:
    streams: dict[str, Stream] = {}
    for name in (MAIN, LORES):
        about = configuration.get(name)
        if about is not None:
            width, height = about["size"]
            streams[name] = Stream(width, height, about["stride"])
    return streams


def _within(patience_us: int, what: str, call: Callable[[], T]) -> T:
    results: list[T] = []
    Errand(what, lambda: results.append(call()), patience_us).wait()
    return results[0]


def _root(error: BaseException) -> str:
    """picamera2 wraps what libcamera said, once or twice; as bounded as its chain is."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__
