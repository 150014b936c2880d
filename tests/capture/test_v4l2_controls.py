"""Controls by name: described, refused with what is allowed, set all or none."""

from __future__ import annotations

import errno
from collections import deque
from typing import Any

import pytest
from scripted_camera import CONTROLS, ScriptedDevice

from appliance.capture.fault import ChangeRefused
from appliance.capture.v4l2 import controls as module
from appliance.capture.v4l2.controls import DeviceControls, name_controls
from appliance.capture.v4l2.device import ControlInfo, ControlType


def camera(**more: Any) -> ScriptedDevice:
    return ScriptedDevice("/dev/video0", deque(), controls=CONTROLS, **more)


def test_names_are_those_of_v4l2_ctl_and_unlike() -> None:
    assert list(name_controls(CONTROLS)) == [
        "brightness", "auto_exposure", "exposure_time_absolute", "exposure_dynamic_framerate",
        "name", "temperature", "brightness_8",
    ]  # fmt: skip


def test_description_has_ranges_values_and_the_words_of_menus() -> None:
    described = DeviceControls(camera()).describe()
    assert described["brightness"] == {
        "type": "int", "value": 0, "min": -64, "max": 64, "step": 1, "default": 0,
    }  # fmt: skip
    assert described["auto_exposure"] == {
        "type": "menu", "value": "Aperture Priority Mode", "default": "Aperture Priority Mode",
        "choices": ["Manual Mode", "Aperture Priority Mode"],
    }  # fmt: skip
    assert described["exposure_dynamic_framerate"]["value"] is False
    assert described["temperature"]["read_only"] is True


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("brightness", 65, "brightness is a whole number from -64 to 64"),
        ("brightness", "12", "whole number from -64 to 64"),
        ("brightness", 1.5, "whole number"),
        ("brightness", True, "whole number"),
        ("brightness", None, "whole number"),
        ("brightness", float("inf"), "whole number"),
        ("brightness", 1 << 70, "whole number"),
        ("auto_exposure", "Sunny", 'is one of "Manual Mode", "Aperture Priority Mode"'),
        ("auto_exposure", 2, 'is one of "Manual Mode"'),
        ("auto_exposure", True, 'is one of "Manual Mode"'),
        ("auto_exposure", [], 'is one of "Manual Mode"'),
        ("exposure_dynamic_framerate", 3, "is true or false"),
        ("exposure_dynamic_framerate", "yes", "is true or false"),
        ("name", "much too long", "a text of at most 8 bytes"),
        ("name", 5, "a text"),
        ("temperature", 5, "can only be read"),
        ("sharpness", 5, "no control 'sharpness'; it has brightness, auto_exposure"),
        ("pan_speed", 1, "no control"),
    ],
)
def test_value_that_is_not_possible_is_refused_with_what_is(
    name: str, value: Any, words: str
) -> None:
    device = camera()
    with pytest.raises(ChangeRefused, match=words):
        DeviceControls(device).set({"brightness": 1, name: value})
    assert device.written == []


@pytest.mark.parametrize(
    ("name", "value", "number", "expected"),
    [
        ("brightness", -64, 1, -64),
        ("brightness", 3.0, 1, 3),
        ("auto_exposure", "manual mode", 2, 1),
        ("auto_exposure", 1, 2, 1),
        ("exposure_dynamic_framerate", True, 4, 1),
        ("exposure_dynamic_framerate", 1, 4, 1),
        ("name", "front", 5, "front"),
    ],
)
def test_value_is_set_as_the_device_has_it(
    name: str, value: Any, number: int, expected: int | str
) -> None:
    device = camera()
    DeviceControls(device).set({name: value})
    assert device.values == {number: expected}


def test_automatics_are_turned_off_before_the_numbers_they_hold() -> None:
    device = camera()
    DeviceControls(device).set({"exposure_time_absolute": 50, "auto_exposure": "Manual Mode"})
    assert device.written == [(2, 1), (3, 50)]


def test_refusal_of_the_camera_puts_everything_back() -> None:
    device = camera(refusals={3: errno.EACCES})
    controls = DeviceControls(device)
    with pytest.raises(ChangeRefused, match="refuses brightness, exposure_time_absolute: an auto"):
        controls.set({"brightness": 5, "exposure_time_absolute": 50})
    assert device.values.get(1, 0) == 0
    assert controls.describe()["brightness"]["value"] == 0


def test_loss_of_the_camera_is_no_refusal() -> None:
    device = camera(refusals={1: errno.ENODEV})
    with pytest.raises(OSError, match="No such device"):
        DeviceControls(device).set({"brightness": 5})


def test_controls_that_cannot_be_read_are_described_without_value() -> None:
    class Shy(ScriptedDevice):
        def read_control(self, control: ControlInfo) -> int | str:
            if control.number == 1:
                raise OSError(errno.EIO, "Input/output error")
            return super().read_control(control)

    described = DeviceControls(Shy("/dev/video0", deque(), controls=CONTROLS)).describe()
    assert described["brightness"]["value"] is None
    assert described["auto_exposure"]["value"] is not None


def test_camera_with_thousands_of_controls_is_cut_to_what_the_pipe_carries() -> None:
    many = [ControlInfo(n, f"Control {n}", ControlType.INT, 0, 9) for n in range(5000)]
    menus = [
        ControlInfo(n, f"Menu {n}", ControlType.MENU, choices={c: "x" * 31 for c in range(100)})
        for n in range(50)
    ]
    assert len(name_controls(many)) == module.MAX_CONTROLS
    named = name_controls(menus)
    assert sum(len(control.choices) for control in named.values()) <= module.MAX_CHOICES
