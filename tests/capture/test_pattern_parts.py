"""Canvas, font, tone and test card by themselves."""

from __future__ import annotations

from array import array
from itertools import pairwise

import pytest

from appliance.capture.pattern.testcard import Caption, TestCard
from appliance.capture.pattern.tone import BEEP_US, Tone
from appliance.capture.picture.canvas import Canvas

CAPTION = Caption("front-door", "live/camera", "figures")


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
