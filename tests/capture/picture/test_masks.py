"""Privacy masks by their pixels."""

from __future__ import annotations

import pytest
from picture_probe import BLACK, plain_frame, probe

from appliance.capture.fault import SourceFault
from appliance.capture.options import MaskOptions
from appliance.capture.picture.frames import canvas_of
from appliance.capture.picture.masks import Masks
from appliance.capture.pipeline.shaping import Scaler

SIZES = [(1280, 720), (642, 358), (64, 64)]
MASKS = (MaskOptions(0.1, 0.2, 0.33, 0.251), MaskOptions(0.9, 0.9, 0.5, 0.5))


def covered(mask: MaskOptions, width: int, height: int) -> list[tuple[int, int]]:
    """Every pixel that the rectangle touches, on its edges and across it."""
    left, right = int(mask.x * width), min(width - 1, int((mask.x + mask.width) * width))
    top, bottom = int(mask.y * height), min(height - 1, int((mask.y + mask.height) * height))
    edges = [(x, y) for x in range(left, right + 1) for y in (top, bottom)]
    edges += [(x, y) for y in range(top, bottom + 1) for x in (left, right)]
    return [*edges, ((left + right) // 2, (top + bottom) // 2)]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_masks_blacken_every_pixel_they_touch(width: int, height: int) -> None:
    frame = plain_frame(width, height)
    Masks(MASKS, width, height).draw(canvas_of(frame))
    at = probe(frame)
    for mask in MASKS:
        assert {at(x, y) for x, y in covered(mask, width, height)} == {BLACK}


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_masks_take_at_most_one_even_pixel_more(width: int, height: int) -> None:
    frame = plain_frame(width, height)
    mask = MASKS[0]
    Masks((mask,), width, height).draw(canvas_of(frame))
    at = probe(frame)
    left, top = int(mask.x * width) - 2, int(mask.y * height) - 2
    right = int((mask.x + mask.width) * width) + 3
    bottom = int((mask.y + mask.height) * height) + 3
    for x, y in ((left, top), (right, top), (left, bottom), (right, bottom)):
        assert at(x, y) == (120, 90, 200)


@pytest.mark.parametrize("factor", [2, 3])
def test_masks_drawn_before_scaling_let_nothing_through(factor: int) -> None:
    """What lies under a mask must not reach the smaller stream by its filter."""
    frame = plain_frame(960, 720)
    mask = MaskOptions(0.25, 0.25, 0.5, 0.5)
    canvas = canvas_of(frame)
    canvas.patch(240, 180, [b"\xeb" * 480] * 360)  # the bright secret, as large as the mask
    Masks((mask,), 960, 720).draw(canvas)
    width, height = 960 // factor, 720 // factor
    small = Scaler().scale(frame, width, height)
    Masks((mask,), width, height).draw(canvas_of(small))
    at = probe(small)
    assert max(at(x, y)[0] for x in range(width) for y in range(0, height, 7)) <= 120
    assert {at(x, y) for x, y in covered(MaskOptions(0.25, 0.25, 0.49, 0.49), width, height)} == {
        BLACK
    }


def test_masks_of_the_whole_picture_leave_nothing() -> None:
    frame = plain_frame(322, 242)
    Masks((MaskOptions(0, 0, 1, 1),), 322, 242).draw(canvas_of(frame))
    at = probe(frame)
    assert {at(x, y) for x in range(322) for y in range(242)} == {BLACK}


@pytest.mark.parametrize(
    "mask",
    [
        MaskOptions(0.1, 0.1, 0.0, 0.5),
        MaskOptions(0.1, 0.1, 0.5, 0.0),
        MaskOptions(-0.1, 0.1, 0.5, 0.5),
        MaskOptions(0.1, 1.5, 0.5, 0.5),
        MaskOptions(1.0, 0.1, 0.5, 0.5),
        MaskOptions(0.1, 0.1, float("nan"), 0.5),
    ],
)
def test_mask_that_hides_nothing_is_refused(mask: MaskOptions) -> None:
    with pytest.raises(SourceFault, match="mask"):
        Masks((mask,), 640, 360)
