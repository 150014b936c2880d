"""A device's controls by ioctl: listed, read, written (V4L2's extended controls)."""

from __future__ import annotations

import ctypes
import errno
from fcntl import ioctl

from appliance.capture.v4l2 import layouts
from appliance.capture.v4l2.device import ControlInfo, ControlType
from appliance.capture.v4l2.layouts import Words

MAX_CONTROLS, MAX_CHOICES = 512, 128  # a driver's; against one without end
MAX_TEXT_BYTES = 256
NEXT = 0x80000000
DISABLED, READ_ONLY, WRITE_ONLY, HAS_PAYLOAD = 0x1, 0x4, 0x40, 0x100
INTEGER, BOOLEAN, MENU, BUTTON, INTEGER64, TEXT, BITMASK, INTEGER_MENU = 1, 2, 3, 4, 5, 7, 8, 9
TYPES = {
    INTEGER: ControlType.INT,
    BOOLEAN: ControlType.BOOL,
    MENU: ControlType.MENU,
    BUTTON: ControlType.BUTTON,
    INTEGER64: ControlType.INT,
    TEXT: ControlType.TEXT,
    BITMASK: ControlType.INT,
    INTEGER_MENU: ControlType.MENU,
}


class ControlCalls:
    def __init__(self, descriptor: int, words: Words) -> None:
        self._descriptor = descriptor
        self._words = words

    def query(self) -> list[ControlInfo]:
        controls: list[ControlInfo] = []
        number = 0
        for _ in range(MAX_CONTROLS):
            data = bytearray(layouts.QUERY_CONTROL.size)
            data[:4] = (number | NEXT).to_bytes(4, "little")
            try:
                ioctl(self._descriptor, layouts.QUERY_EXT_CTRL, data, True)
            except OSError as error:
                if error.errno in {errno.EINVAL, errno.ENOTTY}:
                    break
                raise
            number, control = self._control(data)
            if control is not None:
                controls.append(control)
        return controls

    def _control(self, data: bytearray) -> tuple[int, ControlInfo | None]:
        number, kind, name, least, most, step, default, flags, _, elements, dims, _ = (
            layouts.QUERY_CONTROL.unpack(data)
        )
        known = TYPES.get(kind)
        unreadable = flags & WRITE_ONLY and known is not ControlType.BUTTON
        if known is None or unreadable or flags & DISABLED or elements > 1 or dims:
            return number, None
        choices = {}
        if known is ControlType.MENU:
            choices = self._choices(number, kind, least, most)
        return number, ControlInfo(
            number, layouts.text(name), known, least, most, step, default,
            is_wide=kind == INTEGER64, is_read_only=bool(flags & READ_ONLY), choices=choices,
        )  # fmt: skip

    def _choices(self, number: int, kind: int, least: int, most: int) -> dict[int, str]:
        choices = {}
        for index in range(max(least, 0), min(most, least + MAX_CHOICES) + 1):
            data = bytearray(layouts.QUERY_MENU.pack(number, index, b""))
            try:
                ioctl(self._descriptor, layouts.QUERYMENU, data, True)
            except OSError as error:
                if error.errno == errno.EINVAL:  # menus have gaps
                    continue
                raise
            raw = layouts.QUERY_MENU.unpack(data)[2]
            is_number = kind == INTEGER_MENU
            value = int.from_bytes(raw[:8], "little", signed=True)
            choices[index] = str(value) if is_number else layouts.text(raw)
        return choices

    def read(self, control: ControlInfo) -> int | str:
        payload = bytearray(MAX_TEXT_BYTES) if control.type is ControlType.TEXT else None
        values = _Values([(control, 0)], [payload])
        values.call(self._descriptor, layouts.g_ext_ctrls(self._words), self._words)
        return layouts.text(bytes(payload)) if payload is not None else values.number(0, control)

    def write(self, values: list[tuple[ControlInfo, int | str]]) -> None:
        """All are tried before the first is set."""
        if not values:
            return
        payloads = [
            bytearray(value.encode()[: MAX_TEXT_BYTES - 1] + b"\0")
            if isinstance(value, str)
            else None
            for _, value in values
        ]
        packed = _Values(values, payloads)
        packed.call(self._descriptor, layouts.try_ext_ctrls(self._words), self._words)
        packed = _Values(values, payloads)
        packed.call(self._descriptor, layouts.s_ext_ctrls(self._words), self._words)


class _Values:
    """An array of v4l2_ext_control with what it points to."""

    def __init__(
        self, values: list[tuple[ControlInfo, int | str]], payloads: list[bytearray | None]
    ) -> None:
        self._count = len(values)
        self._held = [
            (ctypes.c_char * len(payload)).from_buffer(payload) if payload is not None else None
            for payload in payloads
        ]
        self._data = bytearray()
        for (control, value), held in zip(values, self._held, strict=True):
            number = ctypes.addressof(held) if held is not None else int(value)
            signed = held is None
            self._data += layouts.CONTROL.pack(
                control.number,
                len(held) if held is not None else 0,
                0,
                number.to_bytes(8, "little", signed=signed),
            )

    def call(self, descriptor: int, request: int, words: Words) -> None:
        array = (ctypes.c_char * len(self._data)).from_buffer(self._data)
        address = ctypes.addressof(array)
        data = bytearray(words.controls.pack(0, self._count, 0, 0, 0, address))
        ioctl(descriptor, request, data, True)

    def number(self, place: int, control: ControlInfo) -> int:
        raw = layouts.CONTROL.unpack_from(self._data, place * layouts.CONTROL.size)[3]
        size = 8 if control.is_wide else 4
        return int.from_bytes(raw[:size], "little", signed=control.least < 0)
