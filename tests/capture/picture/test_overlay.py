"""The overlay as a reader of pixels sees it."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from picture_probe import plain_frame, probe, visible

from appliance.capture.options import MAX_TEXT_CHARS, POSITIONS, OverlayOptions
from appliance.capture.picture.canvas import Canvas
from appliance.capture.picture.font import glyph_luma
from appliance.capture.picture.frames import canvas_of
from appliance.capture.picture.glyphs import ADVANCE_CELLS, CAP_CELLS
from appliance.capture.picture.overlay import INK, PAPER, Overlay
from appliance.capture.picture.turning import turn

NOW_US = 1_790_000_000_500_000
SECOND_US = 1_000_000
SHOWN = OverlayOptions(shown=True, text="Gate", size_percent=4.0)
CHARACTERS = "0123456789ABCDEFGHIJKLMNPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz:- "  # O looks like 0


def drawn(settings: OverlayOptions, width: int = 640, height: int = 360) -> Canvas:
    canvas = canvas_of(plain_frame(width, height))
    Overlay(settings, "front-door", width, height).draw(canvas, NOW_US)
    return canvas


def box_of(canvas: Canvas) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is not ground any more; the last two are outside."""
    at, ground = probe(canvas), (120, 90, 200)
    lines = visible(canvas)
    luma, chroma = lines[: canvas.height], lines[canvas.height :]
    cb, cr = chroma[: len(chroma) // 2], chroma[len(chroma) // 2 :]
    changed = [
        (x, y)
        for y in range(canvas.height)
        if any(
            {*row} != {value}
            for row, value in zip((luma[y], cb[y // 2], cr[y // 2]), ground, strict=True)
        )
        for x in range(canvas.width)
        if at(x, y) != ground
    ]
    assert changed, "nothing was drawn"
    columns, rows = [x for x, _ in changed], [y for _, y in changed]
    return min(columns), min(rows), max(columns) + 1, max(rows) + 1


def read(canvas: Canvas, scale: int, count: int, line: int = 0) -> str:
    """Characters of a line of the box, each the one whose bitmap is there."""
    left, top, _, _ = box_of(canvas)
    at = probe(canvas)
    y = top + 2 * scale + line * 10 * scale
    text = ""
    for index in range(count):
        x = left + 2 * scale + index * ADVANCE_CELLS * scale
        distances = {
            character: sum(
                abs(value - at(x + column, y + down)[0])
                for down, row in enumerate(glyph_luma(character, scale, INK, PAPER))
                for column, value in enumerate(row)
                if down < CAP_CELLS * scale
            )
            for character in CHARACTERS
        }
        text += min(distances, key=distances.__getitem__)
    return text


@pytest.mark.parametrize(
    ("width", "height", "scale"), [(1280, 720, 3), (640, 360, 2), (320, 180, 1)]
)
def test_overlay_is_readable(width: int, height: int, scale: int) -> None:
    settings = replace(SHOWN, name="{device}", clock="%H:%M:%S", text="Gate 7")
    canvas = drawn(settings, width, height)
    clock = time.strftime("%H:%M:%S", time.localtime(NOW_US // SECOND_US))
    assert read(canvas, scale, 20) == f"front-door  {clock}"
    assert read(canvas, scale, 6, line=1) == "Gate 7"


def test_overlay_is_light_on_dark_and_neutral() -> None:
    canvas = drawn(SHOWN)
    left, top, right, bottom = box_of(canvas)
    at = probe(canvas)
    pixels = [at(x, y) for x in range(left, right) for y in range(top, bottom)]
    assert {(cb, cr) for _, cb, cr in pixels} == {(128, 128)}
    assert max(y for y, _, _ in pixels) >= 230
    assert sum(y == PAPER for y, _, _ in pixels) > len(pixels) / 2


@pytest.mark.parametrize("position", POSITIONS)
def test_overlay_stands_where_it_shall(position: str) -> None:
    width, height = 640, 360
    left, top, right, bottom = box_of(drawn(replace(SHOWN, position=position), width, height))
    if position.startswith("top"):
        assert top < 10
    else:
        assert height - bottom < 10
    if position.endswith("left"):
        assert left < 10
    elif position.endswith("right"):
        assert width - right < 10
    else:
        assert abs(left - (width - right)) <= 2


def test_overlay_grows_with_its_size() -> None:
    heights = []
    for percent in (2.0, 4.0, 8.0, 16.0):
        _, top, _, bottom = box_of(drawn(replace(SHOWN, size_percent=percent)))
        heights.append(bottom - top)
    assert heights == sorted(set(heights))


def test_overlay_text_changes_with_the_next_picture() -> None:
    overlay = Overlay(SHOWN, "front-door", 640, 360)
    canvas = canvas_of(plain_frame(640, 360))
    overlay.draw(canvas, NOW_US)
    overlay.text = "Shut"
    canvas = canvas_of(plain_frame(640, 360))
    overlay.draw(canvas, NOW_US + 1)
    assert read(canvas, 2, 4) == "Shut"


def test_overlay_clock_goes_on() -> None:
    overlay = Overlay(replace(SHOWN, clock="%S", text=""), "", 640, 360)
    seconds = []
    for number in range(3):
        canvas = canvas_of(plain_frame(640, 360))
        overlay.draw(canvas, NOW_US + number * SECOND_US)
        seconds.append(int(read(canvas, 2, 2)))
    assert seconds == [20, 21, 22]


@pytest.mark.parametrize(
    "settings", [replace(SHOWN, shown=False), replace(SHOWN, text=""), replace(SHOWN, text=" \n ")]
)
def test_overlay_without_words_draws_nothing(settings: OverlayOptions) -> None:
    assert visible(drawn(settings)) == visible(plain_frame(640, 360))


def test_overlay_can_be_hidden_and_shown() -> None:
    overlay = Overlay(SHOWN, "front-door", 640, 360)
    canvas = canvas_of(plain_frame(640, 360))
    overlay.shown = False
    overlay.draw(canvas, NOW_US)
    assert visible(canvas) == visible(plain_frame(640, 360))
    overlay.shown = True
    overlay.draw(canvas, NOW_US)
    assert read(canvas, 2, 4) == "Gate"


@pytest.mark.parametrize("rotation_deg", [90, 180, 270])
@pytest.mark.parametrize("position", ["top-left", "bottom-right", "top"])
def test_overlay_on_a_turned_picture_is_upright_for_the_viewer(
    rotation_deg: int, position: str
) -> None:
    settings = replace(SHOWN, position=position, text="Gate\nopen")
    frame = plain_frame(640, 360)
    Overlay(settings, "front-door", 640, 360, rotation_deg).draw(canvas_of(frame), NOW_US)
    seen = turn(frame, rotation_deg)
    expected = plain_frame(seen.width, seen.height)
    Overlay(settings, "front-door", seen.width, seen.height).draw(canvas_of(expected), NOW_US)
    assert visible(seen) == visible(expected)


@pytest.mark.parametrize(
    "text",
    [
        "x" * 10_000,
        "word " * 500,
        "\n" * 300 + "end",
        "".join(map(chr, range(200))),
        "\U0001f600\u4e2d\u6587\u0000\ud800",
        "\x00\x1b[31m",
        "%n%s{device}{0}{}",
    ],
)
@pytest.mark.parametrize(("width", "height"), [(64, 64), (66, 358), (1280, 64)])
@pytest.mark.parametrize("rotation_deg", [0, 90])
def test_overlay_of_any_text_stays_in_the_picture(
    text: str, width: int, height: int, rotation_deg: int
) -> None:
    for position in POSITIONS:
        for percent in (1.0, 4.0, 20.0):
            settings = OverlayOptions(True, "n", "%H:%M", text, position, percent)
            overlay = Overlay(settings, "front-door", width, height, rotation_deg)
            frame = plain_frame(width, height)
            before = [plane.buffer_size for plane in frame.planes]
            overlay.draw(canvas_of(frame), NOW_US)
            assert [plane.buffer_size for plane in frame.planes] == before
            assert visible(frame) != visible(plain_frame(width, height))
            assert len(overlay.text) <= MAX_TEXT_CHARS
