"""A camera's controls as people name them: described, checked, set all or none.

Names are the driver's in lower case with underscores, as v4l2-ctl shows them. Values of menus are
the menu's words. Values are read when the camera is opened and after each change, not for every
description: over USB each costs a transfer.
"""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Mapping
from typing import Any

from appliance.capture.fault import ChangeRefused
from appliance.capture.v4l2.device import ControlInfo, ControlType, Device

Value = int | str
MAX_NAMED = 24  # in a sentence that lists what there is
# With their names of 31 characters they fit into one document of the pipe.
MAX_CONTROLS, MAX_CHOICES = 96, 512


class DeviceControls:
    """wanted: what was asked for so far; `set` adds to it, so that it can be asked for again once
    the camera was away. Raises: OSError from the constructor and `set` if the device is gone."""

    def __init__(self, device: Device, wanted: dict[str, Any] | None = None) -> None:
        self._device = device
        self._wanted = {} if wanted is None else wanted
        self._controls = name_controls(device.controls())
        self._values: dict[str, Value] = {}
        self._read()

    def restore(self) -> list[str]:
        """Set everything wanted; the refusals, each a sentence."""
        if not self._wanted:
            return []
        try:
            self.set(dict(self._wanted))
        except ChangeRefused:
            return [refusal for name in list(self._wanted) if (refusal := self._restore(name))]
        return []

    def _restore(self, name: str) -> str:
        try:
            self.set({name: self._wanted[name]})
        except ChangeRefused as refusal:
            return str(refusal)
        return ""

    def _read(self) -> None:
        for name, control in self._controls.items():
            try:
                self._values[name] = self._device.read_control(control)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    raise
                self._values.pop(name, None)  # cameras list controls that they then refuse

    def describe(self) -> dict[str, dict[str, Any]]:
        """By name: type, min, max, step, default, value; choices of menus."""
        return {
            name: describe_control(control, self._values.get(name))
            for name, control in self._controls.items()
        }

    def set(self, values: Mapping[str, Any]) -> None:
        """Raises: ChangeRefused, with what is allowed; then nothing is changed."""
        checked = [(name, *self._check(name, value)) for name, value in values.items()]
        # Switches and menus turn automatics off that would forbid the numbers after them.
        checked.sort(key=lambda entry: entry[1].type is ControlType.INT)
        before = [
            (control, self._values[name]) for name, control, _ in checked if name in self._values
        ]
        try:
            self._device.write_controls([(control, value) for _, control, value in checked])
        except OSError as error:
            if error.errno == errno.ENODEV:
                raise
            with contextlib.suppress(OSError):
                self._device.write_controls(before)
            names = ", ".join(name for name, _, _ in checked)
            raise ChangeRefused(f"the camera refuses {names}: {_refusal(error)}") from None
        finally:
            with contextlib.suppress(OSError):
                self._read()
        self._wanted.update(values)

    def _check(self, name: str, value: object) -> tuple[ControlInfo, Value]:
        control = self._controls.get(name)
        if control is None:
            known = ", ".join(list(self._controls)[:MAX_NAMED]) or "none at all"
            raise ChangeRefused(f"the camera has no control {name[:40]!r}; it has {known}")
        if control.is_read_only:
            raise ChangeRefused(f"{name} can only be read")
        return control, check_value(name, control, value)


def name_controls(controls: list[ControlInfo]) -> dict[str, ControlInfo]:
    """By names that can be typed; of two with the same name the second gets its number. Those
    beyond our bounds are left out."""
    named: dict[str, ControlInfo] = {}
    choices = 0
    for control in controls:
        if control.type is ControlType.BUTTON or choices + len(control.choices) > MAX_CHOICES:
            continue
        if len(named) == MAX_CONTROLS:
            break
        choices += len(control.choices)
        name = re.sub(r"[^a-z0-9]+", "_", control.name.lower()).strip("_")
        if not name or name in named:
            name = f"{name or 'control'}_{control.number:x}"
        named[name] = control
    return named


def describe_control(control: ControlInfo, value: Value | None) -> dict[str, Any]:
    document: dict[str, Any] = {"type": str(control.type), "value": shown(control, value)}
    if control.is_read_only:
        document["read_only"] = True
    match control.type:
        case ControlType.INT:
            document |= {"min": control.least, "max": control.most, "step": control.step}
            document["default"] = control.default
        case ControlType.MENU:
            document["choices"] = list(control.choices.values())
            document["default"] = control.choices.get(control.default)
        case ControlType.BOOL:
            document["default"] = bool(control.default)
        case ControlType.TEXT:
            document["max"] = control.most
    return document


def shown(control: ControlInfo, value: Value | None) -> bool | int | str | None:
    """A device's value as people give it."""
    if value is None or isinstance(value, str):
        return value
    if control.type is ControlType.BOOL:
        return bool(value)
    if control.type is ControlType.MENU:
        return control.choices.get(value, str(value))
    return value


def check_value(name: str, control: ControlInfo, value: object) -> Value:
    """The device's value. Raises: ChangeRefused, with what is allowed."""
    match control.type:
        case ControlType.BOOL:
            if isinstance(value, bool) or value in (0, 1):
                return int(bool(value))
            raise ChangeRefused(f"{name} is true or false")
        case ControlType.MENU:
            return _check_choice(name, control, value)
        case ControlType.TEXT:
            if isinstance(value, str) and len(value.encode()) <= control.most:
                return value
            raise ChangeRefused(f"{name} is a text of at most {control.most} bytes")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is int and control.least <= value <= control.most:
        return value
    steps = f" in steps of {control.step}" if control.step > 1 else ""
    raise ChangeRefused(f"{name} is a whole number from {control.least} to {control.most}{steps}")


def _check_choice(name: str, control: ControlInfo, value: object) -> int:
    """By its words in any case; by its number too, as recipes on the web give it."""
    if isinstance(value, str):
        wanted = value.strip().lower()
        for index, choice in control.choices.items():
            if choice.lower() == wanted:
                return index
    elif type(value) is int and value in control.choices:
        return value
    choices = ", ".join(f'"{choice}"' for choice in control.choices.values())
    raise ChangeRefused(f"{name} is one of {choices}")


def _refusal(error: OSError) -> str:
    words = {
        errno.EBUSY: "not while it is streaming, or another program holds them",
        errno.EACCES: "an automatic mode holds one of them; turn that off in the same change",
        errno.ERANGE: "a value is out of its range",
        errno.EINVAL: "a value is not possible with the others",
        errno.EIO: "it did not answer",
    }
    return words.get(error.errno or 0, error.strerror or "it did not say why")
