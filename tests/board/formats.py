"""Runs on the board: takes pictures of vivid's colour bars in every format we know, and looks.

usage: formats.py /dev/videoN…
"""

from __future__ import annotations

import os
import sys
import time
from fractions import Fraction

from av.video.reformatter import Colorspace

from appliance.capture.shots import BT709, open_pictures
from appliance.capture.v4l2.device import Wanted
from appliance.capture.v4l2.formats import BY_FOURCC, Kind
from appliance.capture.v4l2.kernel import KernelDevice

WANTED = Wanted(640, 360, 15)
ON, OFF = 191, 0  # of 255: "75% Colorbar"
BARS = [(1, 1, 1), (1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1), (0, 0, 0)]
TOLERANCE = 12  # 5:6:5 has steps of 8
DEADLINE_S = 20.0


def shoot(device: KernelDevice, fourcc: str, waker: int) -> tuple[object, object]:
    """The second picture of a stream, and its shape."""
    shape = device.start(fourcc, WANTED.width, WANTED.height, Fraction(WANTED.fps))
    pictures = open_pictures(shape)
    end_s = time.monotonic() + DEADLINE_S
    count = 0
    while time.monotonic() < end_s:
        shot = device.take() if device.wait(1.0, waker) else None
        if shot is None:
            continue
        frame = pictures.picture(shot.planes)
        device.give_back(shot)
        assert frame is not None, f"{fourcc}: not a whole picture"
        count += 1
        if count == 2:
            return frame, shape
    raise TimeoutError(f"{fourcc}: no picture")


def bars_of(frame: object) -> list[tuple[int, ...]]:
    """The colour in the middle of each bar, below the text that vivid writes."""
    matrix = Colorspace.ITU709 if frame.colorspace == BT709 else Colorspace.ITU601
    picture = frame.reformat(format="rgb24", src_colorspace=matrix)
    plane = picture.planes[0]
    pixels = memoryview(plane).cast("B")
    row = plane.height * 9 // 10 * plane.line_size
    middles = [(2 * bar + 1) * plane.width // 16 * 3 for bar in range(8)]
    return [tuple(pixels[row + at : row + at + 3]) for at in middles]


def expected(fourcc: str) -> list[tuple[int, ...]]:
    if fourcc != "GREY":
        return [tuple(ON if on else OFF for on in bar) for bar in BARS]
    luma = [round(ON * (0.2126 * r + 0.7152 * g + 0.0722 * b)) for r, g, b in BARS]
    return [(level,) * 3 for level in luma]


def main() -> None:
    waker = os.eventfd(0)
    for path in sys.argv[1:]:
        device = KernelDevice(path)
        api = "multi-planar" if device.capability.has_planes else "single-planar"
        seen = []
        for offer in device.offers(WANTED):
            known = BY_FOURCC.get(offer.fourcc)
            if known is None or known.kind is not Kind.RAW:
                continue
            frame, _ = shoot(device, offer.fourcc, waker)
            for shown, wanted in zip(bars_of(frame), expected(offer.fourcc), strict=True):
                worst = max(abs(a - b) for a, b in zip(shown, wanted, strict=True))
                assert worst <= TOLERANCE, f"{path} {offer.fourcc}: {shown} instead of {wanted}"
            seen.append(offer.fourcc)
        device.close()
        names = " ".join(seen)
        sys.stdout.write(f"{path}, {api}: the right colours in {len(seen)} formats: {names}\n")


main()
