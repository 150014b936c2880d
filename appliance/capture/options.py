"""What the appliance tells a worker about its stream, as one JSON object on the command line."""

from __future__ import annotations

import json
import types
import typing
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from appliance.capture.fault import SourceFault
from appliance.wire.pipe.messages import Reason

MIN_SIDE_PX, MAX_SIDE_PX = 64, 4096
MAX_FPS = 120
MAX_MASKS = 16
MAX_TEXT_CHARS = 200
ENCODERS = ("auto", "camera", "h264_v4l2m2m", "libx264")
ROTATIONS_DEG = (0, 90, 180, 270)
ROTATES = ("flag", "picture")
POSITIONS = ("top-left", "top", "top-right", "bottom-left", "bottom", "bottom-right")


@dataclass(frozen=True, slots=True)
class OverlayOptions:
    """What is written on the picture. clock: a strftime(3) format, empty for no clock;
    size_percent: of the picture's height."""

    shown: bool = False
    name: str = ""
    clock: str = ""
    text: str = ""
    position: str = "top-left"
    size_percent: float = 4.0


@dataclass(frozen=True, slots=True)
class MaskOptions:
    """A rectangle that is never shown; fractions of the sensor's picture, before any turning."""

    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0


@dataclass(frozen=True, slots=True)
class SubOptions:
    """The second, smaller stream of the same camera."""

    width: int = 640
    height: int = 360
    fps: int = 15
    bitrate_bps: int = 500_000
    keyframe_us: int = 2_000_000


@dataclass(frozen=True, slots=True)
class Options:
    """Of these a source uses what concerns it: one that passes units through encodes nothing.

    audio: "none" for no sound at all, "auto", or an ALSA device.
    rotation: degrees clockwise by which the picture must be turned to stand upright.
    rotate: how 90 and 270 are done: "flag" tells viewers to turn it, "picture" turns the pixels.
    fps: at which the camera is opened, the most there can be; pace: how many of these pictures a
    second are taken in the beginning, 0 for all.
    threads: of the software encoder; 0 lets it choose. adapt: step down when it is too slow.
    controls: of the device, by its own names.
    slate_text: for `slate:` only.
    """

    stream: str = "live/camera"
    device: str = "porthole"
    width: int = 1280
    height: int = 720
    fps: int = 30
    pace: int = 0
    bitrate_bps: int = 2_000_000
    keyframe_us: int = 2_000_000
    encoder: str = "auto"
    rotation: int = 0
    rotate: str = "flag"
    threads: int = 0
    adapt: bool = True
    audio: str = "auto"
    audio_bitrate_bps: int = 64_000
    audio_channels: int = 1
    audio_rate_hz: int = 48_000
    controls: dict[str, Any] = field(default_factory=dict)
    overlay: OverlayOptions = field(default_factory=OverlayOptions)
    masks: tuple[MaskOptions, ...] = ()
    sub: SubOptions | None = None
    slate_text: str = ""

    @classmethod
    def from_json(cls, text: str) -> Options:
        """Raises: SourceFault if the text is not an object of these fields, or out of range."""
        try:
            given = json.loads(text)
        except ValueError as error:
            raise SourceFault(Reason.SOURCE_INVALID, f"the options are not JSON: {error}") from None
        options: Options = _build(cls, given, "the options")
        options.check()
        return options

    def check(self) -> None:
        """Raises: SourceFault that names the first value no encoder can work with."""
        sides = [("width", self.width), ("height", self.height)]
        if self.sub is not None:
            sides += [("sub width", self.sub.width), ("sub height", self.sub.height)]
            _check_range("sub fps", self.sub.fps, 1, MAX_FPS)
        for name, side in sides:
            if not MIN_SIDE_PX <= side <= MAX_SIDE_PX or side % 2:
                raise _invalid(
                    f"{name} = {side}: give an even number from {MIN_SIDE_PX} to {MAX_SIDE_PX}"
                )
        _check_choice("encoder", self.encoder, ENCODERS)
        _check_choice("rotation", self.rotation, ROTATIONS_DEG)
        _check_choice("rotate", self.rotate, ROTATES)
        _check_choice("overlay position", self.overlay.position, POSITIONS)
        _check_range("fps", self.fps, 1, MAX_FPS)
        _check_range("pace", self.pace, 0, self.fps)
        _check_range("threads", self.threads, 0, 16)
        _check_range("audio_channels", self.audio_channels, 1, 2)
        if not 10_000 <= self.bitrate_bps <= 200_000_000:
            raise _invalid(f"bitrate = {self.bitrate_bps}: give 10k to 200M bits/s")
        if not 100_000 <= self.keyframe_us <= 60_000_000:
            raise _invalid(f"keyframe = {self.keyframe_us} µs: give 0.1 s to 60 s")
        if not 8_000 <= self.audio_bitrate_bps <= 512_000:
            raise _invalid(f"audio bitrate = {self.audio_bitrate_bps}: give 8k to 512k bits/s")
        if len(self.masks) > MAX_MASKS:
            raise _invalid(f"{len(self.masks)} masks: at most {MAX_MASKS} are possible")


def _build(cls: Any, given: Any, where: str) -> Any:
    """An instance of a dataclass from what JSON gave; nested ones and tuples of them too."""
    if not isinstance(given, dict):
        raise _invalid(f"{where} are not a JSON object")
    hints = typing.get_type_hints(cls)
    names = {entry.name for entry in fields(cls)}
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in names:
            raise _invalid(f"option {key!r} is unknown or mistyped")
        values[key] = _value(hints[key], value, key)
    return cls(**values)


def _value(hint: Any, value: Any, key: str) -> Any:
    if isinstance(hint, types.UnionType):
        if value is None:
            return None
        hint = typing.get_args(hint)[0]
    if is_dataclass(hint):
        return _build(hint, value, f"option {key!r}")
    origin = typing.get_origin(hint)
    if origin is tuple and isinstance(value, list):
        return tuple(_value(typing.get_args(hint)[0], item, key) for item in value)
    if origin is dict and isinstance(value, dict):
        return value
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise _invalid(f"option {key!r} is unknown or mistyped")
    return value


def _check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        shown = ", ".join(map(str, choices[:-1]))
        raise _invalid(f"{name} = {value!r}: there are {shown} and {choices[-1]}")


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise _invalid(f"{name} = {value}: give {low} to {high}")


def _invalid(text: str) -> SourceFault:
    return SourceFault(Reason.SOURCE_INVALID, text)
