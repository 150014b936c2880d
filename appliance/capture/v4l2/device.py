"""What a camera is to us: the values it is described by, and the protocol `Device`.

The kernel's device (kernel.py) offers it, and so does a scripted one in the tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import Protocol

CAP_CAPTURE, CAP_OUTPUT = 0x1, 0x2
CAP_CAPTURE_PLANES, CAP_OUTPUT_PLANES = 0x1000, 0x2000
CAP_M2M_PLANES, CAP_M2M = 0x4000, 0x8000
CAP_META_CAPTURE, CAP_STREAMING = 0x800000, 0x4000000
CAP_TOUCH, CAP_IO_MC = 0x10000000, 0x20000000
CAP_DEVICE_CAPS = 0x80000000

# Video nodes of image processors and codecs that look like cameras by their capabilities.
PROCESSORS = frozenset(
    {"bcm2835-codec", "bcm2835-isp", "pispbe", "rp1-cfe", "unicam", "rpi-hevc-dec", "rpivid"}
)


@dataclass(frozen=True, slots=True)
class Capability:
    """bus: where it is plugged in, such as "usb-0000:01:00.0-1.2"; flags: of this very node."""

    driver: str
    card: str
    bus: str
    flags: int

    @property
    def has_planes(self) -> bool:
        """Whether it captures through the multi-planar API (only)."""
        return bool(self.flags & CAP_CAPTURE_PLANES) and not self.flags & CAP_CAPTURE

    @property
    def can_capture(self) -> bool:
        """Whether pictures can be streamed from this node, whatever it is."""
        captures = self.flags & (CAP_CAPTURE | CAP_CAPTURE_PLANES)
        converts = self.flags & (CAP_M2M | CAP_M2M_PLANES | CAP_OUTPUT | CAP_OUTPUT_PLANES)
        return bool(captures and self.flags & CAP_STREAMING and not converts)

    @property
    def is_camera(self) -> bool:
        """Whether it can be used without a media graph being set up around it."""
        special = self.flags & (CAP_TOUCH | CAP_IO_MC)
        return self.can_capture and not special and self.driver not in PROCESSORS


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the stream's settings ask for."""

    width: int = 1280
    height: int = 720
    fps: int = 30


@dataclass(frozen=True, slots=True)
class Mode:
    """A size; rates_hz: those it can be had at, highest first; none: the camera does not tell."""

    width: int
    height: int
    rates_hz: tuple[Fraction, ...] = ()


@dataclass(frozen=True, slots=True)
class Offer:
    """A pixel format and its sizes. name: the driver's words."""

    fourcc: str
    name: str
    modes: tuple[Mode, ...] = ()


@dataclass(frozen=True, slots=True)
class Shape:
    """What the camera really gives, once started; it may differ from what was asked for.

    strides_bytes, sizes_bytes: for each buffer of a picture. encoding, quantization, colorspace:
    numbers of the API, 0 for unknown. rate_hz: None if the driver does not tell.
    """

    fourcc: str
    width: int
    height: int
    rate_hz: Fraction | None = None
    strides_bytes: tuple[int, ...] = (0,)
    sizes_bytes: tuple[int, ...] = (0,)
    colorspace: int = 0
    encoding: int = 0
    quantization: int = 0


@dataclass(slots=True)
class Shot:
    """One picture in the driver's memory, ours until it is given back.

    planes: the used bytes of each buffer. time_us: CLOCK_MONOTONIC of the exposure, None if the
    driver does not say. sequence: the driver's count, with those it had to leave out.
    """

    index: int
    planes: tuple[memoryview, ...]
    time_us: int | None
    sequence: int
    is_damaged: bool = False

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.planes))


class ControlType(StrEnum):
    INT = "int"
    BOOL = "bool"
    MENU = "menu"
    TEXT = "text"
    BUTTON = "button"  # does something once and has no value


@dataclass(frozen=True, slots=True)
class ControlInfo:
    """One control of a device. choices: of a menu, value → what it is called.

    number: the API's id; is_wide: its value has 64 bits.
    """

    number: int
    name: str
    type: ControlType
    least: int = 0
    most: int = 0
    step: int = 1
    default: int = 0
    is_wide: bool = False
    is_read_only: bool = False
    choices: Mapping[int, str] = field(default_factory=dict)


class Device(Protocol):
    """An opened camera. Every method may raise OSError with the kernel's errno."""

    @property
    def path(self) -> str: ...

    @property
    def capability(self) -> Capability: ...

    def offers(self, wanted: Wanted) -> list[Offer]:
        """Everything it can give; ranges of sizes and rates as single ones around `wanted`."""
        ...

    def start(self, fourcc: str, width: int, height: int, rate_hz: Fraction) -> Shape:
        """Stream from now on."""
        ...

    def restart(self) -> None:
        """Stop and start streaming with the same settings, after an error."""
        ...

    def wait(self, timeout_s: float, waker: int) -> bool:
        """Whether a picture, or an error instead of one, came within that time.

        waker: a descriptor; once it is readable the wait ends early.
        """
        ...

    def take(self) -> Shot | None:
        """The oldest picture that is ready, if one is."""
        ...

    def give_back(self, shot: Shot) -> None: ...

    def controls(self) -> list[ControlInfo]: ...

    def read_control(self, control: ControlInfo) -> int | str: ...

    def write_controls(self, values: list[tuple[ControlInfo, int | str]]) -> None:
        """In this order, in one request where the driver can."""
        ...

    def close(self) -> None: ...
