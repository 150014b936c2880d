"""Stands in for libcamera's Python module: what picamera2's callers see of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from types import SimpleNamespace


@dataclass(frozen=True)
class Transform:
    hflip: int = 0
    vflip: int = 0
    transpose: int = 0


class ColorSpace:
    def __init__(self, name: str) -> None:
        self.name = name

    @classmethod
    def Rec709(cls) -> ColorSpace:
        return cls("Rec709")


class AwbModeEnum(IntEnum):
    Auto = 0
    Incandescent = 1
    Tungsten = 2
    Fluorescent = 3
    Indoor = 4
    Daylight = 5
    Cloudy = 6
    Custom = 7


class NoiseReductionModeEnum(IntEnum):
    Off = 0
    Fast = 1
    HighQuality = 2
    Minimal = 3
    ZSL = 4


controls = SimpleNamespace(
    AwbModeEnum=AwbModeEnum,
    draft=SimpleNamespace(NoiseReductionModeEnum=NoiseReductionModeEnum),
)
