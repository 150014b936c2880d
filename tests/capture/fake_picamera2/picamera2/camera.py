"""The camera: a thread that exposes, and one that does what picamera2's event loop does."""

from __future__ import annotations

import os
import queue
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from libcamera import Transform

from . import stage
from .encoders import Encoder
from .request import CompletedRequest

FIRST_RANGES: dict[str, tuple[Any, Any, Any]] = {
    "AeEnable": (False, True, True),
    "AnalogueGain": (1.0, 16.0, 1.0),
    "AwbMode": (0, 7, 0),
    "Brightness": (-1.0, 1.0, 0.0),
    "ColourGains": (0.0, 32.0, (0.0, 0.0)),
    "ExposureTime": (9, 66_666, 20_000),
    "NoiseReductionMode": (0, 4, 0),
    "ScalerCrop": ((0, 0, 64, 64), (0, 0, 4608, 2592), (0, 0, 4608, 2592)),
}


class Picamera2:
    @staticmethod
    def global_camera_info() -> list[dict[str, Any]]:
        cameras = [] if stage.is_on("gone") else stage.settings["cameras"]
        return [dict(camera, Num=n) for n, camera in enumerate(cameras)]

    def __init__(
        self,
        camera_num: int = 0,
        verbose_console: Any = None,
        tuning: Any = None,
        allocator: Any = None,
    ) -> None:
        if camera_num >= len(self.global_camera_info()):
            raise RuntimeError(f"No camera number {camera_num} found")
        if stage.settings["taken"]:
            busy = OSError(16, "Failed to acquire camera: Device or resource busy")
            raise RuntimeError("Camera __init__ sequence did not complete.") from busy
        stage.note("open", number=camera_num)
        self.pre_callback: Callable[[CompletedRequest], None] | None = None
        self.camera_config: dict[str, Any] = {}
        self.lock = threading.Lock()
        self.started = False
        self._encoders: set[Encoder] = set()
        self._controls: dict[str, Any] = {}
        self._requests: queue.Queue[Any] = queue.Queue(6)
        self._stop = threading.Event()

    @property
    def camera_controls(self) -> dict[str, tuple[Any, Any, Any]]:
        shortest = 1_000_000 // stage.settings["max_fps"]
        return FIRST_RANGES | {"FrameDurationLimits": (shortest, 1_000_000, 33_333)}

    def create_video_configuration(
        self,
        main: Any = {},  # noqa: B006 - picamera2's
        lores: Any = None,
        raw: Any = {},  # noqa: B006
        transform: Any = Transform(),  # noqa: B008
        colour_space: Any = None,
        buffer_count: int = 6,
        controls: Any = {},  # noqa: B006
        display: str | None = "main",
        encode: str | None = "main",
        queue: bool = True,
        sensor: Any = {},  # noqa: B006
        use_case: str = "video",
    ) -> dict[str, Any]:
        for stream in (main, lores):
            assert stream is None or stream["format"] == "YUV420"
        return {
            "main": dict(main), "lores": None if lores is None else dict(lores), "raw": raw,
            "transform": transform, "controls": dict(controls), "display": display,
            "encode": encode, "buffer_count": buffer_count, "queue": queue,
        }  # fmt: skip

    def configure(self, camera_config: Any = None) -> None:
        if self.started:
            raise RuntimeError("Camera must be stopped before configuring")
        for name in ("main", "lores"):
            stream = camera_config[name]
            if stream is not None:
                width, height = stream["size"]
                if width > 4608 or height > 2592:
                    raise RuntimeError(f"Invalid camera configuration: {camera_config}")
                stream["stride"] = width + stage.settings["pad"]
        if camera_config["lores"] is not None:
            for large, small in zip(
                camera_config["main"]["size"], camera_config["lores"]["size"], strict=True
            ):
                if small > large:
                    raise RuntimeError("lores stream dimensions may not exceed main stream")
        self.camera_config = camera_config
        self._controls = {}
        self.set_controls(camera_config["controls"])
        stage.note(
            "configure", transform=vars(camera_config["transform"]),
            **{n: camera_config[n] and camera_config[n]["size"] for n in ("main", "lores", "raw")},
        )  # fmt: skip

    def camera_configuration(self) -> dict[str, Any]:
        return self.camera_config

    def set_controls(self, controls: Any) -> None:
        for name in controls:
            if name not in self.camera_controls:
                raise RuntimeError(f"Control {name} is not advertised by libcamera")
        self._controls |= controls
        stage.note("controls", values=controls)

    def start(self, config: Any = None, show_preview: Any = False) -> None:
        self._stop.clear()
        self.started = True
        self._threads = [
            threading.Thread(target=self._expose, daemon=True),
            threading.Thread(target=self._loop, daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        stage.note("start")

    def stop(self) -> None:
        if not self.started:
            return
        stage.block_while("hang")
        self._stop.set()
        self._requests.put(None)
        for thread in self._threads:
            thread.join()
        self.started = False

    def close(self) -> None:
        self.stop()
        stage.note("close")

    def start_encoder(
        self,
        encoder: Any = None,
        output: Any = None,
        pts: Any = None,
        quality: Any = None,
        name: str | None = None,
    ) -> None:
        encoder.output = output
        encoder.name = name or self.camera_config["encode"]
        stream = self.camera_config[encoder.name]
        if stream is None:
            raise RuntimeError(f"Encode stream {name} was not defined")
        encoder.width, encoder.height = stream["size"]
        encoder.stride = stream["stride"]
        encoder.start(quality=quality)
        with self.lock:
            self._encoders.add(encoder)

    def stop_encoder(self, encoders: Any = None) -> None:
        encoders.stop()
        with self.lock:
            self._encoders.remove(encoders)

    # -- what the sensor and the event loop do ---------------------------------------------------

    def _expose(self) -> None:
        number = 0
        while not self._stop.wait(self._controls["FrameDurationLimits"][0] / 1_000_000):
            if stage.is_on("stall"):
                continue
            number += 1
            if number % 25 == 0:
                stage.note("exposed", pictures=number)
            try:
                self._requests.put_nowait(self._request(number))
            except queue.Full:
                continue  # as a camera without a free buffer does

    def _request(self, number: int) -> dict[str, Any]:
        stamp = time.monotonic_ns() + stage.settings["stamp_ahead_ns"]
        buffers = {}
        for name in ("main", "lores"):
            stream = self.camera_config[name]
            if stream is not None:
                stride, (_, height) = stream["stride"], stream["size"]
                noise = stage.is_on("noise")
                luma = os.urandom(stride * height) if noise else bytes((180,)) * (stride * height)
                chroma = bytes((90,)) * (stride // 2 * (height // 2) * 2)
                buffers[name] = bytearray(luma + chroma)
        return {"buffers": buffers, "metadata": {"SensorTimestamp": stamp, "number": number}}

    def _loop(self) -> None:
        try:
            while (request := self._requests.get()) is not None:
                self.process_requests(CompletedRequest(request, self))
        except Exception:
            traceback.print_exc()  # and the thread has ended, as NullPreview's does

    def process_requests(self, display: CompletedRequest) -> None:
        with self.lock:
            if self.pre_callback:
                self.pre_callback(display)
            for encoder in self._encoders:
                encoder.encode(encoder.name, display)
