"""The body of ``PATCH /api/v1/cameras/<name>``: what somebody wants a camera to do from now on.

Only what does not depend on the camera is looked at here. Which controls it has, and how far each
of them goes, is known to the camera alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from appliance.errors import ConfigError
from appliance.media.quantity import NAMES, Unit, format_quantity, parse_quantity
from appliance.services.contract import VideoSettings

MAX_CONTROLS = 64  # in one request; no camera has as many
MAX_NAME_CHARS = 64
MAX_TEXT_CHARS = 200
MAX_LIST_ITEMS = 16  # of one control: a rectangle, the gains of colours


def parse_change(document: Any) -> dict[str, Any]:
    """The values for `Camera.change`: bitrate in bit/s, keyframe in µs, the rest as it came.

    Raises: ConfigError that names the first key that is wrong, and what is possible.
    """
    if not isinstance(document, Mapping):
        raise ConfigError('send a JSON object, such as {"fps": 15}')
    if not document:
        raise ConfigError(f"nothing to change; there are {', '.join(PARSERS)}")
    values = {}
    for name, value in document.items():
        parser = PARSERS.get(name)
        if parser is None:
            raise ConfigError(f"{_shown(name)} is no setting; there are {', '.join(PARSERS)}")
        try:
            values[name] = parser(value)
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}") from None
    return values


def _quantity(name: str) -> Callable[[Any], int]:
    """A parser with the unit and the bounds that this key has in the configuration."""
    field = next(item for item in fields(VideoSettings) if item.metadata.get("key") == name)
    unit, low, high = NAMES[field.metadata["unit"]], field.metadata["min"], field.metadata["max"]

    def parse(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ConfigError(f"not {unit.value.noun}; write {unit.value.examples}")
        number = parse_quantity(value, unit)
        return _within(number, low, high, unit)

    return parse


def _within(number: int, low: int, high: int, unit: Unit | None = None) -> int:
    if not low <= number <= high:
        first, last = (format_quantity(n, unit) if unit else n for n in (low, high))
        raise ConfigError(f"must be from {first} to {last}")
    return number


def _fps(value: Any) -> int:
    field = next(item for item in fields(VideoSettings) if item.name == "fps")
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError("must be a whole number")
    return _within(value, field.metadata["min"], field.metadata["max"])


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigError("must be a string")
    if len(value) > MAX_TEXT_CHARS:
        raise ConfigError(f"has {len(value)} characters, at most {MAX_TEXT_CHARS} are possible")
    if not all(char.isprintable() for char in value):
        raise ConfigError("must be one line without control characters")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigError("must be true or false")
    return value


def _preset(value: Any) -> str:
    if not value:
        raise ConfigError("must be the name of a preset")
    return _text(value)


def _controls(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not value:
        raise ConfigError('must be an object of names and values, such as {"brightness": 10}')
    if len(value) > MAX_CONTROLS:
        raise ConfigError(f"has {len(value)} names, at most {MAX_CONTROLS} are possible")
    controls = {}
    for name, setting in value.items():
        if not name or len(name) > MAX_NAME_CHARS or not name.isprintable():
            raise ConfigError(f"{_shown(name)} is not a control's name")
        try:
            controls[name] = _control(setting)
        except ConfigError as error:
            raise ConfigError(f"{_shown(name)}: {error}") from None
    return controls


def _control(value: Any) -> Any:
    """A number, a boolean, a string, or an array of numbers."""
    match value:
        case bool() | int():
            return value
        case float() if math.isfinite(value):
            return value
        case str():
            return _text(value)
        case list() if 0 < len(value) <= MAX_LIST_ITEMS:
            if all(isinstance(item, int | float) for item in value):
                return [_control(item) for item in value]
    raise ConfigError("must be a number, true, false, a string or an array of numbers")


def _shown(name: str) -> str:
    """A name that somebody wrote, fit for a message."""
    return f'"{name[:MAX_NAME_CHARS]}"' if name.isprintable() else "that name"


PARSERS: Mapping[str, Callable[[Any], Any]] = {
    "controls": _controls,
    "bitrate": _quantity("bitrate"),
    "fps": _fps,
    "keyframe": _quantity("keyframe"),
    "text": _text,
    "overlay": _flag,
    "enabled": _flag,
    "preset": _preset,
}
