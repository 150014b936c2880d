"""Software H.264 by libx264: no delay, no B-frames, a keyframe when time or a viewer asks.

Keyframes lie on a grid of time that begins with the first picture, so that neither dropped pictures
nor keyframes that viewers ask for move the places where segments are cut.
"""

from __future__ import annotations

import os
from fractions import Fraction
from functools import partial
from math import ceil
from typing import Any

import av
from av.video.frame import PictureType

from appliance.capture.fault import SourceFault
from appliance.media.h264 import ParameterSets, split_parameter_sets
from appliance.media.nal import split_annexb
from appliance.media.track import Track
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.messages import Reason

MICROSECOND = Fraction(1, 1_000_000)
BT709 = 1
LIMITED_RANGE = 1
PIXELS_PER_THREAD = 1280 * 720 * 30  # a second's work that one core of a small board can do
MAX_THREADS = 4
NEVER = 1 << 20  # pictures between keyframes that x264 would place by itself


class H264Encoder:
    """`track` is None until the first picture came out.

    Raises: SourceFault if this libav has no libx264 or it refuses the settings.
    """

    def __init__(
        self,
        track_id: int,
        width: int,
        height: int,
        fps: Fraction,
        *,
        bitrate_bps: int,
        keyframe_us: int,
    ) -> None:
        self.track: Track | None = None
        self._track_id = track_id
        self._sets = ParameterSets()
        self._keyframe_us = keyframe_us
        self._half_picture_us = 500_000 * fps.denominator // fps.numerator
        self._first_us: int | None = None
        self._key_due_us = 0
        self._open = partial(_open, width, height, fps)
        self._context = self._open(bitrate_bps)

    def encode(self, frame: av.VideoFrame, dts_us: int, *, key: bool = False) -> list[AccessUnit]:
        """The access unit of this picture (one, as there is no delay); the frame stays the
        caller's and may be drawn on again."""
        key = self._is_due(dts_us) or key
        # Must be set back: a frame that keeps its type makes every picture an IDR.
        frame.pict_type = PictureType.I if key else PictureType.NONE
        frame.pts = dts_us
        frame.time_base = MICROSECOND
        return [unit for packet in self._context.encode(frame) for unit in self._units(packet)]

    def _is_due(self, dts_us: int) -> bool:
        """Whether this picture is the one nearest to the next place of the grid."""
        if dts_us < self._key_due_us:
            return False
        if self._first_us is None:
            self._first_us = dts_us
        places = (dts_us + self._half_picture_us - self._first_us) // self._keyframe_us
        next_us = self._first_us + (places + 1) * self._keyframe_us
        self._key_due_us = next_us - self._half_picture_us
        return True

    def set_bitrate(self, bitrate_bps: int) -> None:
        """From the next picture on, which is a keyframe: x264 is opened anew, as the bound of its
        buffer cannot be changed through libav while it runs."""
        self._context = self._open(bitrate_bps)

    def _units(self, packet: av.Packet[Any]) -> list[AccessUnit]:
        split = split_parameter_sets(split_annexb(bytes(packet)))
        config = self._sets.update(split)
        if config is not None and (self.track is None or config != self.track.config):
            self.track = Track(self._track_id, config)
        dts_us, pts_us = packet.dts, packet.pts
        if self.track is None or dts_us is None or pts_us is None or not split.media:
            return []
        return [AccessUnit(self.track, dts_us, pts_us, split.key, tuple(split.media))]


def _open(width: int, height: int, fps: Fraction, bitrate_bps: int) -> av.VideoCodecContext:
    try:
        context = av.VideoCodecContext.create("libx264", "w")
    except ValueError:  # av.codec.codec.UnknownCodecError, which has no public name
        raise SourceFault(
            Reason.ENCODER, "this machine's libav has no libx264: install an av package that has it"
        ) from None
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base = MICROSECOND
    context.framerate = fps
    context.bit_rate = bitrate_bps
    context.gop_size = NEVER
    context.max_b_frames = 0
    context.color_range = LIMITED_RANGE
    context.colorspace = context.color_primaries = context.color_trc = BT709
    threads = ceil(width * height * fps / PIXELS_PER_THREAD)
    context.thread_count = min(MAX_THREADS, os.cpu_count() or 1, threads)
    context.options = {
        "preset": "superfast",
        "tune": "zerolatency",
        "forced-idr": "1",
        "maxrate": str(bitrate_bps),
        "bufsize": str(bitrate_bps),  # one second: a keyframe may be large, the average holds
        "x264-params": "repeat-headers=1:scenecut=0",
    }
    try:
        context.open()
    except av.FFmpegError as error:
        raise SourceFault(
            Reason.ENCODER, f"libx264 refuses {width}x{height} at {bitrate_bps} bits/s: {error}"
        ) from None
    return context
