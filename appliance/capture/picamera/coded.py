"""H.264 as picamera2's encoders make it: two lines of it, stills beside them, commands for both."""

from __future__ import annotations

from typing import Any

from appliance.capture.commands import Commands
from appliance.capture.fault import ChangeRefused
from appliance.capture.options import MAX_FPS, Options
from appliance.capture.outlet import Sink
from appliance.capture.picamera.camera import LORES, MAIN, Camera, Stream
from appliance.capture.picamera.encoding import Chunk, Wish
from appliance.capture.picamera.handover import Handover
from appliance.capture.picamera.line import EncodedLine
from appliance.capture.picamera.pictures import Draft, Pictures, Shot
from appliance.capture.picamera.sensor_clock import SensorClock
from appliance.capture.pipeline.changes import Wishes
from appliance.capture.pipeline.console import Console
from appliance.capture.pipeline.pace import RateMeter
from appliance.capture.pipeline.stills import StillDesk, View
from appliance.capture.pipeline.tracks import TrackTable
from appliance.media.track import Track
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.messages import SUB_VIDEO_ID, VIDEO_ID, Rung

Item = Chunk | Shot


class CodedMill:
    """Lives as long as the worker; cameras come and go by `begin` and `end`."""

    def __init__(
        self, options: Options, sink: Sink, commands: Commands, handover: Handover[Item]
    ) -> None:
        self._tracks = TrackTable(sink)
        self._options = options
        self._sink = sink
        self._commands = commands
        self._handover = handover
        self._camera: Camera | None = None
        self._pictures: Pictures | None = None
        self._small: Stream | None = None
        self._lines: dict[str, EncodedLine] = {}
        self._rotation_deg = 0 if options.rotation == 180 else options.rotation
        self._fps = options.pace or options.fps
        self._bitrate_bps = options.bitrate_bps
        self._keyframe_us = options.keyframe_us
        self._text = options.overlay.text
        self._shown = options.overlay.shown
        self._wants_sub = False
        self._clock = SensorClock()
        self._meter = RateMeter()
        self._desk = StillDesk(sink)
        self._console = Console(
            sink, commands, self._desk, max_fps=MAX_FPS,
            check=self._check, apply=self._apply, figures=self._figures,
        )  # fmt: skip

    # -- the camera ----------------------------------------------------------------------------

    @property
    def fps(self) -> int:
        """What the camera shall deliver."""
        return self._fps

    def begin(self, camera: Camera) -> None:
        """Raises: SourceFault if an encoder does not start."""
        self._camera = camera
        self._fps = camera.fps
        self._small = camera.streams.get(LORES)
        drafts = {
            name: Draft(self._options, stream, self._rotation_deg)
            for name, stream in camera.streams.items()
        }
        pictures = Pictures(camera.system, drafts, camera.streams, self._handover.put)
        pictures.write(self._text)
        pictures.show_words(self._shown)
        self._pictures = pictures
        camera.start(pictures.see)
        self._lines[MAIN] = self._line(camera, MAIN, VIDEO_ID)
        self._lines[MAIN].start()
        if LORES in camera.streams:
            self._lines[LORES] = self._line(camera, LORES, SUB_VIDEO_ID)

    def end(self) -> None:
        """Raises: SourceFault if an encoder does not stop."""
        for line in self._lines.values():
            line.stop()
        for line in self._lines.values():
            line.wait_stopped()
        self._lines.clear()
        self._camera = self._pictures = None

    def _line(self, camera: Camera, stream: str, track_id: int) -> EncodedLine:
        return EncodedLine(
            camera, stream, track_id, self._wish(stream), self._handover.put, self._rotation_deg
        )

    def _wish(self, stream: str) -> Wish:
        options, sub = self._options, self._options.sub
        if stream == MAIN or sub is None:
            return Wish(self._bitrate_bps, self._keyframe_us, self._fps, threads=options.threads)
        skip = max(1, round(self._fps / sub.fps))
        return Wish(sub.bitrate_bps, sub.keyframe_us, max(1, round(self._fps / skip)), skip)

    def _follow_sub(self) -> None:
        """Only beside the large one: its first keyframe would be thrown away."""
        line = self._lines.get(LORES)
        wanted = self._wants_sub and self._tracks.has_video
        if line is None or line.is_running == wanted:
            return
        if wanted:
            line.wish = self._wish(LORES)
            line.start()
        else:
            line.stop()

    # -- what comes of it ----------------------------------------------------------------------

    def take(self, item: Item) -> None:
        """Raises: SourceFault if an encoder is lost, or a picture could not be masked."""
        if self._pictures is not None:
            self._pictures.check()  # told before the encoder got that picture
        if isinstance(item, Shot):
            if item.stream == MAIN or self._is_small_enough():
                self._desk.offer(lambda: self._view(item))
            return
        for line in self._lines.values():
            self._write(line.take(item))

    def _write(self, units: list[AccessUnit]) -> None:
        for unit in units:
            if unit.track.id == VIDEO_ID:
                self._meter.note(unit.dts_us)
        self._tracks.write(units)

    def _is_small_enough(self) -> bool:
        """Whether the lores stream has all that those who wait for stills want of a picture."""
        small = self._small
        if small is None:
            return False
        widest = self._desk.widest(self._sub_width)
        return 0 < widest <= (small.height if self._rotation_deg % 180 else small.width)

    @property
    def _sub_width(self) -> int:
        return 0 if self._options.sub is None else self._options.sub.width

    def _view(self, shot: Shot) -> View:
        time_us = self._clock.monotonic_us(shot.sensor_us)
        return View(shot.frame, time_us, self._rotation_deg, self._sub_width)

    # -- commands ------------------------------------------------------------------------------

    def obey(self) -> Rung | None:
        """What is left for the source: Rung.CAMERA. Raises: SourceFault, as `take`."""
        bitrate_bps = self._commands.take_bitrate_bps()
        if bitrate_bps is not None:
            self._bitrate_bps = bitrate_bps
            self._follow_wishes()
        if self._commands.take_keyframe():
            for line in self._lines.values():
                line.force_keyframe()
        rung = self._console.obey()
        if self._pictures is not None:
            self._pictures.check()
            if self._desk.is_wanted:
                self._pictures.want(LORES if self._is_small_enough() else MAIN)
        self._follow_sub()
        for line in self._lines.values():
            self._write(line.check())
            self._sink.drop(line.take_damaged())
        if rung is not Rung.ENCODER:
            return rung
        for line in self._lines.values():
            line.restart()
        return None

    def _check(self, wishes: Wishes) -> None:
        if wishes.sub and self._options.sub is None:
            raise ChangeRefused("sub: this camera has no second stream in the configuration")
        if wishes.fps is not None and self._camera is not None:
            self._camera.check_fps(wishes.fps)

    def _apply(self, wishes: Wishes) -> None:
        if wishes.fps is not None and wishes.fps != self._fps:
            self._fps = wishes.fps
            if self._camera is not None:
                self._camera.set_fps(wishes.fps)
        if wishes.bitrate_bps is not None:
            self._bitrate_bps = wishes.bitrate_bps
        if wishes.keyframe_us is not None:
            self._keyframe_us = wishes.keyframe_us
        if wishes.text is not None:
            self._text = wishes.text
        if wishes.shown is not None:
            self._shown = wishes.shown
        if self._pictures is not None:
            self._pictures.write(self._text)
            self._pictures.show_words(self._shown)
        if wishes.sub is not None:
            self._wants_sub = wishes.sub
        self._follow_wishes()

    def _follow_wishes(self) -> None:
        for stream, line in self._lines.items():
            line.change(self._wish(stream))
        self._console.changed()

    # -- sound ---------------------------------------------------------------------------------

    def set_audio_track(self, track: Track | None) -> None:
        self._tracks.set_audio(track)

    def write_audio(self, units: list[AccessUnit]) -> None:
        self._tracks.write(units)

    # -- what is told --------------------------------------------------------------------------

    def set_device(self, document: dict[str, Any]) -> None:
        controls = None if self._camera is None else self._camera.controls
        self._console.set_device(document, controls)

    def _figures(self, now_us: int) -> dict[str, Any]:
        camera, sub = self._camera, self._options.sub
        figures: dict[str, Any] = {
            "fps": self._fps,
            "measured_fps": self._meter.fps(now_us),
            "bitrate_bps": self._bitrate_bps,
            "keyframe_us": self._keyframe_us,
            "rotation": self._options.rotation,
            "overlay": {"shown": self._shown, "text": self._text},
            "masks": len(self._options.masks),
        }
        if camera is not None:
            main = camera.streams[MAIN]
            figures |= {
                "width": main.width,
                "height": main.height,
                "encoder": camera.system.encoder_name,
            }
            if sub is not None and LORES in camera.streams:
                lores, wish = camera.streams[LORES], self._wish(LORES)
                figures["sub"] = {
                    "width": lores.width,
                    "height": lores.height,
                    "fps": wish.fps,
                    "active": self._wants_sub,
                }
        return figures
