"""The font by its pixels."""

from __future__ import annotations

import pytest

from appliance.capture.picture.font import (
    MAX_CHARACTERS,
    MAX_GLYPHS,
    MAX_SHAPES,
    coverage,
    drawable,
    glyph_luma,
    text_luma,
)
from appliance.capture.picture.glyphs import ADVANCE_CELLS, CELLS_HIGH, CELLS_WIDE, GLYPHS


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


@pytest.mark.parametrize("character", ["\u4e2d", "\U0001f600", "\ud800", "\0", "\u0301", "\uac00"])
def test_font_unknown_character_becomes_a_question_mark(character: str) -> None:
    assert text_luma(character, 3, 200, 20) == text_luma("?", 3, 200, 20)
    assert len(text_luma("ab", 3, 200, 20)[0]) == 2 * ADVANCE_CELLS * 3


def test_font_knows_the_printable_characters_of_ascii() -> None:
    assert {chr(code) for code in range(32, 127)} <= GLYPHS.keys()


MARKED = "ÄÖÜäöüßéèêëáàâãåçñíîïóòôõøæúùûýÿČŠŽřěůőąęğş°€§"


def test_font_marked_letters_are_all_different() -> None:
    """From each other, from their letters and from what stands for unknown ones."""
    plain = "AOUaoueacniyCSZregs?"
    shapes = {c: b"".join(text_luma(c, 3, 200, 20)) for c in MARKED + plain}
    assert len(set(shapes.values())) == len(shapes)


@pytest.mark.parametrize("character", MARKED)
@pytest.mark.parametrize("scale", [1, 2, 7])
def test_font_marked_letter_stays_in_its_cells(character: str, scale: int) -> None:
    rows = coverage(character, scale)
    assert len(rows) == CELLS_HIGH * scale
    assert {len(row) for row in rows} == {ADVANCE_CELLS * scale}


def test_font_letter_with_a_mark_it_does_not_know_loses_the_mark() -> None:
    assert text_luma("\u1eb9", 3, 200, 20) == text_luma("e", 3, 200, 20)


def test_font_cost_of_ever_new_characters_is_bounded() -> None:
    for code in range(0x20, 0x3000):
        glyphs = text_luma(chr(code), 1, 200, 20)
        assert len(glyphs) == CELLS_HIGH
    assert coverage.cache_info().currsize <= MAX_SHAPES
    assert glyph_luma.cache_info().currsize <= MAX_GLYPHS
    assert drawable.cache_info().currsize <= MAX_CHARACTERS
