"""The slate's drawing: legible and inside the picture, whatever its size and words."""

from __future__ import annotations

import pytest
from picture_probe import visible

from appliance.capture.picture.canvas import Canvas
from appliance.capture.picture.slate import BRIGHT, GROUND, ICON, SOFT, draw_slate
from appliance.capture.picture.wrapping import wrap

LOST = "camera lost, retrying: /dev/video0 is not there"
SIZES = [(1280, 720), (320, 240), (720, 1280), (64, 64), (4096, 64), (64, 4096), (642, 358)]


def slate(width: int, height: int, heading: str = "front-door", text: str = LOST) -> Canvas:
    canvas = Canvas.blank(width, height)
    draw_slate(canvas, heading, text)
    return canvas


def rows_with(canvas: Canvas, luma: int) -> list[int]:
    """Rows whose brightest pixel is about this: thin letters do not reach their ink quite."""
    brightest = [max(row) for row in visible(canvas)[: canvas.height]]
    return [y for y, level in enumerate(brightest) if luma * 0.9 <= level <= luma]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_slate_has_camera_heading_and_text_in_this_order(width: int, height: int) -> None:
    canvas = slate(width, height)
    heading, text = rows_with(canvas, BRIGHT), rows_with(canvas, SOFT)
    assert heading, "no heading"
    assert max(text) > max(heading), "no text below the heading"
    if height >= 240 and width >= 240:
        icon = rows_with(canvas, ICON)
        assert min(icon) < min(heading) - 10
        assert height // 10 < min(icon)
        assert max(text) < height - height // 10


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_slate_is_grey_on_grey(width: int, height: int) -> None:
    canvas = slate(width, height)
    assert set(bytes(canvas.cb.data) + bytes(canvas.cr.data)) == {128}
    assert min(bytes(canvas.luma.data)) == GROUND.y
    assert max(bytes(canvas.luma.data)) <= BRIGHT


def test_slate_tells_its_words_apart() -> None:
    pictures = {
        b"".join(visible(slate(320, 240, heading, text)))
        for heading in ("front-door", "garden")
        for text in (LOST, "camera off", "")
    }
    assert len(pictures) == 6


def test_slate_of_few_words_has_larger_letters() -> None:
    def height_of_text(text: str) -> int:
        rows = rows_with(slate(320, 240, "", text), SOFT)
        return max(rows) - min(rows)

    assert height_of_text("off") > 10
    assert height_of_text("off " * 75) < 110


@pytest.mark.parametrize(
    "text", ["x" * 5000, "word " * 1000, "\n" * 500, "\0\x1b\U0001f600", "", "e\u0301" * 400]
)
@pytest.mark.parametrize(("width", "height"), [(64, 64), (320, 240), (4096, 64), (64, 4096)])
def test_slate_of_any_words_is_drawn(text: str, width: int, height: int) -> None:
    canvas = slate(width, height, text, text)
    assert len(canvas.luma.data) == width * height


@pytest.mark.parametrize(
    ("text", "columns", "lines"),
    [
        ("one two three", 7, ["one two", "three"]),
        ("one two three", 100, ["one two three"]),
        ("abcdefgh ij", 3, ["abc", "def", "gh", "ij"]),
        ("ab abcdef", 4, ["ab", "abcd", "ef"]),
        ("one\n\n two", 10, ["one", "two"]),
        ("abc", 1, ["a", "b", "c"]),
        ("", 5, []),
    ],
)
def test_wrapping_breaks_at_spaces_where_it_can(text: str, columns: int, lines: list[str]) -> None:
    assert wrap(text, columns) == lines
