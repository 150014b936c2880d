"""Pictures as the sensor gives them, for encoders of our own: on boards without one of hardware,
and where the pixels shall be turned by a quarter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from appliance.capture.commands import Commands
from appliance.capture.options import Options
from appliance.capture.outlet import Sink
from appliance.capture.picamera.camera import Camera
from appliance.capture.picamera.encoding import Chunk
from appliance.capture.picamera.handover import Handover
from appliance.capture.picamera.pictures import Pictures, Shot
from appliance.capture.picamera.sensor_clock import SensorClock
from appliance.capture.pipeline.line import Pipeline
from appliance.media.track import Track
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.messages import Rung


class RawMill:
    """As CodedMill, around a Pipeline: that masks, writes, turns and encodes."""

    def __init__(
        self, options: Options, sink: Sink, commands: Commands, handover: Handover[Chunk | Shot]
    ) -> None:
        turned_deg = 180 if options.rotation == 180 else 0
        wish = "auto" if options.encoder == "camera" else options.encoder
        self._pipeline = Pipeline(
            replace(options, encoder=wish), sink, commands, turned_deg=turned_deg
        )
        self.fps = options.fps
        self._handover = handover
        self._camera: Camera | None = None
        self._pictures: Pictures | None = None
        self._clock = SensorClock()

    def begin(self, camera: Camera) -> None:
        self._camera = camera
        self._pictures = Pictures(
            camera.system, {}, camera.streams, self._handover.put, wants_all=True
        )
        camera.start(self._pictures.see)

    def end(self) -> None:
        self._camera = self._pictures = None

    def take(self, item: Chunk | Shot) -> None:
        if isinstance(item, Shot):
            self._pipeline.feed(item.frame, self._clock.monotonic_us(item.sensor_us))

    def obey(self) -> Rung | None:
        if self._pictures is not None:
            self._pictures.check()
        return self._pipeline.obey()

    def set_audio_track(self, track: Track | None) -> None:
        self._pipeline.set_audio_track(track)

    def write_audio(self, units: list[AccessUnit]) -> None:
        self._pipeline.write_audio(units)

    def set_device(self, document: dict[str, Any]) -> None:
        controls = None if self._camera is None else self._camera.controls
        self._pipeline.set_device(document, controls)
