"""From a V4L2 camera's buffers into the stream: units that are passed on, or pictures to encode.

libav is imported only where pictures are decoded or encoded: a camera that gives H.264 needs none
of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from appliance.capture.clock import monotonic_us
from appliance.capture.commands import Commands
from appliance.capture.fault import ChangeRefused
from appliance.capture.options import MAX_FPS, Options
from appliance.capture.outlet import Sink
from appliance.capture.pipeline.passing import CameraEncoder, PassingLine
from appliance.capture.v4l2.camera import OpenedCamera
from appliance.capture.v4l2.codec_controls import BITRATE, FORCE_KEY, GOP_SIZE, I_PERIOD
from appliance.capture.v4l2.formats import Kind

if TYPE_CHECKING:
    from appliance.capture.pipeline.line import Pipeline
    from appliance.capture.shots import Pictures


class UnitFeed:
    """The camera's own H.264."""

    kind = Kind.H264

    def __init__(
        self, camera: OpenedCamera, options: Options, sink: Sink, commands: Commands
    ) -> None:
        self._camera = camera
        self._is_first = True
        self.line: PassingLine = PassingLine(
            replace(options, fps=declared_fps(camera)), sink, commands, self._encoder(),
            turned_deg=camera.turned_deg, awaits_audio=options.audio != "none",
        )  # fmt: skip

    def _encoder(self) -> CameraEncoder:
        codec = self._camera.codec
        has_period = codec.has(I_PERIOD) or codec.has(GOP_SIZE)
        return CameraEncoder(
            request_keyframe=self._request_keyframe if codec.has(FORCE_KEY) else None,
            set_bitrate=self._set_bitrate if codec.has(BITRATE) else None,
            set_keyframe_us=self._set_keyframe_us if has_period else None,
        )

    def _request_keyframe(self) -> None:
        self._camera.codec.force_key()

    def _set_bitrate(self, bitrate_bps: int) -> None:
        codec = self._camera.codec
        least, most = codec.range_of(BITRATE)
        if not least <= bitrate_bps <= most or not codec.set_bitrate(bitrate_bps):
            raise ChangeRefused(f"bitrate: this camera takes {least} to {most} bits/s")

    def _set_keyframe_us(self, keyframe_us: int) -> None:
        if not self._camera.codec.set_keyframe_us(keyframe_us, float(self._camera.rate_hz)):
            raise ChangeRefused("keyframe: the camera refuses it now")

    def begin(self, camera: OpenedCamera) -> None:
        """The camera was started, for the first time or again after it was away."""
        self._camera = camera
        if not self._is_first:
            self.line.begin_anew()
        self._is_first = False

    def take(self, planes: Sequence[memoryview], time_us: int) -> bool:
        """Whether it was whole; the planes may be given back then."""
        data = bytes(planes[0]) if planes else b""
        if not data:
            return False
        self.line.pass_unit(data, time_us)
        return True


class PictureFeed:
    """Pictures, decoded from JPEG or copied from raw memory, then encoded here."""

    def __init__(
        self, camera: OpenedCamera, options: Options, sink: Sink, commands: Commands
    ) -> None:
        from appliance.capture.pipeline.line import Pipeline
        from appliance.capture.shots import open_pictures

        self.kind = camera.choice.kind
        self._open_pictures = open_pictures
        self._pictures: Pictures | None = None
        fps = min(options.fps, declared_fps(camera))
        self.line: Pipeline = Pipeline(
            replace(options, fps=fps), sink, commands,
            turned_deg=camera.turned_deg, awaits_audio=options.audio != "none",
        )  # fmt: skip

    def begin(self, camera: OpenedCamera) -> None:
        self._pictures = self._open_pictures(camera.shape)

    def take(self, planes: Sequence[memoryview], time_us: int) -> bool:
        began_us = monotonic_us()
        if self._pictures is None or not self.line.is_due(time_us):
            return True
        frame = self._pictures.picture(planes)
        if frame is None:
            return False
        self.line.feed(
            frame, time_us, keep=self._pictures.keeps, spent_us=monotonic_us() - began_us
        )
        return True


Feed = UnitFeed | PictureFeed


def open_feed(camera: OpenedCamera, options: Options, sink: Sink, commands: Commands) -> Feed:
    """Before the camera is started."""
    make: Callable[..., Any] = UnitFeed if camera.choice.kind is Kind.H264 else PictureFeed
    feed: Feed = make(camera, options, sink, commands)
    return feed


def declared_fps(camera: OpenedCamera) -> int:
    return min(max(1, round(camera.rate_hz)), MAX_FPS)
