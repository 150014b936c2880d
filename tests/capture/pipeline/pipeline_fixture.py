"""A sink that remembers, and pictures to feed a line with."""

from __future__ import annotations

from typing import Any

import av

from appliance.capture.commands import Commands
from appliance.capture.encoders.encoder import BT709, LIMITED_RANGE
from appliance.capture.options import Options
from appliance.capture.pipeline.line import Pipeline
from appliance.media.track import Kind, Track
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.messages import (
    SUB_VIDEO_ID,
    VIDEO_ID,
    Change,
    Picture,
    RequestPicture,
)

SMALL: dict[str, Any] = {
    "width": 256, "height": 144, "fps": 30, "bitrate_bps": 200_000, "audio": "none",
}  # fmt: skip


class Collector:
    """A `Sink`; events in the order they came."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.tracks: list[tuple[Track, ...]] = []
        self.units: list[AccessUnit] = []
        self.states: list[dict[str, Any]] = []
        self.answers: dict[int, str] = {}
        self.pictures: list[Picture] = []
        self.dropped = 0

    def describe(self, tracks: tuple[Track, ...]) -> None:
        self.tracks.append(tracks)
        self.events.append(tracks)

    def write(self, unit: AccessUnit) -> None:
        self.units.append(unit)
        self.events.append(unit)

    def drop(self, count: int) -> None:
        self.dropped += count

    def state(self, document: dict[str, Any]) -> None:
        self.states.append(document)

    def answer(self, serial: int, error: str = "") -> None:
        self.answers[serial] = error

    def picture(self, picture: Picture) -> None:
        self.pictures.append(picture)

    def of(self, track_id: int) -> list[AccessUnit]:
        return [unit for unit in self.units if unit.track.id == track_id]

    @property
    def main(self) -> list[AccessUnit]:
        return self.of(VIDEO_ID)

    @property
    def sub(self) -> list[AccessUnit]:
        return self.of(SUB_VIDEO_ID)

    @property
    def sound(self) -> list[AccessUnit]:
        return [unit for unit in self.units if unit.track.kind is Kind.AUDIO]


class Rig:
    """A Pipeline fed by hand, at 30 pictures a second of a clock of its own."""

    def __init__(self, *, now_us: int = 1_000_000_000, **options: Any) -> None:
        pipeline_options = {
            key: options.pop(key)
            for key in ("board", "turned_deg", "awaits_audio")
            if key in options
        }
        self.options = Options(**SMALL | options)
        self.sink = Collector()
        self.commands = Commands()
        self.pipeline = Pipeline(self.options, self.sink, self.commands, **pipeline_options)
        self.now_us = now_us
        self.step_us = 1_000_000 // 30
        self._serial = 0

    def feed(self, count: int, frame: av.VideoFrame | None = None, *, keep: bool = False) -> None:
        for _ in range(count):
            self.pipeline.obey()
            picture = frame or grey(self.options.width, self.options.height)
            self.pipeline.feed(picture, self.now_us, keep=keep)
            self.now_us += self.step_us

    def change(self, **values: Any) -> str:
        """The answer."""
        self._serial += 1
        self.commands.handle(Change(self._serial, values))
        self.pipeline.obey()
        return self.sink.answers[self._serial]

    def ask(self, **request: Any) -> None:
        self._serial += 1
        self.commands.handle(RequestPicture(self._serial, **request))


def grey(width: int, height: int, luma: int = 120, name: str = "yuv420p") -> av.VideoFrame:
    frame = av.VideoFrame(width, height, name)
    for number, plane in enumerate(frame.planes):
        plane.update(bytes((luma if not number else 128,)) * plane.buffer_size)
    if name == "yuv420p":
        frame.colorspace, frame.color_range = BT709, LIMITED_RANGE
    return frame


def pixels(frame: av.VideoFrame) -> list[bytes]:
    """Rows of luma."""
    plane = frame.planes[0]
    data = bytes(plane)
    return [data[y * plane.line_size :][: frame.width] for y in range(frame.height)]
