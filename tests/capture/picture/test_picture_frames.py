"""Frames as pictures to draw on."""

from __future__ import annotations

from fractions import Fraction

import av
import pytest
from picture_probe import plain_frame, probe, visible

from appliance.capture.picture.canvas import Colour
from appliance.capture.picture.frames import canvas_of, copy_of
from appliance.capture.picture.turning import turn


@pytest.mark.parametrize(("width", "height"), [(64, 64), (1282, 722), (66, 98)])
def test_copy_of_a_frame_has_memory_of_its_own(width: int, height: int) -> None:
    frame = plain_frame(width, height)
    frame.pts, frame.time_base = 4711, Fraction(1, 1_000_000)
    copy = copy_of(frame)
    assert visible(copy) == visible(frame)
    assert (copy.pts, copy.time_base) == (4711, Fraction(1, 1_000_000))
    canvas_of(copy).fill(0, 0, width, height, Colour(1, 2, 3))
    assert probe(frame)(10, 10) == (120, 90, 200)


def test_frame_whose_rows_are_further_apart_is_copied() -> None:
    """As decoders and filters make them."""
    upright = plain_frame(1280, 720)
    canvas_of(upright).fill(0, 0, 100, 32, Colour(50, 60, 70))
    frame = turn(upright, 90)
    copy = copy_of(frame)
    assert frame.planes[0].line_size != copy.planes[0].line_size
    assert visible(copy) == visible(frame)


def test_canvas_of_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="nv12"):
        canvas_of(av.VideoFrame(64, 64, "nv12"))
