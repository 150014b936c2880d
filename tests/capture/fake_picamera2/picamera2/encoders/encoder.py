"""What both encoders share; pictures are encoded by libx264 here."""

from __future__ import annotations

import threading
from fractions import Fraction
from typing import Any

import av

from .. import stage


class Encoder:
    def __init__(self, framerate: int = 30) -> None:
        self.firsttimestamp: int | None = None
        self.frame_skip_count = 1
        self._skip_count = 0
        self._lock = threading.Lock()
        self._running = False
        self._key_frames_requested = 0
        self._key_frames_generated = 0
        self.output: Any = None
        self.name = ""
        self.width = self.height = self.stride = 0
        self.framerate = framerate
        self.bitrate: int | None = None
        self.iperiod: int | None = None
        self.profile: str | None = None

    def encode(self, stream: str, request: Any) -> None:
        if self._skip_count == 0:
            with self._lock:
                if not self._running:
                    return
                self._encode(stream, request)
        self._skip_count = (self._skip_count + 1) % self.frame_skip_count

    def start(self, quality: Any = None) -> None:
        with self._lock:
            if self._running:
                raise RuntimeError("Encoder already running")
            if stage.settings["no_encoder"]:
                raise FileNotFoundError(2, "No such file or directory", "/dev/video11")
            stage.note(
                "encoder", stream=self.name, bitrate=self.bitrate, iperiod=self.iperiod,
                framerate=self.framerate, profile=self.profile, skip=self.frame_skip_count,
            )  # fmt: skip
            self._running = True
            self.firsttimestamp = None
            self._context = self._open()
            self.output.start()

    def stop(self) -> None:
        stage.block_while("hang-encoder")
        with self._lock:
            if not self._running:
                raise RuntimeError("Encoder already stopped")
            self._running = False
            self.output.stop()
        stage.note("encoder stopped", stream=self.name)

    def _open(self) -> Any:
        context = av.VideoCodecContext.create("libx264", "w")
        context.width, context.height, context.pix_fmt = self.width, self.height, "yuv420p"
        context.time_base = Fraction(1, 1_000_000)
        context.framerate = Fraction(self.framerate)
        context.bit_rate = self.bitrate
        context.gop_size = self.iperiod
        context.thread_count = 1
        context.options = {
            "preset": "ultrafast", "tune": "zerolatency", "forced-idr": "1",
            "x264-params": "repeat-headers=1:scenecut=0",
        }  # fmt: skip
        return context

    def _packets(self, stream: str, request: Any) -> list[tuple[bytes, bool, int]]:
        frame = av.VideoFrame(self.width, self.height, "yuv420p")
        rows = memoryview(request.request["buffers"][stream])
        position, stride = 0, self.stride
        for plane in frame.planes:
            line = stride if plane.width == self.width else stride // 2
            data = memoryview(plane).cast("B")
            for row in range(plane.height):
                start = position + row * line
                to = row * plane.line_size
                data[to : to + plane.width] = rows[start : start + plane.width]
            position += line * plane.height
        sensor_us = int(request.request["metadata"]["SensorTimestamp"] / 1000)
        if self.firsttimestamp is None:
            self.firsttimestamp = sensor_us
        frame.pts = sensor_us - self.firsttimestamp
        frame.time_base = Fraction(1, 1_000_000)
        if self._key_frames_requested > self._key_frames_generated:
            self._key_frames_generated += 1
            frame.pict_type = av.video.frame.PictureType.I
        return [(bytes(p), p.is_keyframe, p.pts) for p in self._context.encode(frame)]

    def _encode(self, stream: str, request: Any) -> None:
        raise NotImplementedError

    def outputframe(
        self,
        frame: bytes,
        keyframe: bool = True,
        timestamp: int | None = None,
        packet: Any = None,
        audio: bool = False,
    ) -> None:
        self.output.outputframe(frame, keyframe, timestamp, packet, audio)
