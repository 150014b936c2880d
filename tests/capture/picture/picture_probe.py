"""Pictures for tests, and looking at single pixels of them."""

from __future__ import annotations

from collections.abc import Callable

import av

from appliance.capture.picture.canvas import Canvas, Colour
from appliance.capture.picture.frames import blank_frame, canvas_of

BLACK = (16, 128, 128)
GROUND = Colour(120, 90, 200)


def plain_frame(width: int, height: int, colour: Colour = GROUND) -> av.VideoFrame:
    frame = blank_frame(width, height)
    canvas_of(frame).fill(0, 0, width, height, colour)
    return frame


def probe(picture: av.VideoFrame | Canvas) -> Callable[[int, int], tuple[int, int, int]]:
    """A function of x and y that gives Y, Cb and Cr there."""
    canvas = picture if isinstance(picture, Canvas) else canvas_of(picture)
    planes = [(bytes(p.data), p.stride) for p in (canvas.luma, canvas.cb, canvas.cr)]

    def at(x: int, y: int) -> tuple[int, int, int]:
        (luma, stride), *chroma = planes
        half = (y // 2, x // 2)
        cb, cr = (data[half[0] * line + half[1]] for data, line in chroma)
        return luma[y * stride + x], cb, cr

    return at


def visible(picture: av.VideoFrame | Canvas) -> list[bytes]:
    """The rows of all three planes, without what lies between them in memory."""
    canvas = picture if isinstance(picture, Canvas) else canvas_of(picture)
    return [
        bytes(plane.data[line * plane.stride : line * plane.stride + plane.width])
        for plane in (canvas.luma, canvas.cb, canvas.cr)
        for line in range(plane.height)
    ]
