"""Reads the clock that the test pattern burns into its picture, off a screenshot of the page."""

from __future__ import annotations

import subprocess

from appliance.capture.pattern.testcard import Caption, TestCard
from appliance.capture.picture.glyphs import ADVANCE_CELLS, CAP_CELLS, CELLS_WIDE, GLYPHS

CLOCK = "00:00:00.000"
BRIGHT_LUMA = 130
MAX_WRONG_CELLS = 3  # of 35 in a character: what compression may do to it


def png_luma(png: bytes, left: int, top: int, width: int, height: int) -> bytes:
    """The part of a picture as one byte per pixel."""
    crop = f"crop={width}:{height}:{left}:{top},format=gray"
    command = ["ffmpeg", "-v", "error", "-f", "png_pipe", "-i", "-", "-f", "rawvideo", "-vf"]
    done = subprocess.run([*command, crop, "-"], input=png, capture_output=True, check=True)
    assert len(done.stdout) == width * height
    return done.stdout


def read_clock(luma: bytes, width: int, height: int) -> float:
    """Seconds since midnight, of a picture in its own size."""
    card = TestCard(width, height, Caption("", "", ""))
    cell = max(1, round(min(height / 72, width / 128)))
    text = ""
    for index, model in enumerate(CLOCK):
        left = card.clock_x + index * ADVANCE_CELLS * cell
        cells = [
            luma[(card.clock_y + row * cell + cell // 2) * width + left + column * cell + cell // 2]
            > BRIGHT_LUMA
            for row in range(CAP_CELLS)
            for column in range(CELLS_WIDE)
        ]
        text += model if model in ":." else _nearest_digit(cells, text)
    hours, minutes, seconds = text.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def _nearest_digit(cells: list[bool], before: str) -> str:
    def wrong(digit: str) -> int:
        art = "".join(GLYPHS[digit][:CAP_CELLS])
        return sum((mark == "#") != cell for mark, cell in zip(art, cells, strict=True))

    digit = min("0123456789", key=wrong)
    assert wrong(digit) <= MAX_WRONG_CELLS, f"no digit after {before!r}"
    return digit
