"""A camera mounted on its side, seen upright in Chromium whatever the segments are."""

from __future__ import annotations

from pathlib import Path

import pytest
from appliance_process import appliance_process
from burnt_clock import png_luma
from chromium import Chromium

VIDEO = "document.querySelector('video')"
STILL = "document.querySelector('#veil, .still')"
ON_SIDE = "stream.live/camera.video.rotation=90"


def assert_upright(browser: Chromium) -> None:
    """The card's left edge, with its brightest colour bar, is on top; its top is on the right."""
    box = browser.run(f"return {VIDEO}.parentElement.getBoundingClientRect().toJSON()")
    left, top, wide, high = (int(box[side]) for side in ("x", "y", "width", "height"))
    luma = png_luma(browser.screenshot(), left, top, wide, high)

    def at(across: float, down: float) -> int:
        """Of the upright picture, -0.5 to 0.5 and 0 to 1."""
        x, y = wide / 2 + across * high * 360 / 640, down * high
        return luma[int(y) * wide + int(x)]

    bars = [at(0.34, (2 * number + 1) / 14) for number in range(7)]  # above the card's clock
    assert bars == sorted(bars, reverse=True), bars
    assert bars[0] > 150
    assert bars[-1] < 60
    assert max(at(-0.45, 0.9), at(-0.45, 0.5)) < 60  # the card's foot
    assert at(-0.7, 0.5) < 20, "the picture is wider than it should be"


@pytest.mark.parametrize(
    ("format", "player", "paths"),
    [
        ("fmp4", "hls", ("live/camera",)),  # Chromium turns it
        ("fmp4", "native", ("live/camera",)),
        ("ts", "hls", ("live/camera", "")),  # our pages turn it
    ],
)
def test_camera_on_its_side_is_shown_upright(
    browser: Chromium, tmp_path: Path, format: str, player: str, paths: tuple[str, ...]
) -> None:
    with appliance_process(tmp_path, ON_SIDE, f'hls.format="{format}"') as device:
        for path in paths:
            browser.open(f"{device.url}{path}?player={player}")
            browser.wait(f"{VIDEO}.currentTime > 1 && {STILL}.hidden")
            size = browser.run(f"return [{VIDEO}.videoWidth, {VIDEO}.videoHeight]")
            transform = browser.run(f"return {VIDEO}.style.transform")
            if format == "fmp4":
                assert (size, transform) == ([360, 640], "")
            else:
                assert size == [640, 360]
                assert transform.startswith("rotate(90deg)")
            assert_upright(browser)
            browser.assert_quiet(device.url)
