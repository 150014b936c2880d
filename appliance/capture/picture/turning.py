"""Turning I420 pictures by quarters, with libav's filters.

Measured for 1280x720 on one core: a quarter 0.28 ms and a half 0.10 ms, where slices of Python's
bytes take 2.6 ms and 1.0 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, cast

import av
from av.filter import Graph

from appliance.capture.picture.frames import FORMAT

# The half ends in hflip: vflip alone would hand out rows in descending order of addresses.
_FILTERS = {
    90: (("transpose", "clock"),),
    180: (("vflip", ""), ("hflip", "")),
    270: (("transpose", "cclock"),),
}


@dataclass(slots=True)
class _Turner:
    graph: Graph
    entry: Any
    exit: Any


def turn(frame: av.VideoFrame, degrees: int) -> av.VideoFrame:
    """The picture turned clockwise by 90, 180 or 270 degrees, as a new frame of the caller's own;
    0 gives the frame itself. Stamps and colour marks are kept."""
    if degrees == 0:
        return frame
    turner = _turner(frame.width, frame.height, degrees)
    try:
        turner.entry.push(frame)
        turned = cast(av.VideoFrame, turner.exit.pull())
    except av.FFmpegError:
        _turner.cache_clear()  # it may still hold this picture
        raise
    turned.pts = frame.pts
    if frame.time_base is not None:
        turned.time_base = frame.time_base
    return turned


@lru_cache(maxsize=2)  # the stream and its smaller one; building takes as long as ten pictures
def _turner(width: int, height: int, degrees: int) -> _Turner:
    graph = Graph()
    last = entry = graph.add_buffer(
        width=width,
        height=height,
        format=av.VideoFormat(FORMAT),
        time_base=Fraction(1, 1_000_000),
    )
    for name, arguments in _FILTERS[degrees]:
        added = graph.add(name, arguments)
        last.link_to(added)
        last = added
    end = graph.add("buffersink")
    last.link_to(end)
    graph.configure()
    return _Turner(graph, entry, end)
