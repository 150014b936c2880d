"""Which board this is, and what its processor can encode in software without falling behind.

Only known boards have a profile; what another machine can do is found by measuring (governor.py).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from appliance.capture.encoders.governor import Step


@dataclass(frozen=True, slots=True)
class Profile:
    """The largest picture and rate that x264 sustains beside the rest of the appliance."""

    width: int
    height: int
    fps: int
    threads: int
    preset: str

    def step_for(self, width: int, height: int, fps: int) -> Step | None:
        """Where to begin instead of these settings; None if they are within the profile."""
        if width * height * fps <= self.width * self.height * self.fps:
            return None
        scale = min(Fraction(1), Fraction(self.width, width), Fraction(self.height, height))
        return Step(min(fps, self.fps), scale)

    def __str__(self) -> str:
        return f"{self.width}x{self.height} at {self.fps} pictures/s"


# By the beginning of the device tree's model; the first that fits. A core is left to the server.
PROFILES: tuple[tuple[tuple[str, ...], Profile], ...] = (
    (("Raspberry Pi 5", "Raspberry Pi Compute Module 5"), Profile(1920, 1080, 30, 4, "superfast")),
    (("Raspberry Pi 4", "Raspberry Pi Compute Module 4"), Profile(1280, 720, 30, 3, "superfast")),
    (("Raspberry Pi 3", "Raspberry Pi Compute Module 3"), Profile(1280, 720, 15, 3, "ultrafast")),
    (("Raspberry Pi Zero 2",), Profile(854, 480, 15, 3, "ultrafast")),
    (("Raspberry Pi 2",), Profile(640, 480, 15, 3, "ultrafast")),
    (("Raspberry Pi",), Profile(640, 360, 10, 1, "ultrafast")),  # one core of ARMv6
)  # fmt: skip
PRESET = "superfast"


@dataclass(frozen=True, slots=True)
class Board:
    """name: as the device tree has it, empty on a machine without one."""

    name: str
    cores: int
    profile: Profile | None

    @property
    def preset(self) -> str:
        return PRESET if self.profile is None else self.profile.preset

    @property
    def max_threads(self) -> int:
        """For the encoder of one picture; 0 lets it choose."""
        return 0 if self.profile is None else min(self.profile.threads, self.cores)


def read_board(root: Path = Path("/")) -> Board:
    try:
        # Not /proc/device-tree, a link to this: the service sees only processes in /proc.
        text = (root / "sys/firmware/devicetree/base/model").read_bytes()[:200]
    except OSError:
        text = b""
    name = text.rstrip(b"\0").decode("utf-8", "replace").strip()
    for beginnings, profile in PROFILES:
        if name.startswith(beginnings):
            return Board(name, os.cpu_count() or 1, profile)
    return Board(name, os.cpu_count() or 1, None)
