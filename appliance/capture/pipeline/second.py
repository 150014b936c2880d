"""The second, smaller stream of a camera: encoded only while somebody wants it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av

from appliance.capture.options import Options, SubOptions
from appliance.capture.pipeline.encoding import Coding, Encoding, Words
from appliance.capture.pipeline.pace import Pace
from appliance.capture.pipeline.shaping import Scaler, Shaped, fit
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.messages import SUB_VIDEO_ID


class SecondStream:
    """is_wanted: somebody watches it; while nobody does, it has no encoder and costs nothing."""

    def __init__(self, sub: SubOptions, options: Options, words: Words, rotation_deg: int) -> None:
        self._bounds = sub.width, sub.height
        wish = "libx264" if options.encoder == "libx264" else "auto"
        self._encoding = Encoding(
            Coding(
                SUB_VIDEO_ID, wish, Fraction(sub.fps), sub.fps, sub.bitrate_bps, sub.keyframe_us,
                rotation_deg=rotation_deg,
            ),
            words,
        )  # fmt: skip
        self._pace = Pace(sub.fps)
        self._scaler = Scaler()
        self.is_wanted = False

    def set_wanted(self, wanted: bool) -> None:
        self.is_wanted = wanted
        if not wanted:
            self._encoding.close()

    def take(self, frame: av.VideoFrame, time_us: int) -> Shaped | None:
        """The picture in this stream's size, if it is time for one. The frame is only read."""
        if not self.is_wanted or not self._pace.is_due(time_us):
            return None
        size = fit(frame.width, frame.height, *self._bounds)
        scaled = self._scaler.scale(frame, *size)
        return Shaped(scaled, scaled is not frame)

    def encode(self, shaped: Shaped, time_us: int, unix_us: int, *, key: bool) -> list[AccessUnit]:
        return self._encoding.encode(shaped, time_us, unix_us, key=key)

    def restart(self) -> None:
        self._encoding.close()

    @property
    def width(self) -> int:
        """At most; of stills that ask for this stream's picture."""
        return self._bounds[0]

    def figures(self) -> dict[str, Any]:
        width, height = self._encoding.size if self.is_wanted else self._bounds
        coding = self._encoding.coding
        return {
            "width": width or self._bounds[0],
            "height": height or self._bounds[1],
            "fps": coding.pace,
            "bitrate_bps": coding.bitrate_bps,
            "active": self.is_wanted,
        }
