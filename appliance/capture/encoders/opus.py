"""Opus by libopus."""

from __future__ import annotations

from fractions import Fraction

import av

from appliance.media.opus import CLOCK_HZ, OpusConfig
from appliance.media.track import Track
from appliance.media.unit import AccessUnit

FRAME_SAMPLES = 960  # 20 ms, what WebRTC sends


class OpusEncoder:
    """A `SoundEncoder`. libopus puts `OpusConfig.pre_skip_samples` before the first sample."""

    rate_hz = CLOCK_HZ
    sample_format = "flt"
    is_planar = False
    frame_samples = FRAME_SAMPLES

    def __init__(self, track_id: int, channels: int, *, bitrate_bps: int) -> None:
        """Raises: ValueError if this libav has no libopus; PeerError if it describes nonsense."""
        self.channels = channels
        self.layout = {1: "mono", 2: "stereo"}[channels]
        context = av.AudioCodecContext.create("libopus", "w")
        context.sample_rate = CLOCK_HZ
        context.layout = self.layout
        context.format = self.sample_format
        context.bit_rate = bitrate_bps
        context.time_base = Fraction(1, CLOCK_HZ)
        context.open()
        self._context = context
        config = OpusConfig.from_opus_head(context.extradata or b"")
        self.track = Track(track_id, config, CLOCK_HZ)

    def encode(self, frame: av.AudioFrame, origin_us: int) -> list[AccessUnit]:
        """frame.pts counts samples from `origin_us` on."""
        units = []
        for packet in self._context.encode(frame):
            if packet.pts is not None:
                stamp_us = origin_us + packet.pts * 1_000_000 // CLOCK_HZ
                units.append(AccessUnit(self.track, stamp_us, stamp_us, True, (bytes(packet),)))
        return units
