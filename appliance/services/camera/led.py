"""A light that burns exactly while a camera's worker lives: people see when they may be seen.

``ACT`` is /sys/class/leds/ACT (Linux Documentation/leds/leds-class.rst); ``gpio:17`` is a line of
the board's GPIO chip, through the character device (linux/gpio.h, ABI v2).
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

log = logging.getLogger(__name__)

SYSFS = Path("/sys/class/leds")
DEVICES = Path("/dev")
BOARD_CHIPS = (b"pinctrl-bcm", b"pinctrl-rp1")  # of a Raspberry Pi, whose header has the numbers

# linux/gpio.h: _IOR(0xB4, 0x01, struct gpiochip_info), _IOWR(0xB4, 0x07, struct
# gpio_v2_line_request), _IOWR(0xB4, 0x0F, struct gpio_v2_line_values)
CHIP_INFO = 0x8044B401
GET_LINE = 0xC250B407
SET_VALUES = 0xC010B40F
CHIP_INFO_BYTES, REQUEST_BYTES = 68, 592
OUTPUT_FLAG = 1 << 3
_FLAGS_AT, _COUNT_AT, _FD_AT = 288, 560, 588

Ioctl = Callable[[int, int, bytearray], object]


class Light(Protocol):
    def set(self, on: bool) -> None:
        """Raises: OSError."""
        ...


class Led:
    """Counts the workers that live: one that cannot be killed keeps it burning. Faults are told
    once, until it works again; the camera goes on without a light."""

    def __init__(self, light: Light, name: str) -> None:
        self._light = light
        self._name = name
        self._holders = 0
        self._told = False

    def reset(self) -> None:
        """Dark, as long as no worker lives."""
        if not self._holders:
            self._set(False)

    def hold(self) -> Callable[[], None]:
        """It burns from now on. What is returned ends that, however often it is called."""
        self._holders += 1
        self._set(True)
        held = [True]

        def release() -> None:
            if held:
                held.clear()
                self._release()

        return release

    def _release(self) -> None:
        self._holders -= 1
        if not self._holders:
            self._set(False)

    def _set(self, on: bool) -> None:
        try:
            self._light.set(on)
        except OSError as error:
            if not self._told:
                log.warning("the light %s cannot be switched: %s", self._name, error)
            self._told = True
        else:
            self._told = False


class SysfsLight:
    """root: where the lights are, if not in SYSFS."""

    def __init__(self, name: str, root: Path | None = None) -> None:
        self._folder = (root or SYSFS) / name

    def set(self, on: bool) -> None:
        with contextlib.suppress(OSError):  # without a trigger there is nothing to switch off
            (self._folder / "trigger").write_text("none")
        brightness = "0"
        if on:
            try:
                brightness = (self._folder / "max_brightness").read_text().strip()
            except OSError:
                brightness = "1"
        (self._folder / "brightness").write_text(brightness)


class GpioLight:
    """The line is ours from the first use until the process ends."""

    def __init__(self, line: int, *, devices: Path = DEVICES, ioctl: Ioctl = fcntl.ioctl) -> None:
        self._line = line
        self._devices = devices
        self._ioctl = ioctl
        self._descriptor: int | None = None

    def set(self, on: bool) -> None:
        if self._descriptor is None:
            self._descriptor = self._request()
        self._ioctl(self._descriptor, SET_VALUES, bytearray(struct.pack("=QQ", on, 1)))

    def _request(self) -> int:
        """The descriptor of the line as an output (struct gpio_v2_line_request)."""
        request = bytearray(REQUEST_BYTES)
        struct.pack_into("=I", request, 0, self._line)
        request[256:264] = b"porthole"
        struct.pack_into("=Q", request, _FLAGS_AT, OUTPUT_FLAG)
        struct.pack_into("=I", request, _COUNT_AT, 1)
        with self._open_chip() as chip:
            self._ioctl(chip.fileno(), GET_LINE, request)
        return int(struct.unpack_from("=i", request, _FD_AT)[0])

    def _open_chip(self) -> Chip:
        """The board's own chip; on other boards the first that has so many lines."""
        fallback: Path | None = None
        for path in sorted(self._devices.glob("gpiochip*")):
            with Chip(path) as chip:
                info = bytearray(CHIP_INFO_BYTES)
                self._ioctl(chip.fileno(), CHIP_INFO, info)
            lines = struct.unpack_from("=I", info, 64)[0]
            if lines <= self._line:
                continue
            if bytes(info[32:64]).startswith(BOARD_CHIPS):
                return Chip(path)
            fallback = fallback or path
        if fallback is None:
            raise OSError(f"no GPIO chip here has a line {self._line}")
        return Chip(fallback)


class Chip:
    """An open GPIO chip."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def __enter__(self) -> Chip:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def fileno(self) -> int:
        return self._descriptor


def open_led(name: str) -> Led | None:
    """Of `[[stream]] led`; None if it names none."""
    if not name:
        return None
    number = name.removeprefix("gpio:")
    light: Light = GpioLight(int(number)) if number != name else SysfsLight(name)
    return Led(light, name)
