"""`picamera2:0`, `picamera2:<libcamera's identifier>` — a Raspberry Pi's camera, with our sound.

H.264 comes from picamera2's encoder where the board has one of hardware (up to the Pi 4). A Pi 5
has none; there our own libx264 takes the pictures (docs/decisions/0005), unless
`encoder = "camera"` asks for picamera2's own, which is libx264 as well.

Theory of operation: picamera2's threads deliver into a bounded queue (picamera/handover.py); this
thread takes from it, obeys, and does what may block in a driver with a deadline (picamera/
deadline.py). Only this thread writes the picture's units.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from typing import Any, Protocol

from appliance.capture.clock import monotonic_us
from appliance.capture.commands import Commands
from appliance.capture.fault import SourceFault
from appliance.capture.microphone.microphone import Microphone
from appliance.capture.options import Options
from appliance.capture.outlet import Sink
from appliance.capture.picamera.camera import FORMAT, Camera, Layout
from appliance.capture.picamera.coded import CodedMill
from appliance.capture.picamera.encoding import Chunk
from appliance.capture.picamera.handover import Handover
from appliance.capture.picamera.pictures import Shot
from appliance.capture.picamera.raw import RawMill
from appliance.capture.picamera.system import System, load
from appliance.capture.pipeline.shaping import fit
from appliance.media.track import Track
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.messages import Reason, Rung

log = logging.getLogger(__name__)

MAX_CHUNKS, MAX_SHOTS = 64, 4  # on their way; of shots each is a whole picture
TICK_US = 250_000
TELL_US = 1_000_000
SETTLE_S = 0.7  # for the microphone, beside the camera's own second of starting
MAX_NAME_CHARS = 200


def create(rest: str, options: Options) -> Picamera2Source:
    """Raises: SourceFault unless it is a number or looks like an identifier of libcamera's."""
    if not rest or len(rest) > MAX_NAME_CHARS or not (rest.isdecimal() or rest[0] in "/\\"):
        raise SourceFault(
            Reason.SOURCE_INVALID,
            "write picamera2:0 for the first camera, or picamera2: and the identifier that "
            "`rpicam-hello --list-cameras` shows, such as /base/soc/i2c0mux/i2c@1/imx708@1a",
        )
    if options.encoder == "camera" and turns_pixels(options):
        raise SourceFault(
            Reason.SOURCE_INVALID,
            'encoder = "camera" cannot turn pictures by a quarter: set rotate = "flag", or '
            'encoder = "auto"',
        )
    return Picamera2Source(rest, options)


def turns_pixels(options: Options) -> bool:
    return options.rotation % 180 != 0 and options.rotate == "picture"


class Mill(Protocol):
    """Makes the streams of what the camera delivers; outlives the camera."""

    @property
    def fps(self) -> int:
        """What the camera shall deliver."""
        ...

    def begin(self, camera: Camera) -> None: ...

    def end(self) -> None: ...

    def take(self, item: Chunk | Shot) -> None: ...

    def obey(self) -> Rung | None: ...

    def set_device(self, document: dict[str, Any]) -> None: ...

    def set_audio_track(self, track: Track | None) -> None: ...

    def write_audio(self, units: list[AccessUnit]) -> None: ...


class Picamera2Source:
    def __init__(self, which: str, options: Options) -> None:
        self._which = which
        self._options = options
        self._controls: Mapping[str, Any] = options.controls

    def run(self, sink: Sink, commands: Commands) -> None:
        system = load()
        if self._codes_itself(system):
            try:
                self._run(system, sink, commands, coded=True)
            except SourceFault as fault:
                if fault.reason is not Reason.ENCODER or self._options.encoder != "auto":
                    raise
                log.warning("%s; its pictures are encoded without picamera2", fault)
        self._run(system, sink, commands, coded=False)

    def _codes_itself(self, system: System) -> bool:
        match self._options.encoder:
            case "camera":
                return True
            case "auto":
                return system.has_hardware_encoder and not turns_pixels(self._options)
        return False

    def _run(self, system: System, sink: Sink, commands: Commands, *, coded: bool) -> None:
        handover: Handover[Chunk | Shot] = Handover(MAX_CHUNKS if coded else MAX_SHOTS)
        commands.on_command = handover.wake
        kind = CodedMill if coded else RawMill
        mill: Mill = kind(self._options, sink, commands, handover)
        microphone = Microphone(self._options, mill.set_audio_track, mill.write_audio)
        microphone.start()
        try:
            while True:
                camera = Camera(system, self._which, self._layout(mill.fps, has_small=coded))
                self._which = camera.identity or self._which  # numbers change with what is plugged
                with camera:
                    microphone.wait_settled(SETTLE_S)
                    self._use(camera, mill, microphone, handover, sink)
                self._controls = camera.controls.values
        finally:
            microphone.stop()

    def _use(
        self,
        camera: Camera,
        mill: Mill,
        microphone: Microphone,
        handover: Handover[Chunk | Shot],
        sink: Sink,
    ) -> None:
        """Until the camera is to be opened anew."""
        told_us = 0
        try:
            mill.begin(camera)
            while mill.obey() is not Rung.CAMERA:
                item = handover.take(TICK_US)
                if item is not None:
                    mill.take(item)
                sink.drop(handover.take_dropped())
                if monotonic_us() - told_us >= TELL_US:
                    told_us = monotonic_us()
                    mill.set_device(_document(camera, microphone))
        except SourceFault as fault:
            if fault.reason is Reason.ENCODER:  # the camera may be used in another way
                with contextlib.suppress(SourceFault):
                    mill.end()
            raise
        log.warning("%s is closed and opened again", camera.model)
        mill.end()

    def _layout(self, fps: int, *, has_small: bool) -> Layout:
        options, sub = self._options, self._options.sub
        small = None
        if has_small and sub is not None:
            small = fit(options.width, options.height, sub.width, sub.height)
        return Layout(
            options.width,
            options.height,
            fps,
            turned=options.rotation == 180,
            small=small,
            controls=self._controls,
        )


def _document(camera: Camera, microphone: Microphone) -> dict[str, Any]:
    document = {"why": "; ".join(camera.refusals)} if camera.refusals else {}
    return document | {
        "device": f"picamera2:{camera.identity}",
        "name": camera.model,
        "driver": "libcamera",
        "format": FORMAT,
        "sound": microphone.status(),
    }
