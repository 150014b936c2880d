"""What the appliance tells a worker about its stream, as one JSON object on the command line."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any

from appliance.capture.fault import SourceFault
from appliance.wire.pipe.messages import Reason

MIN_SIDE_PX, MAX_SIDE_PX = 64, 4096
MAX_FPS = 120
ENCODERS = ("auto", "libx264")


@dataclass(frozen=True, slots=True)
class Options:
    """Of these a source uses what concerns it: one that passes units through encodes nothing.

    audio: "none" for no sound at all.
    """

    stream: str = "live/camera"
    device: str = "porthole"
    width: int = 1280
    height: int = 720
    fps: int = 30
    bitrate_bps: int = 2_000_000
    keyframe_us: int = 2_000_000
    encoder: str = "auto"
    audio: str = "auto"
    audio_bitrate_bps: int = 64_000

    @classmethod
    def from_json(cls, text: str) -> Options:
        """Raises: SourceFault if the text is not an object of these fields, or out of range."""
        try:
            given = json.loads(text)
        except ValueError as error:
            raise SourceFault(Reason.SOURCE_INVALID, f"the options are not JSON: {error}") from None
        known = {field.name: type(field.default) for field in fields(cls)}
        if not isinstance(given, dict):
            raise SourceFault(Reason.SOURCE_INVALID, "the options are not a JSON object")
        for key, value in given.items():
            if key not in known or type(value) is not known[key]:
                raise SourceFault(Reason.SOURCE_INVALID, f"option {key!r} is unknown or mistyped")
        options = cls(**given)
        options.check()
        return options

    def check(self) -> None:
        """Raises: SourceFault that names the first value no encoder can work with."""
        sides: list[tuple[str, Any]] = [("width", self.width), ("height", self.height)]
        for name, side in sides:
            if not MIN_SIDE_PX <= side <= MAX_SIDE_PX or side % 2:
                raise SourceFault(
                    Reason.SOURCE_INVALID,
                    f"{name} = {side}: give an even number from {MIN_SIDE_PX} to {MAX_SIDE_PX}",
                )
        if self.encoder not in ENCODERS:
            raise SourceFault(
                Reason.SOURCE_INVALID,
                f"encoder = {self.encoder!r}: there is {' and '.join(ENCODERS)}",
            )
        if not 1 <= self.fps <= MAX_FPS:
            raise SourceFault(Reason.SOURCE_INVALID, f"fps = {self.fps}: give 1 to {MAX_FPS}")
        if not 10_000 <= self.bitrate_bps <= 200_000_000:
            raise SourceFault(
                Reason.SOURCE_INVALID, f"bitrate = {self.bitrate_bps}: give 10k to 200M bits/s"
            )
        if not 100_000 <= self.keyframe_us <= 60_000_000:
            raise SourceFault(
                Reason.SOURCE_INVALID, f"keyframe = {self.keyframe_us} µs: give 0.1 s to 60 s"
            )
        if not 8_000 <= self.audio_bitrate_bps <= 512_000:
            raise SourceFault(
                Reason.SOURCE_INVALID,
                f"audio bitrate = {self.audio_bitrate_bps}: give 8k to 512k bits/s",
            )
