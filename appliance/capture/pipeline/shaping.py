"""From whatever a camera delivers to the picture that is encoded: 4:2:0, masked, sized, turned.

The matrix of the colours is kept and told to the encoder: converting it costs more than twice as
much as the rest (1.6 ms instead of 0.7 ms for 1280x720 MJPEG on one core).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import av
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from appliance.capture.encoders.encoder import BT601, BT709, LIMITED_RANGE
from appliance.capture.options import MIN_SIDE_PX, MaskOptions, Options
from appliance.capture.picture.frames import FORMAT, canvas_of, copy_of, matrix_of, range_of
from appliance.capture.picture.masks import Masks
from appliance.capture.picture.turning import turn


@dataclass(slots=True)
class Shaped:
    """A 4:2:0 picture. is_ours: nobody else has it, so it may be drawn on and kept."""

    frame: av.VideoFrame
    is_ours: bool


class Scaler:
    """Frames of any format to 4:2:0 in limited range, of any size; one per stream of pictures."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def scale(self, frame: av.VideoFrame, width: int, height: int) -> av.VideoFrame:
        """The frame itself if it is like that already."""
        range_ = range_of(frame)
        if (
            frame.format.name == FORMAT
            and (frame.width, frame.height) == (width, height)
            and range_ is ColorRange.MPEG
        ):
            return frame
        matrix = Colorspace.ITU709 if frame.format.is_rgb else matrix_of(frame)
        if matrix is not Colorspace.ITU709:
            matrix = Colorspace.ITU601  # what else there is, is close to it, and rare
        picture = self._reformatter.reformat(
            frame,
            width,
            height,
            FORMAT,
            src_colorspace=matrix,
            dst_colorspace=matrix,
            src_color_range=range_,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        picture.colorspace = BT709 if matrix is Colorspace.ITU709 else BT601
        picture.color_range = LIMITED_RANGE
        return picture


class Shaper:
    """scale: of both sides, on top of what the settings say; may be changed at any time.

    turned_deg: how far the camera turned its pictures itself already.
    """

    def __init__(self, options: Options, *, turned_deg: int = 0) -> None:
        self.scale = Fraction(1)
        self._bounds = (options.width, options.height)
        in_pixels = options.rotation == 180 or options.rotate == "picture"
        rest_deg = (options.rotation - turned_deg) % 360
        self._turn_deg = rest_deg if in_pixels else 0
        self.rotation_deg = 0 if in_pixels else rest_deg  # what is left to viewers
        self._mask_options = [_turned(mask, turned_deg) for mask in options.masks]
        self._masks: Masks | None = None
        self._mask_size = (0, 0)
        self._converter, self._scaler = Scaler(), Scaler()

    @property
    def masks(self) -> int:
        return len(self._mask_options)

    def shape(self, frame: av.VideoFrame, *, keep: bool) -> Shaped:
        """keep: the caller draws on the frame again; otherwise it is given away."""
        scale = float(self.scale)
        width, height = fit(
            frame.width, frame.height, self._bounds[0] * scale, self._bounds[1] * scale
        )
        picture, is_ours = frame, False
        if self._mask_options:  # before scaling, which would mix what is hidden into the rest
            picture = self._converter.scale(frame, frame.width & ~1, frame.height & ~1)
            picture = writable(Shaped(picture, picture is not frame), keep=keep)
            self._masks_for(picture).draw(canvas_of(picture))
            is_ours = True
        scaled = self._scaler.scale(picture, width, height)
        turned = turn(scaled, self._turn_deg)
        return Shaped(turned, is_ours or turned is not frame or not keep)

    def _masks_for(self, frame: av.VideoFrame) -> Masks:
        size = frame.width, frame.height
        if self._masks is None or size != self._mask_size:
            self._masks, self._mask_size = Masks(self._mask_options, *size), size
        return self._masks


def writable(shaped: Shaped, *, keep: bool = False) -> av.VideoFrame:
    """To draw on: a copy if somebody else still looks at it, a decoder for instance."""
    if not shaped.is_ours and keep:
        return copy_of(shaped.frame)
    shaped.frame.make_writable()
    return shaped.frame


def fit(width: int, height: int, max_width: float, max_height: float) -> tuple[int, int]:
    """The size that fits without becoming larger or another shape, in even numbers."""
    scale = min(1.0, max_width / width, max_height / height)
    sides = (round(width * scale / 2) * 2, round(height * scale / 2) * 2)
    return max(MIN_SIDE_PX, sides[0]), max(MIN_SIDE_PX, sides[1])


def _turned(mask: MaskOptions, degrees: int) -> MaskOptions:
    """Where the mask lies once the sensor has turned its picture by a half."""
    if degrees != 180:
        return mask
    # What is 0 may come out a little less, as 1 - 0.9 - 0.1 does.
    return replace(mask, x=max(0.0, 1 - mask.x - mask.width), y=max(0.0, 1 - mask.y - mask.height))
