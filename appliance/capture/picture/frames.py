"""Frames of libav as pictures to draw on (I420), and what is known of their colours.

A source marks its frames with the matrix and the range of the camera (`frame.colorspace`,
`frame.color_range`), as the decoders of libav do. Unmarked: JPEG's formats are BT.601 in full range
(JFIF 1.02), any other YUV is BT.709 in limited range.
"""

from __future__ import annotations

import av
from av.video.reformatter import ColorRange, Colorspace

from appliance.capture.picture.canvas import Canvas, Plane

FORMAT = "yuv420p"
BT709, LIMITED_RANGE, FULL_RANGE = 1, 1, 2  # ITU-T H.273 matrix; libav's AVColorRange
_MATRICES = {  # ITU-T H.273 §8.3 → swscale's tables
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}


def canvas_of(frame: av.VideoFrame) -> Canvas:
    """To draw on the frame itself, which must be I420, writable and nobody else's."""
    if frame.format.name != FORMAT:
        raise ValueError(f"cannot draw on {frame.format.name}")
    return Canvas(
        [
            Plane(memoryview(plane).cast("B"), plane.line_size, plane.width, plane.height)
            for plane in frame.planes
        ]
    )


def blank_frame(width: int, height: int) -> av.VideoFrame:
    """An I420 frame, marked as BT.709 in limited range; its content is not set."""
    frame = av.VideoFrame(width, height, FORMAT)
    frame.colorspace, frame.color_range = BT709, LIMITED_RANGE
    return frame


def copy_of(frame: av.VideoFrame) -> av.VideoFrame:
    """A frame with the same pixels in memory of its own."""
    copy = av.VideoFrame(frame.width, frame.height, frame.format.name)
    for plane, target in zip(frame.planes, copy.planes, strict=True):
        rows, to = memoryview(plane).cast("B"), memoryview(target).cast("B")
        if plane.line_size == target.line_size and len(rows) == len(to):
            to[:] = rows
            continue
        for line in range(plane.height):
            start = line * plane.line_size
            at = line * target.line_size
            to[at : at + plane.width] = rows[start : start + plane.width]
    copy.pts = frame.pts
    if frame.time_base is not None:
        copy.time_base = frame.time_base
    copy.colorspace, copy.color_range = frame.colorspace, frame.color_range
    return copy


def matrix_of(frame: av.VideoFrame) -> Colorspace:
    """How the frame's colours are coded; without meaning for RGB."""
    unmarked = Colorspace.ITU601 if range_of(frame) is ColorRange.JPEG else Colorspace.ITU709
    return _MATRICES.get(frame.colorspace, unmarked)


def range_of(frame: av.VideoFrame) -> ColorRange:
    is_full = frame.color_range == FULL_RANGE or frame.format.name.startswith("yuvj")
    return ColorRange.JPEG if is_full else ColorRange.MPEG
