"""Privacy masks: rectangles of a picture that nobody ever sees.

They are drawn on the sensor's picture before it is scaled, turned, encoded or made a still, so that
no filter mixes what is under them into the pixels around; and again on what was made smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor

from appliance.capture.fault import SourceFault
from appliance.capture.options import MaskOptions
from appliance.capture.picture.canvas import Canvas, Colour
from appliance.wire.pipe.messages import Reason

BLACK = Colour(16, 128, 128)


class Masks:
    """For pictures of one size.

    Raises: SourceFault for a mask that hides nothing, which its owner cannot have meant.
    """

    def __init__(self, masks: Sequence[MaskOptions], width: int, height: int) -> None:
        self._rectangles = [_rectangle(mask, width, height) for mask in masks]

    def __len__(self) -> int:
        return len(self._rectangles)

    def draw(self, canvas: Canvas) -> None:
        for left, top, wide, high in self._rectangles:
            canvas.fill(left, top, wide, high, BLACK)


def _rectangle(mask: MaskOptions, width: int, height: int) -> tuple[int, int, int, int]:
    """Even pixels, as 4:2:0 has it, rounded outwards and cut to the picture."""
    for name in ("x", "y", "width", "height"):
        value = getattr(mask, name)
        least = "0" if name in {"x", "y"} else "more than 0"
        if not (0 <= value <= 1) or (value == 0 and name in {"width", "height"}):
            raise SourceFault(
                Reason.SOURCE_INVALID,
                f"mask {name} = {value}: give a fraction of the picture, {least} to 1",
            )
    left, right = _outwards(mask.x, mask.width, width)
    top, bottom = _outwards(mask.y, mask.height, height)
    if right == left or bottom == top:
        raise SourceFault(
            Reason.SOURCE_INVALID, f"mask at x = {mask.x}, y = {mask.y} lies outside the picture"
        )
    return left, top, right - left, bottom - top


def _outwards(start: float, length: float, side_px: int) -> tuple[int, int]:
    first = floor(start * side_px / 2) * 2
    return first, min(side_px, ceil((start + length) * side_px / 2) * 2)
