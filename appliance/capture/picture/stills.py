"""Pictures as JPEG, by libav's encoder: full range and BT.601 as JFIF 1.02 wants them."""

from __future__ import annotations

from collections import OrderedDict
from fractions import Fraction

import av
from av.codec.context import Flags
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from appliance.capture.clock import monotonic_us, unix_offset_us
from appliance.capture.fault import SourceFault
from appliance.capture.picture.exif import with_exif
from appliance.capture.picture.frames import FULL_RANGE, copy_of, matrix_of, range_of
from appliance.wire.pipe.messages import Reason

FORMAT = "yuvj420p"
BT601 = 5  # ITU-T H.273, the 625-line one; the matrix is the same in both
MAX_CONTEXTS = 2  # sizes and qualities in use at once, against askers who each want another
MIN_SIDE_PX = 16
COARSEST, FINEST = 31, 1  # libav's qscale


class StillEncoder:
    """Keeps the encoders of the last sizes and qualities."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, int, int], _Jpeg] = OrderedDict()

    def encode(
        self,
        frame: av.VideoFrame,
        width: int,
        quality: int,
        rotation_deg: int,
        unix_us: int | None = None,
    ) -> tuple[bytes, int, int]:
        """The JPEG and its size, as it is seen once it is turned.

        The frame may have any format and stays the caller's.
        width: as it is seen; 0, or more than there is, for the frame's own.
        quality: 1 to 100, about what other JPEG encoders mean by it.
        rotation_deg: how far a viewer must turn the picture clockwise, told in its Exif.
        unix_us: when it was taken; now, if not given.

        Raises: SourceFault if libav cannot encode it.
        """
        size = _size(frame, width, is_turned=rotation_deg % 180 != 0)
        key = (*size, qscale(quality))
        encoder = self._kept.pop(key, None) or _Jpeg(*key)
        try:
            jpeg = encoder.encode(frame)
        except av.FFmpegError as error:
            raise SourceFault(Reason.ENCODER, f"libav makes no JPEG of this: {error}") from None
        self._kept[key] = encoder
        if len(self._kept) > MAX_CONTEXTS:
            self._kept.popitem(last=False)
        if unix_us is None:
            unix_us = monotonic_us() + unix_offset_us()
        seen = size[::-1] if rotation_deg % 180 else size
        return with_exif(jpeg, rotation_deg, unix_us), *seen


class _Jpeg:
    """One encoder of libav; its size and quality are fixed when it is opened."""

    def __init__(self, width: int, height: int, scale: int) -> None:
        self._reformatter = VideoReformatter()
        self._count = 0
        context = av.VideoCodecContext.create("mjpeg", "w")
        context.width, context.height, context.pix_fmt = width, height, FORMAT
        context.time_base = Fraction(1, 25)
        context.color_range, context.colorspace = FULL_RANGE, BT601
        context.thread_count = 1  # more would hold pictures back
        context.flags |= Flags.bitexact  # no comment with libav's version
        context.qmin = context.qmax = scale  # libav's own way needs a field of frames PyAV lacks
        self._context = context

    def encode(self, frame: av.VideoFrame) -> bytes:
        context = self._context
        picture = self._reformatter.reformat(
            frame,
            context.width,
            context.height,
            FORMAT,
            src_colorspace=matrix_of(frame),
            dst_colorspace=Colorspace.ITU601,
            src_color_range=range_of(frame),
            dst_color_range=ColorRange.JPEG,
            threads=1,
        )
        if picture is frame:  # it was such a picture already
            picture = copy_of(frame)
        self._count += 1  # stamps must grow, though one picture may be asked for twice
        picture.pts, picture.time_base = self._count, context.time_base
        return b"".join(bytes(packet) for packet in context.encode(picture))


def qscale(quality: int) -> int:
    """libav's quantiser for a quality of 1 to 100 as the Independent JPEG Group scales it.

    That scales its table by a percentage, libav its own (MPEG-1's) by eighths: an average entry
    is the same at 0.16 of the percentage.
    """
    quality = min(100, max(1, quality))
    percent = 5000 / quality if quality < 50 else 200 - 2 * quality
    return min(COARSEST, max(FINEST, round(percent * 0.16)))


def _size(frame: av.VideoFrame, width: int, *, is_turned: bool) -> tuple[int, int]:
    """Coded; in the frame's own shape, in even numbers."""
    seen = frame.height if is_turned else frame.width
    scale = min(1.0, width / seen) if width > 0 else 1.0
    sides = [max(MIN_SIDE_PX, round(side * scale / 2) * 2) for side in (frame.width, frame.height)]
    return sides[0], sides[1]
