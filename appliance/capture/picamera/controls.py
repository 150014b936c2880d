"""libcamera's controls of one camera: what there is, its ranges, and setting it all or nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from appliance.capture.fault import ChangeRefused
from appliance.capture.picamera.api import Range

FRAME_DURATION = "FrameDurationLimits"  # is the stream's frame rate, which has a setting of its own
# What hands them back to the camera: of the first two that is picamera2's own meaning of 0, of the
# gains libcamera's. It stands as their default, so that taking a setting back does that.
AUTOMATIC: dict[str, Any] = {"AnalogueGain": 0.0, "ColourGains": [0.0, 0.0], "ExposureTime": 0}
AUTOMATIC_AT_ZERO = frozenset({"AnalogueGain", "ExposureTime"})
# libcamera gives ranges for one number of these; how many there must be (control_ids_core.yaml).
LENGTHS = {"ColourGains": 2, "ColourCorrectionMatrix": 9, "FrameDurationLimits": 2}
RECTANGLE = 4
RECTANGLE_LISTS = frozenset({"AfWindows", "ScalerCrops"})  # their ranges are of one rectangle
MAX_LIST = 64  # numbers in a list; against a request that is all digits
# What rpicam-vid and other programs for this camera call them; libcamera's names go in any case
# and with any dashes.
ALIASES = {
    "awb": "AwbMode",
    "awbgains": "ColourGains",
    "denoise": "NoiseReductionMode",
    "ev": "ExposureValue",
    "exposure": "ExposureTime",
    "gain": "AnalogueGain",
    "metering": "AeMeteringMode",
    "shutter": "ExposureTime",
}
Described = dict[str, dict[str, Any]]


class Controls:
    """ranges: `Picamera2.camera_controls`; choices: the names of a control's values, if any;
    apply: `Picamera2.set_controls`."""

    def __init__(
        self,
        ranges: Mapping[str, Range],
        choices: Callable[[str], Mapping[int, str]],
        apply: Callable[[dict[str, Any]], None],
    ) -> None:
        self._ranges = {name: limits for name, limits in ranges.items() if name != FRAME_DURATION}
        self._choices = {name: dict(choices(name)) for name in self._ranges}
        self._apply = apply
        self._values: dict[str, Any] = {}

    @property
    def values(self) -> dict[str, Any]:
        """What was set, by libcamera's names."""
        return dict(self._values)

    def describe(self) -> Described:
        """By name: type, min, max, default, value (null as long as nobody set one), choices."""
        return {name: self._describe(name) for name in sorted(self._ranges)}

    def set(self, values: Mapping[str, Any]) -> None:
        """Lists may also be given as text: ``1.8,1.5``, and of rectangles ``0,0,9,9;10,10,9,9``.

        Raises: ChangeRefused with the range, and nothing is set.
        """
        named = {self._name(given): value for given, value in values.items()}
        checked = {name: self._checked(name, value) for name, value in named.items()}
        if not checked:
            return
        try:
            self._apply(checked)
        except Exception as error:  # of libcamera's own checks
            raise ChangeRefused(f"the camera refuses {', '.join(checked)}: {error}") from None
        self._values |= checked

    def _describe(self, name: str) -> dict[str, Any]:
        least, most, default = self._ranges[name]
        kind, value = self._type(name), self._values.get(name)
        if kind == "menu":
            words = self._menu_of(name)
            return {
                "type": kind,
                "choices": list(words.values()),
                "default": _plain(words.get(default)),
                "value": None if value is None else words.get(value),
            }
        return {
            "type": kind,
            "min": 0 if name in AUTOMATIC_AT_ZERO else _plain(least),
            "max": _plain(most),
            "default": AUTOMATIC.get(name, _plain(default)),
            "value": _plain(value),
        }

    def _menu_of(self, name: str) -> dict[int, str]:
        least, most, _ = self._ranges[name]
        return {n: word for n, word in sorted(self._choices[name].items()) if least <= n <= most}

    def _type(self, name: str) -> str:
        limits = self._ranges[name]
        if name in LENGTHS or any(isinstance(value, list | tuple) for value in limits):
            return "list"
        kinds = {type(value) for value in limits if value is not None}
        if kinds == {bool}:
            return "bool"
        if kinds == {int}:
            return "menu" if self._choices[name] else "int"
        return "float" if kinds and kinds <= {int, float} else "text"

    def _name(self, given: str) -> str:
        """Raises: ChangeRefused that names what there is."""
        typed = given.lower().replace("_", "").replace("-", "")
        wanted = ALIASES.get(typed, typed).lower()
        for name in self._ranges:
            if name.lower() == wanted:
                return name
        if wanted == FRAME_DURATION.lower():
            raise ChangeRefused(f"{FRAME_DURATION} is what fps sets: change fps instead")
        raise ChangeRefused(f"this camera has no control {given[:40]!r}{self._hint(wanted)}")

    def _checked(self, name: str, value: Any) -> Any:
        match self._type(name):
            case "bool":
                return self._bool(name, value)
            case "menu":
                return self._menu(name, value)
            case "list":
                return self._list(name, value)
            case "text":
                raise ChangeRefused(f"{name} is of a kind that cannot be set from here")
        return self._number(name, value)

    def _hint(self, wanted: str) -> str:
        known = {name.lower(): name for name in self._ranges}
        near = get_close_matches(wanted[:40], known, 1, 0.6)
        if near:
            return f"; did you mean {known[near[0]]}?"
        return f"; it has {', '.join(sorted(self._ranges))}"

    def _bool(self, name: str, value: Any) -> bool:
        if isinstance(value, bool) or (isinstance(value, int) and value in (0, 1)):
            return bool(value)
        raise ChangeRefused(f"{name} is {_cut(value)}: give true or false")

    def _number(self, name: str, value: Any) -> int | float:
        least, most, _ = self._ranges[name]
        whole = self._type(name) == "int"
        kind = "a whole number" if whole else "a number"
        zero = " (0: automatic)" if name in AUTOMATIC_AT_ZERO else ""
        allowed = f"give {kind} from {_shown(least)} to {_shown(most)}{zero}"
        if not _is_number(value) or (whole and value != int(value)):
            raise ChangeRefused(f"{name} is {_cut(value)}: {allowed}")
        if not (least <= value <= most or (zero and value == 0)):
            raise ChangeRefused(f"{name} = {_shown(value)}: {allowed}")
        return int(value) if whole else float(value)

    def _menu(self, name: str, value: Any) -> int:
        """By its word in any case, or by its number."""
        words = self._menu_of(name)
        for number, word in words.items():
            if value == number and not isinstance(value, bool):
                return number
            if isinstance(value, str) and value.lower() == word.lower():
                return number
        allowed = ", ".join(f"{word} ({number})" for number, word in words.items())
        raise ChangeRefused(f"{name} is {_cut(value)}: give one of {allowed}")

    def _list(self, name: str, value: Any) -> Any:
        """A list of numbers; a rectangle or a list of such: x, y, width, height."""
        least, most, default = self._ranges[name]
        if name in LENGTHS:
            low, high = _scalar(least), _scalar(most)
            return tuple(self._items(name, value, LENGTHS[name], low, high))
        if name in RECTANGLE_LISTS:
            rectangles = _rectangles(value)
            return [self._rectangle(name, each) for each in rectangles[:MAX_LIST]]
        sample = default if isinstance(default, list | tuple) else least
        count = len(sample) if isinstance(sample, list | tuple) else 0
        if count == RECTANGLE:
            return self._rectangle(name, value)
        return tuple(self._items(name, value, count, None, None))

    def _rectangle(self, name: str, value: Any) -> tuple[int, ...]:
        return tuple(map(int, self._items(name, value, RECTANGLE, 0, 65535)))

    def _items(
        self, name: str, value: Any, count: int, least: float | None, most: float | None
    ) -> list[float]:
        span = "" if least is None or most is None else f" from {_shown(least)} to {_shown(most)}"
        allowed = f"give a list of {count or 'up to 64'} numbers{span}"
        items = _numbers(value)
        right = len(items) == count if count else 1 <= len(items) <= MAX_LIST
        if not right or not all(map(_is_number, items)):
            raise ChangeRefused(f"{name} is {_cut(value)}: {allowed}")
        for item in items:
            if (least is not None and item < least) or (most is not None and item > most):
                raise ChangeRefused(f"{name} has {_shown(item)}: {allowed}")
        return items


def fps_range(ranges: Mapping[str, Range]) -> tuple[float, float] | None:
    """The frame rates of the mode the camera is in; None if it does not say."""
    if FRAME_DURATION not in ranges:
        return None
    least, most, _ = ranges[FRAME_DURATION]
    shortest_us, longest_us = _scalar(least), _scalar(most)
    if shortest_us <= 0 or longest_us <= 0:
        return None
    return 1_000_000 / longest_us, 1_000_000 / shortest_us


def duration_us(fps: int) -> tuple[int, int]:
    return 1_000_000 // fps, 1_000_000 // fps


def _scalar(value: Any) -> float:
    return _scalar(value[0]) if isinstance(value, list | tuple) and value else float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _rectangles(value: Any) -> list[Any]:
    if isinstance(value, str):
        return value.split(";")
    is_nested = isinstance(value, list | tuple) and value and isinstance(value[0], list | tuple)
    return list(value) if is_nested else [value]


def _numbers(value: Any) -> list[Any]:
    """What does not look like a list of numbers becomes one that is refused."""
    if isinstance(value, str):
        try:
            return [float(part) for part in value.split(",")]
        except ValueError:
            return [None]
    return list(value) if isinstance(value, list | tuple) else [None]


def _plain(value: Any) -> Any:
    """What JSON can hold."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _cut(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"
