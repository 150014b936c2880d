"""Hardware H.264 by a V4L2 memory-to-memory encoder, such as the one of a Raspberry Pi up to 4.

Through libav's `h264_v4l2m2m`, which finds the device itself. It encodes one picture at a time
and waits for it; when the driver hangs, the wait never ends and only killing this process helps.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av

from appliance.capture.encoders.encoder import (
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

CODEC = "h264_v4l2m2m"
FORMATS = ("yuv420p", "nv12")  # as the drivers know them, the cheaper for us first
CAPTURE_BUFFERS = "16"  # libav's own choice is too few for some drivers, which then stall

# linux/videodev2.h: struct v4l2_capability, struct v4l2_fmtdesc
CAPABILITY_BYTES, FMTDESC_BYTES = 104, 64
VIDIOC_QUERYCAP = 2 << 30 | CAPABILITY_BYTES << 16 | ord("V") << 8 | 0
VIDIOC_ENUM_FMT = 3 << 30 | FMTDESC_BYTES << 16 | ord("V") << 8 | 2
CAP_M2M_MPLANE, CAP_M2M, CAP_DEVICE_CAPS = 0x4000, 0x8000, 0x8000_0000
CAPTURE, CAPTURE_MPLANE = 1, 9
H264 = int.from_bytes(b"H264", "little")
MAX_FORMATS = 64  # a driver counts them itself; against one that never ends

Ioctl = Callable[[int, int, bytearray], Any]


def find_encoder(nodes: Iterable[Path] | None = None, ioctl: Ioctl = fcntl.ioctl) -> str:
    """The first device node that can make H.264 out of pictures; empty if none can."""
    for node in sorted(Path("/dev").glob("video*")) if nodes is None else nodes:
        try:
            descriptor = os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            if _makes_h264(descriptor, ioctl):
                return str(node)
        except OSError:
            continue
        finally:
            os.close(descriptor)
    return ""


def _makes_h264(descriptor: int, ioctl: Ioctl) -> bool:
    """Whether it is memory-to-memory, and what comes out can be H.264 (a decoder takes it in)."""
    capability = bytearray(CAPABILITY_BYTES)
    ioctl(descriptor, VIDIOC_QUERYCAP, capability)
    flags = int.from_bytes(capability[84:88], "little")
    if flags & CAP_DEVICE_CAPS:
        flags = int.from_bytes(capability[88:92], "little")
    if not flags & (CAP_M2M | CAP_M2M_MPLANE):
        return False
    queue = CAPTURE_MPLANE if flags & CAP_M2M_MPLANE else CAPTURE
    for index in range(MAX_FORMATS):
        format_ = bytearray(FMTDESC_BYTES)
        format_[:8] = index.to_bytes(4, "little") + queue.to_bytes(4, "little")
        try:
            ioctl(descriptor, VIDIOC_ENUM_FMT, format_)
        except OSError:  # EINVAL: there are no more
            return False
        if int.from_bytes(format_[44:48], "little") == H264:
            return True
    return False


class M2mEncoder:
    """A `VideoEncoder`.

    Raises: SourceFault if the device cannot be opened for these settings.
    """

    name = CODEC

    def __init__(self, track_id: int, settings: EncoderSettings) -> None:
        self.threads = 0
        self._settings = settings
        self._pace = settings.fps
        self._grid = KeyframeGrid(settings.keyframe_us, settings.fps)
        self._reader = PacketReader(track_id, settings.rotation_deg)
        self._reformatter = av.video.reformatter.VideoReformatter()
        self._context = self._open()

    @property
    def track(self) -> Track | None:
        return self._reader.track

    def encode(self, frame: av.VideoFrame, dts_us: int, *, key: bool = False) -> list[AccessUnit]:
        """What is ready: with some drivers the unit of the picture before this one."""
        picture = self._reformatter.reformat(frame, format=self._context.pix_fmt)
        stamp(picture, dts_us, key=self._grid.is_due(dts_us) or key)
        return [
            unit for packet in self._context.encode(picture) for unit in self._reader.units(packet)
        ]

    def set_bitrate(self, bitrate_bps: int) -> None:
        """The device is opened anew: libav cannot tell it while it runs."""
        self._settings = replace(self._settings, bitrate_bps=bitrate_bps)
        self._reopen()

    def set_fps(self, fps: int) -> None:
        self._pace = Fraction(fps)
        self._grid.set_fps(self._pace)
        self._reopen()

    def set_keyframe_us(self, keyframe_us: int) -> None:
        self._grid.set_keyframe_us(keyframe_us)

    def close(self) -> None:
        """Give the device back now: there may be only one."""
        del self._context

    def _reopen(self) -> None:
        self.close()
        self._context = self._open()

    def _open(self) -> av.VideoCodecContext:
        error: Exception | None = None
        for pixel_format in FORMATS:
            try:
                return self._open_as(pixel_format)
            except (av.FFmpegError, OSError, ValueError) as refusal:
                error = error or refusal
        words = str(getattr(error, "strerror", None) or error)
        raise SourceFault(
            Reason.ENCODER,
            f"the hardware encoder refuses {self._settings.width}x{self._settings.height}:"
            f' {words}; set encoder = "libx264" to do without it',
        )

    def _open_as(self, pixel_format: str) -> av.VideoCodecContext:
        settings = self._settings
        context = cast(av.VideoCodecContext, av.VideoCodecContext.create(CODEC, "w"))
        context.width, context.height, context.pix_fmt = (
            settings.width,
            settings.height,
            pixel_format,
        )
        context.time_base = MICROSECOND
        context.framerate = self._pace
        context.bit_rate = settings.bitrate_bps
        # Some drivers do not obey requests for a keyframe: their own then come at the right pace.
        context.gop_size = max(1, int(settings.keyframe_us * self._pace / 1_000_000))
        context.max_b_frames = 0
        context.color_range = LIMITED_RANGE
        context.colorspace = context.color_primaries = context.color_trc = settings.matrix
        context.options = {"num_capture_buffers": CAPTURE_BUFFERS}
        context.open()
        return context
