"""The pixel formats we can use, what people call them, and how raw ones lie in memory; pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How a camera's pictures become H.264: they are it, or are decoded first, or are raw."""

    H264 = "h264"
    MJPEG = "mjpeg"
    RAW = "raw"


@dataclass(frozen=True, slots=True)
class PlaneLayout:
    """height_divisor, stride_divisor: against those of the first plane."""

    height_divisor: int = 1
    stride_divisor: int = 1


FULL = PlaneLayout()
HALF_HEIGHT = PlaneLayout(2, 1)
HALF_STRIDE = PlaneLayout(1, 2)
QUARTER = PlaneLayout(2, 2)


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """libav: its name for the same pixels; planes: as libav orders them, `memory` as the camera
    does (empty: the same order)."""

    fourcc: str
    name: str
    kind: Kind
    libav: str = ""
    planes: tuple[PlaneLayout, ...] = (FULL,)
    memory: tuple[int, ...] = ()

    @property
    def order(self) -> tuple[int, ...]:
        """For each plane in memory, which of libav's it is."""
        return self.memory or tuple(range(len(self.planes)))


def _raw(fourcc: str, name: str, libav: str, *planes: PlaneLayout) -> PixelFormat:
    return PixelFormat(fourcc, name, Kind.RAW, libav, planes or (FULL,))


def _swapped(fourcc: str, name: str, libav: str, plane: PlaneLayout) -> PixelFormat:
    return PixelFormat(fourcc, name, Kind.RAW, libav, (FULL, plane, plane), (0, 2, 1))


# In the order of preference. Raw: first what the encoder takes as it is, then what is turned into
# that with the least work and, over USB, the fewest bytes. Bayer is not here: a sensor without its
# image processor gives dark, green pictures.
KNOWN = (
    PixelFormat("H264", "H.264", Kind.H264),
    PixelFormat("MJPG", "MJPEG", Kind.MJPEG),
    PixelFormat("JPEG", "JPEG", Kind.MJPEG),
    _raw("YU12", "YUV 4:2:0", "yuv420p", FULL, QUARTER, QUARTER),
    _raw("YM12", "YUV 4:2:0 in three buffers", "yuv420p", FULL, QUARTER, QUARTER),
    _swapped("YV12", "YVU 4:2:0", "yuv420p", QUARTER),
    _swapped("YM21", "YVU 4:2:0 in three buffers", "yuv420p", QUARTER),
    _raw("NV12", "NV12", "nv12", FULL, HALF_HEIGHT),
    _raw("NM12", "NV12 in two buffers", "nv12", FULL, HALF_HEIGHT),
    _raw("NV21", "NV21", "nv21", FULL, HALF_HEIGHT),
    _raw("NM21", "NV21 in two buffers", "nv21", FULL, HALF_HEIGHT),
    _raw("YUYV", "YUYV 4:2:2", "yuyv422"),
    _raw("UYVY", "UYVY 4:2:2", "uyvy422"),
    _raw("YVYU", "YVYU 4:2:2", "yvyu422"),
    _raw("422P", "YUV 4:2:2 planar", "yuv422p", FULL, HALF_STRIDE, HALF_STRIDE),
    _raw("NV16", "NV16", "nv16", FULL, FULL),
    _raw("GREY", "grey", "gray"),
    _raw("BGR3", "BGR", "bgr24"),
    _raw("RGB3", "RGB", "rgb24"),
    _raw("XR24", "BGRX", "bgr0"),
    _raw("BGR4", "BGRX", "bgr0"),
    _raw("RGBP", "RGB 5:6:5", "rgb565le"),
)  # fmt: skip

BY_FOURCC = {known.fourcc: known for known in KNOWN}
PREFERENCE = {known.fourcc: place for place, known in enumerate(KNOWN)}

# Eight, ten, twelve and more bits of a sensor's colour filter, packed or not.
_BAYER_8 = frozenset({"BA81", "GBRG", "GRBG", "RGGB"})
_BAYER_HEADS = ("BG", "GB", "BA", "RG", "pB", "pG", "pg", "pR", "BY")


def is_bayer(fourcc: str) -> bool:
    """Whether it is a sensor's raw output, which only its image processor makes a picture of."""
    if fourcc in _BAYER_8:
        return True
    return fourcc not in BY_FOURCC and fourcc[:2] in _BAYER_HEADS and fourcc[-2:].isalnum()


def name_of(fourcc: str) -> str:
    known = BY_FOURCC.get(fourcc)
    return known.name if known else fourcc
