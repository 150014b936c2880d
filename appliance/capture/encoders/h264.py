"""Software H.264 by libx264: no delay, no B-frames, a keyframe when time or a viewer asks."""

from __future__ import annotations

import os
from dataclasses import replace
from fractions import Fraction
from math import ceil

import av

from appliance.capture.encoders.encoder import (
    BT709,
    LIMITED_RANGE,
    MICROSECOND,
    EncoderSettings,
    KeyframeGrid,
    PacketReader,
    stamp,
)
from appliance.capture.fault import SourceFault
from appliance.media.track import Track
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.messages import Reason

__all__ = ["BT709", "LIMITED_RANGE", "MICROSECOND", "H264Encoder"]

PIXELS_PER_THREAD = 1280 * 720 * 30  # a second's work that one core of a small board can do
MAX_THREADS = 4
NEVER = 1 << 20  # pictures between keyframes that x264 would place by itself

# ISO/IEC 14496-10 table A-1: level × 10, macroblocks/s, macroblocks of a picture, kbit/s of High.
# Begins with what every decoder can, so that it does not change with a small stream's bit rate.
LEVELS = (
    (31, 108_000, 3_600, 17_500), (32, 216_000, 5_120, 25_000), (40, 245_760, 8_192, 25_000),
    (41, 245_760, 8_192, 62_500), (42, 522_240, 8_704, 62_500), (50, 589_824, 22_080, 168_750),
    (51, 983_040, 36_864, 300_000), (52, 2_073_600, 36_864, 300_000),
)  # fmt: skip


class H264Encoder:
    """A `VideoEncoder`.

    Raises: SourceFault if this libav has no libx264 or it refuses the settings.
    """

    name = "libx264"

    def __init__(
        self,
        track_id: int,
        width: int,
        height: int,
        fps: Fraction,
        *,
        bitrate_bps: int,
        keyframe_us: int,
        threads: int = 0,
        preset: str = "superfast",
        rotation_deg: int = 0,
        matrix: int = BT709,
    ) -> None:
        threads = threads or threads_for(width, height, fps)
        self._settings = EncoderSettings(
            width, height, fps, bitrate_bps, keyframe_us, threads, preset, rotation_deg, matrix
        )
        self.threads = self._settings.threads
        self._pace = fps
        self._grid = KeyframeGrid(keyframe_us, fps)
        self._reader = PacketReader(track_id, rotation_deg)
        self._context = _open(self._settings, self._pace)

    @property
    def track(self) -> Track | None:
        return self._reader.track

    def encode(self, frame: av.VideoFrame, dts_us: int, *, key: bool = False) -> list[AccessUnit]:
        """The access unit of this picture: one, as there is no delay."""
        stamp(frame, dts_us, key=self._grid.is_due(dts_us) or key)
        return [
            unit for packet in self._context.encode(frame) for unit in self._reader.units(packet)
        ]

    def set_bitrate(self, bitrate_bps: int) -> None:
        """From the next picture on, which is a keyframe: x264 is opened anew, as the bound of its
        buffer cannot be changed through libav while it runs."""
        self._settings = replace(self._settings, bitrate_bps=bitrate_bps)
        self._context = _open(self._settings, self._pace)

    def set_fps(self, fps: int) -> None:
        """From the next picture on, which is a keyframe."""
        self._pace = Fraction(fps)
        self._grid.set_fps(self._pace)
        self._context = _open(self._settings, self._pace)

    def set_keyframe_us(self, keyframe_us: int) -> None:
        self._grid.set_keyframe_us(keyframe_us)

    def close(self) -> None:
        """Nothing is held back, and libav frees the rest with the object."""


def threads_for(width: int, height: int, fps: Fraction) -> int:
    threads = ceil(width * height * fps / PIXELS_PER_THREAD)
    return min(MAX_THREADS, os.cpu_count() or 1, threads)


def level_for(settings: EncoderSettings) -> int:
    """The lowest level for these pictures; x264 would go by the bit rate that it is told."""
    blocks = ceil(settings.width / 16) * ceil(settings.height / 16)
    for level, blocks_hz, most_blocks, kbps in LEVELS:
        if (
            blocks <= most_blocks
            and blocks * settings.fps <= blocks_hz
            and settings.bitrate_bps <= kbps * 1000
        ):
            return level
    return LEVELS[-1][0]


def _open(settings: EncoderSettings, pace: Fraction) -> av.VideoCodecContext:
    """pace: how many pictures a second really come.

    x264 is told the declared rate and a bit rate in proportion, so that the parameter sets, and
    with them the track, stay the same at every pace.
    """
    try:
        context = av.VideoCodecContext.create("libx264", "w")
    except ValueError:  # av.codec.codec.UnknownCodecError, which has no public name
        raise SourceFault(
            Reason.ENCODER,
            "this machine's libav has no libx264: install one that has it (Debian's python3-av)",
        ) from None
    context.width, context.height, context.pix_fmt = settings.width, settings.height, "yuv420p"
    context.time_base = MICROSECOND
    context.framerate = settings.fps
    told_bps = int(settings.bitrate_bps * settings.fps / pace)
    context.bit_rate = told_bps
    context.gop_size = NEVER
    context.max_b_frames = 0
    context.color_range = LIMITED_RANGE
    context.colorspace = context.color_primaries = context.color_trc = settings.matrix
    context.thread_count = settings.threads
    context.options = {
        "preset": settings.preset,
        "tune": "zerolatency",
        "forced-idr": "1",
        "maxrate": str(told_bps),
        # One second: a keyframe may be large, the average holds.
        "bufsize": str(settings.bitrate_bps),
        "level": str(level_for(settings)),
        "x264-params": "repeat-headers=1:scenecut=0",
    }
    try:
        context.open()
    except av.FFmpegError as error:
        raise SourceFault(
            Reason.ENCODER,
            f"libx264 refuses {settings.width}x{settings.height} at {settings.bitrate_bps} bits/s:"
            f" {error}",
        ) from None
    return context
