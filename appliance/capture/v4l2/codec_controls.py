"""What can be told to the encoder inside a camera that gives H.264, where its driver has controls
for it (V4L2's codec class, linux/v4l2-controls.h); pure but for the device's own calls."""

from __future__ import annotations

import errno

from appliance.capture.v4l2.device import ControlInfo, ControlType, Device

_CODEC = 0x00990900
GOP_SIZE = _CODEC + 203
BITRATE = _CODEC + 207
REPEAT_HEADERS = _CODEC + 226
FORCE_KEY = _CODEC + 229
I_PERIOD = _CODEC + 358
FLIPS = (0x00980900 + 20, 0x00980900 + 21)  # horizontal, vertical
MAX_PERIOD = 1 << 15


class CodecControls:
    """Each method says whether the camera has taken it; one that lost it raises OSError."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._controls = {control.number: control for control in device.controls()}

    def has(self, number: int) -> bool:
        return number in self._controls and not self._controls[number].is_read_only

    def range_of(self, number: int) -> tuple[int, int]:
        control = self._controls[number]
        return control.least, control.most

    def set_bitrate(self, bitrate_bps: int) -> bool:
        return self._set(BITRATE, bitrate_bps)

    def set_keyframe_us(self, keyframe_us: int, fps: float) -> bool:
        pictures = min(max(1, round(keyframe_us * fps / 1_000_000)), MAX_PERIOD)
        has_period = self._set(I_PERIOD, pictures)
        return self._set(GOP_SIZE, pictures) or has_period

    def repeat_headers(self) -> bool:
        """Parameter sets before every keyframe, for viewers who come later."""
        return self._set(REPEAT_HEADERS, 1)

    def force_key(self) -> bool:
        return self._set(FORCE_KEY, 1)

    def turn(self, turned: bool) -> bool:
        """By 180°, if the camera can mirror both ways; for cameras of every format."""
        if not all(number in self._controls for number in FLIPS):
            return False
        return all([self._set(number, int(turned)) for number in FLIPS])

    def _set(self, number: int, value: int) -> bool:
        control = self._controls.get(number)
        if control is None or control.is_read_only:
            return False
        try:
            self._device.write_controls([(control, _within(control, value))])
        except OSError as error:
            if error.errno == errno.ENODEV:
                raise
            return False
        return True


def _within(control: ControlInfo, value: int) -> int:
    if control.type is ControlType.BUTTON:
        return value
    return min(max(value, control.least), max(control.most, control.least))
