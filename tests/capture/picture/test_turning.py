"""Turned pictures, pixel by pixel."""

from __future__ import annotations

from fractions import Fraction

import av
import pytest
from picture_probe import probe, visible

from appliance.capture.picture.canvas import Colour
from appliance.capture.picture.frames import BT709, LIMITED_RANGE, blank_frame, canvas_of
from appliance.capture.picture.turning import turn

SIZES = [(1280, 720), (66, 64), (642, 358), (64, 98)]


def uneven(width: int, height: int) -> av.VideoFrame:
    """No two of its quarters, edges or colours are alike."""
    frame = blank_frame(width, height)
    canvas = canvas_of(frame)
    for number in range(16):
        x, y = number % 4 * width / 4, number // 4 * height / 4
        canvas.fill(
            int(x), int(y), width, height, Colour(16 + 13 * number, 20 + number, 240 - number)
        )
    frame.pts, frame.time_base = 123_456_789, Fraction(1, 1_000_000)
    return frame


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_turn_moves_every_pixel_clockwise(width: int, height: int, degrees: int) -> None:
    frame = uneven(width, height)
    turned = turn(frame, degrees)
    size = (width, height) if degrees == 180 else (height, width)
    assert (turned.width, turned.height) == size
    before, after = probe(frame), probe(turned)
    for x in range(0, width, 5):
        for y in range(0, height, 3):
            place = {
                90: (height - 1 - y, x),
                180: (width - 1 - x, height - 1 - y),
                270: (y, width - 1 - x),
            }[degrees]
            assert after(*place) == before(x, y), (x, y)


def test_turn_by_nothing_is_the_frame_itself() -> None:
    frame = uneven(64, 64)
    assert turn(frame, 0) is frame


def test_turn_keeps_stamps_and_marks_and_the_frame() -> None:
    frame = uneven(640, 360)
    seen = visible(frame)
    turned = turn(frame, 90)
    assert (turned.pts, turned.time_base) == (123_456_789, Fraction(1, 1_000_000))
    assert (turned.colorspace, turned.color_range) == (BT709, LIMITED_RANGE)
    canvas_of(turned).fill(0, 0, 360, 640, Colour(1, 2, 3))
    assert visible(frame) == seen


def test_turn_of_pictures_in_a_row_gives_each_its_own() -> None:
    """Stamps may jump and sizes may change; nothing is held back."""
    for number in range(40):
        width, height = SIZES[number % len(SIZES)]
        frame = uneven(width, height)
        frame.pts = -number if number % 3 else None
        canvas_of(frame).fill(0, 0, 2, 2, Colour(number, 128, 128))
        turned = turn(frame, 180)
        assert turned.pts == frame.pts
        assert probe(turned)(width - 1, height - 1)[0] == number


def test_turn_four_times_is_the_picture_again() -> None:
    frame = turned = uneven(322, 182)
    for _ in range(4):
        turned = turn(turned, 90)
    assert visible(turned) == visible(frame)
