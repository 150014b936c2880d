"""What every encoder of sound offers."""

from __future__ import annotations

from typing import Protocol

import av

from appliance.media.track import Track
from appliance.media.unit import AccessUnit

SAMPLE_BYTES = 4  # of one channel: floats


class SoundEncoder(Protocol):
    """Frames of `frame_samples` floats in, coded frames out, one for one.

    What an encoder puts before the first sample is in the stamps: those of units are those of the
    sound they decode to.
    """

    @property
    def track(self) -> Track: ...
    @property
    def rate_hz(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def layout(self) -> str: ...
    @property
    def sample_format(self) -> str: ...
    @property
    def is_planar(self) -> bool: ...
    @property
    def frame_samples(self) -> int: ...

    def encode(self, frame: av.AudioFrame, origin_us: int) -> list[AccessUnit]:
        """frame.pts counts samples from `origin_us` on."""
        ...
