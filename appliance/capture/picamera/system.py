"""The system's picamera2, found where Debian puts it and loaded only by the worker that needs it.

libcamera must fit the kernel and the board's tuning files, so it is never a package of ours.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any

from appliance.capture.fault import SourceFault
from appliance.capture.picamera import api
from appliance.wire.pipe.messages import Reason

# Where Debian's packages put modules (Debian Python Policy §2.5); a virtual environment and our own
# package do not look there.
DIST_PACKAGES = "/usr/lib/python3/dist-packages"
INSTALL = "sudo apt install --no-install-recommends python3-picamera2"


@dataclass(frozen=True, slots=True)
class System:
    """The classes as they are found there; `api` says what they offer."""

    picamera2: type[api.Picamera2]
    h264_encoder: type[api.H264Encoder]
    libav_h264_encoder: type[api.LibavH264Encoder]
    output: type[api.Output]
    mapped_array: type[api.MappedArray]
    libcamera: Any

    @property
    def has_hardware_encoder(self) -> bool:
        """Whether H264Encoder is more than libav's under another name."""
        return self.h264_encoder is not self.libav_h264_encoder

    @property
    def encoder_name(self) -> str:
        return f"{'v4l2' if self.has_hardware_encoder else 'libx264'} (picamera2)"

    def transform(self, *, turned: bool) -> Any:
        """Upright, or turned by 180 degrees in the sensor."""
        return self.libcamera.Transform(hflip=int(turned), vflip=int(turned))

    def rec709(self) -> Any:
        return self.libcamera.ColorSpace.Rec709()

    def choices(self, control: str) -> dict[int, str]:
        """The names of a control's values, if it has such: `AwbMode` → 0: Auto, 1: Tungsten, …"""
        for place in (self.libcamera.controls, getattr(self.libcamera.controls, "draft", None)):
            names = getattr(place, f"{control}Enum", None)
            if names is not None:
                return {int(member.value): name for name, member in names.__members__.items()}
        return {}


@cache  # of one entry
def load() -> System:
    """Raises: SourceFault that says what to install."""
    if importlib.util.find_spec("picamera2") is None and DIST_PACKAGES not in sys.path:
        # Last, so that nothing of ours is replaced; for good, as much of it is loaded on first use.
        sys.path.append(DIST_PACKAGES)
        importlib.invalidate_caches()
    if importlib.util.find_spec("picamera2") is None:
        raise SourceFault(
            Reason.CANNOT_OPEN, f"picamera2 is not installed on this machine: {INSTALL}"
        )
    try:
        return _import()
    except Exception as error:  # of any of the dozen libraries that it loads
        raise SourceFault(
            Reason.CANNOT_OPEN,
            f"picamera2 cannot be loaded by {sys.executable}, Python "
            f"{sys.version_info.major}.{sys.version_info.minor}: {error}; "
            f"run Porthole with Debian's own python3, and update: {INSTALL}",
        ) from error


def _import() -> System:
    libcamera = importlib.import_module("libcamera")
    picamera2 = importlib.import_module("picamera2")
    encoders = importlib.import_module("picamera2.encoders")
    outputs = importlib.import_module("picamera2.outputs")
    return System(
        picamera2=picamera2.Picamera2,
        h264_encoder=encoders.H264Encoder,
        libav_h264_encoder=encoders.LibavH264Encoder,
        output=outputs.Output,
        mapped_array=picamera2.MappedArray,
        libcamera=libcamera,
    )
