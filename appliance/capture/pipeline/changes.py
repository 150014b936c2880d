"""What a running camera can be told, checked before any of it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from appliance.capture.fault import ChangeRefused
from appliance.capture.options import MAX_TEXT_CHARS

BITRATE_BPS = (10_000, 200_000_000)
KEYFRAME_US = (100_000, 60_000_000)


class Controls(Protocol):
    """The settings of a device, by its own names."""

    def describe(self) -> dict[str, dict[str, Any]]:
        """For each: type, value, and as it has them min, max, step, default, choices."""
        ...

    def set(self, values: Mapping[str, Any]) -> None:
        """All or nothing. Raises: ChangeRefused that names the range."""
        ...


@dataclass(slots=True)
class Wishes:
    """A change, read; None for what stays."""

    bitrate_bps: int | None = None
    fps: int | None = None
    keyframe_us: int | None = None
    text: str | None = None
    shown: bool | None = None
    sub: bool | None = None
    controls: dict[str, Any] = field(default_factory=dict)


def read_change(values: Mapping[str, Any], *, max_fps: int) -> Wishes:
    """Raises: ChangeRefused that names the first value that cannot be, and what can."""
    wishes = Wishes()
    for key, value in values.items():
        match key:
            case "bitrate":
                wishes.bitrate_bps = _number(key, value, *BITRATE_BPS, "bits/s")
            case "fps":
                wishes.fps = _number(key, value, 1, max_fps, "pictures/s")
            case "keyframe":
                wishes.keyframe_us = _number(key, value, *KEYFRAME_US, "µs")
            case "text":
                if not isinstance(value, str) or len(value) > MAX_TEXT_CHARS:
                    raise ChangeRefused(f"text: give at most {MAX_TEXT_CHARS} characters")
                wishes.text = value
            case "overlay":
                wishes.shown = _flag(key, value)
            case "sub":
                wishes.sub = _flag(key, value)
            case "controls":
                wishes.controls = _controls(value)
            case _:
                known = "bitrate, controls, fps, keyframe, overlay, sub and text"
                raise ChangeRefused(f"{key[:40]!r} cannot be changed; there are {known}")
    return wishes


def _number(key: str, value: Any, low: int, high: int, unit: str) -> int:
    if type(value) is not int or not low <= value <= high:
        raise ChangeRefused(f"{key} = {str(value)[:40]}: give {low} to {high} {unit}")
    return value


def _flag(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ChangeRefused(f"{key} = {str(value)[:40]}: give true or false")
    return value


def _controls(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(map(_is_setting, value.values())):
        raise ChangeRefused("controls: give an object of names and numbers, words or true/false")
    return value


def _is_setting(value: Any) -> bool:
    """Some of libcamera's are lists of numbers."""
    if isinstance(value, list):
        return all(isinstance(each, int | float) for each in value)
    return isinstance(value, bool | int | float | str)
