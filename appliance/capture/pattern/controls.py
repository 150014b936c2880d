"""The test pattern's own controls, so that controls can be tried without a camera."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from appliance.capture.fault import ChangeRefused

BRIGHTNESS, BRIGHTNESS_STEP = (-64, 64), 8  # the step bounds how many glyphs are kept
SPEED = (0.25, 4.0)


@dataclass(slots=True)
class CardControls:
    """brightness: added to every luma; speed: of the travelling box; box: whether there is one.

    `changes` counts them, so that the card knows when to draw itself anew.
    """

    brightness: int = 0
    speed: float = 1.0
    box: bool = True
    changes: int = 0

    def describe(self) -> dict[str, dict[str, Any]]:
        return {
            "brightness": {
                "type": "int", "min": BRIGHTNESS[0], "max": BRIGHTNESS[1],
                "step": BRIGHTNESS_STEP,
                "default": 0, "value": self.brightness,
            },
            "speed": {
                "type": "float", "min": SPEED[0], "max": SPEED[1], "default": 1.0,
                "value": self.speed,
            },
            "box": {"type": "bool", "default": True, "value": self.box},
        }  # fmt: skip

    def set(self, values: Mapping[str, Any]) -> None:
        """All or nothing. Raises: ChangeRefused that names the range."""
        for name, value in values.items():
            _check(name, value)
        for name, value in values.items():
            setattr(self, name, float(value) if name == "speed" else value)
        self.changes += bool(values)


def _check(name: str, value: Any) -> None:
    shown = str(value)[:40]
    match name:
        case "brightness":
            low, high = BRIGHTNESS
            if type(value) is not int or not low <= value <= high or value % BRIGHTNESS_STEP:
                raise ChangeRefused(
                    f"brightness = {shown}: give {low} to {high} in steps of {BRIGHTNESS_STEP}"
                )
        case "speed":
            if type(value) not in {int, float} or not SPEED[0] <= value <= SPEED[1]:
                raise ChangeRefused(f"speed = {shown}: give {SPEED[0]} to {SPEED[1]}")
        case "box":
            if not isinstance(value, bool):
                raise ChangeRefused(f"box = {shown}: give true or false")
        case _:
            raise ChangeRefused(
                f"the pattern has no control {name[:40]!r}: there are box, brightness and speed"
            )
