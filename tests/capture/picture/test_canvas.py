"""Drawing on planes, clipped to the picture."""

from __future__ import annotations

import pytest

from appliance.capture.picture.canvas import Canvas, Colour, rgb

# ITU-R BT.709 75 % bars in 8 bits, as test generators have them
BARS_709 = {
    (191, 191, 191): Colour(180, 128, 128),
    (191, 191, 0): Colour(168, 44, 136),
    (0, 191, 191): Colour(145, 147, 44),
    (0, 191, 0): Colour(133, 63, 52),
    (191, 0, 191): Colour(63, 193, 204),
    (191, 0, 0): Colour(51, 109, 212),
    (0, 0, 191): Colour(28, 212, 120),
}


@pytest.mark.parametrize(("red_green_blue", "expected"), BARS_709.items())
def test_rgb_is_converted_as_bt709_says(
    red_green_blue: tuple[int, int, int], expected: Colour
) -> None:
    colour = rgb(*red_green_blue)
    assert abs(colour.y - expected.y) <= 1
    assert abs(colour.cb - expected.cb) <= 1
    assert abs(colour.cr - expected.cr) <= 1


def test_rgb_black_and_white_are_the_limits() -> None:
    assert rgb(0, 0, 0) == Colour(16, 128, 128)
    assert rgb(255, 255, 255) == Colour(235, 128, 128)


@pytest.mark.parametrize(
    "rectangle", [(0, 0, 8, 6), (-4, -4, 100, 100), (3, 3, 3, 3), (8, 6, 2, 2), (6, 4, 50, 50)]
)
def test_canvas_fill_stays_inside(rectangle: tuple[int, int, int, int]) -> None:
    canvas = Canvas.blank(8, 6)
    canvas.fill(*rectangle, Colour(1, 2, 3))
    assert set(canvas.luma.data) <= {0, 1}
    assert set(canvas.cb.data) <= {0, 2}
    assert sum(canvas.luma.data) == 4 * sum(canvas.cb.data) // 2
    assert len(canvas.luma.data) == 48


def test_canvas_copy_restores_what_was_there() -> None:
    still, canvas = Canvas.blank(16, 8), Canvas.blank(16, 8)
    still.fill(4, 2, 6, 4, Colour(9, 8, 7))
    canvas.fill(0, 0, 16, 8, Colour(1, 1, 1))
    canvas.copy(still, 0, 0, 16, 8)
    assert bytes(canvas.luma.data) == bytes(still.luma.data)
    assert bytes(canvas.cr.data) == bytes(still.cr.data)


@pytest.mark.parametrize(("x", "y"), [(-5, 0), (0, -5), (60, 2), (2, 30), (1000, 1000)])
def test_canvas_text_is_clipped(x: int, y: int) -> None:
    canvas = Canvas.blank(64, 32)
    canvas.text(x, y, "0123456789", 2, 200, 50)
    assert len(canvas.luma.data) == 64 * 32
