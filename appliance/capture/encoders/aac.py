"""AAC-LC by libav's own encoder."""

from __future__ import annotations

from fractions import Fraction

import av

from appliance.media.aac import AacConfig
from appliance.media.track import Track
from appliance.media.unit import AccessUnit

FRAME_SAMPLES = 1024


class AacEncoder:
    """Frames of planar floats in, raw AAC frames out, one for one.

    The encoder adds FRAME_SAMPLES of priming, so its first unit is that much before the first
    sample: stamps of units are those of the sound they decode to.
    """

    sample_format = "fltp"
    is_planar = True
    frame_samples = FRAME_SAMPLES

    def __init__(self, track_id: int, rate_hz: int, channels: int, *, bitrate_bps: int) -> None:
        self.rate_hz = rate_hz
        self.channels = channels
        self.layout = {1: "mono", 2: "stereo"}[channels]
        self.track = Track(track_id, AacConfig.lc(rate_hz, channels), rate_hz)
        context = av.AudioCodecContext.create("aac", "w")
        context.sample_rate = rate_hz
        context.layout = self.layout
        context.format = "fltp"
        context.bit_rate = bitrate_bps
        context.time_base = Fraction(1, rate_hz)
        context.open()
        self._context = context

    def encode(self, frame: av.AudioFrame, origin_us: int) -> list[AccessUnit]:
        """frame.pts counts samples from `origin_us` on."""
        units = []
        for packet in self._context.encode(frame):
            if packet.pts is not None:
                stamp_us = origin_us + packet.pts * 1_000_000 // self.rate_hz
                units.append(AccessUnit(self.track, stamp_us, stamp_us, True, (bytes(packet),)))
        return units
