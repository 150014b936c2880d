"""Canvas, font, tone and test card by themselves."""

from __future__ import annotations

from array import array
from itertools import pairwise

import pytest

from appliance.capture.pattern.testcard import Caption, TestCard
from appliance.capture.pattern.tone import BEEP_US, Tone
from appliance.capture.picture.canvas import Canvas, Colour, rgb
from appliance.capture.picture.font import (
    ADVANCE_CELLS,
    CELLS_HIGH,
    CELLS_WIDE,
    GLYPHS,
    coverage,
    glyph_luma,
    text_luma,
)

CAPTION = Caption("front-door", "live/camera", "figures")
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


def test_font_knows_every_character_a_stream_name_can_have() -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    assert set(letters + letters.upper() + "0123456789_-./:") <= GLYPHS.keys()


@pytest.mark.parametrize("character", sorted(GLYPHS))
def test_font_glyph_has_its_cells(character: str) -> None:
    glyph = GLYPHS[character]
    assert len(glyph) == CELLS_HIGH
    assert all(len(row) == CELLS_WIDE and set(row) <= set(".#") for row in glyph)
    rows = coverage(character, 4)
    assert len(rows) == CELLS_HIGH * 4
    for y, row in enumerate(glyph):
        for x, cell in enumerate(row):
            centre = rows[y * 4 + 2][x * 4 + 2]
            assert (centre > 200) == (cell == "#"), (character, x, y)


def test_font_digits_cannot_be_mistaken() -> None:
    shapes = {character: b"".join(glyph_luma(character, 4, 235, 28)) for character in "0123456789"}
    for one, first in shapes.items():
        for other, second in shapes.items():
            if one != other:
                assert sum(a != b for a, b in zip(first, second, strict=True)) > 60, (one, other)


def test_font_unknown_character_becomes_a_question_mark() -> None:
    assert text_luma("é", 3, 200, 20) == text_luma("?", 3, 200, 20)
    assert len(text_luma("ab", 3, 200, 20)[0]) == 2 * ADVANCE_CELLS * 3


def test_tone_repeats_each_second_without_a_click() -> None:
    tone = Tone(48_000)
    samples = array("f", bytes(tone.samples(0, 48_000)) + bytes(tone.samples(48_000, 4_800)))
    assert samples[48_000:52_800] == samples[:4_800]
    assert max(abs(after - before) for before, after in pairwise(samples)) < 0.05
    beep = 48_000 * BEEP_US // 1_000_000
    assert max(samples[:beep]) > 0.2
    assert max(map(abs, samples[beep:48_000])) < 0.03


def test_tone_pieces_join() -> None:
    tone = Tone(8_000)
    pieces = b"".join(bytes(tone.samples(first, 1024)) for first in range(0, 10_240, 1024))
    assert pieces == bytes(tone.samples(0, 8_000)) + bytes(tone.samples(8_000, 2_240))


@pytest.mark.parametrize(
    ("width", "height"), [(64, 64), (128, 64), (320, 180), (360, 640), (1280, 720), (1922, 1082)]
)
def test_testcard_draws_on_every_size(width: int, height: int) -> None:
    card = TestCard(width, height, CAPTION)
    canvas = Canvas.blank(width, height)
    card.paint(canvas)
    for number in range(0, 60, 7):
        card.draw(canvas, number, 1_790_000_000_000_000 + number * 33_333)
    assert min(canvas.luma.data) >= 16
    assert max(canvas.luma.data) <= 235


def test_testcard_moving_parts_leave_no_trace() -> None:
    """After many pictures the card is what a fresh one drawn once is."""
    card, fresh = TestCard(320, 180, CAPTION), TestCard(320, 180, CAPTION)
    canvas, once = Canvas.blank(320, 180), Canvas.blank(320, 180)
    card.paint(canvas)
    fresh.paint(once)
    last_us = 1_790_000_003_456_000
    for number in range(200):
        card.draw(canvas, number, last_us - (199 - number) * 33_333)
    fresh.draw(once, 199, last_us)
    for plane in ("luma", "cb", "cr"):
        assert bytes(getattr(canvas, plane).data) == bytes(getattr(once, plane).data)
