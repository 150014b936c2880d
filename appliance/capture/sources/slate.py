"""`slate:` — one still picture with words and two frames of silence, then the end.

Whoever asked for it repeats them with stamps of his own. It is encoded with care, as it is only one
picture: constant quality, and no sooner a smaller one than a blurred one.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

import av

from appliance.capture.commands import Commands
from appliance.capture.encoders.aac import FRAME_SAMPLES, AacEncoder
from appliance.capture.fault import SourceFault
from appliance.capture.options import Options
from appliance.capture.outlet import Sink
from appliance.capture.picture.frames import (
    BT709,
    FORMAT,
    LIMITED_RANGE,
    blank_frame,
    canvas_of,
)
from appliance.capture.picture.slate import draw_slate
from appliance.media.h264 import ParameterSets, split_parameter_sets
from appliance.media.nal import split_annexb
from appliance.media.track import Track
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.messages import AUDIO_ID, VIDEO_ID, Reason

MICROSECOND = Fraction(1, 1_000_000)
ENCODER: Final = "libx264"
QUALITY = "20"  # x264's crf
SOUNDS = 2  # the first holds the encoder's priming, the last can be repeated
MAX_SOUND_FRAMES = 16  # an encoder that holds back more makes no silence


def create(rest: str, options: Options) -> SlateSource:
    if rest:
        raise SourceFault(Reason.SOURCE_INVALID, "write slate: alone, nothing follows it")
    return SlateSource(options)


class SlateSource:
    def __init__(self, options: Options) -> None:
        self._options = options

    def run(self, sink: Sink, commands: Commands) -> None:
        """Returns at once. Raises: SourceFault if this machine cannot encode it."""
        options = self._options
        picture = encode_slate(options)
        silence = [] if options.audio == "none" else encode_silence(options)
        sink.describe((picture.track, *(unit.track for unit in silence[:1])))
        for unit in (*silence, picture):  # last the picture: sound waits for one to go out with
            sink.write(unit)


def encode_slate(options: Options) -> AccessUnit:
    """An IDR picture at time 0."""
    frame = blank_frame(options.width, options.height)
    draw_slate(canvas_of(frame), options.device, options.slate_text)
    frame.pts, frame.time_base = 0, MICROSECOND
    try:
        context = _x264(options.width, options.height)
        packets = [*context.encode(frame), *context.encode(None)]
    except ValueError:  # av.codec.codec.UnknownCodecError, which has no public name
        raise SourceFault(Reason.ENCODER, "no slate: this machine's libav has no libx264") from None
    except av.FFmpegError as error:
        raise SourceFault(Reason.ENCODER, f"no slate: libx264 says {error}") from None
    split = split_parameter_sets(split_annexb(b"".join(map(bytes, packets))))
    config = ParameterSets().update(split)
    if config is None or not split.key:
        raise SourceFault(Reason.ENCODER, "no slate: libx264 made no keyframe")
    return AccessUnit(Track(VIDEO_ID, config), 0, 0, True, tuple(split.media))


def _x264(width: int, height: int) -> av.VideoCodecContext:
    context = av.VideoCodecContext.create(ENCODER, "w")
    context.width, context.height, context.pix_fmt = width, height, FORMAT
    context.time_base, context.framerate = MICROSECOND, Fraction(1)
    context.max_b_frames = 0
    context.thread_count = 1
    context.color_range = LIMITED_RANGE
    context.colorspace = context.color_primaries = context.color_trc = BT709
    context.options = {"preset": "medium", "tune": "stillimage,zerolatency", "crf": QUALITY}
    return context


def encode_silence(options: Options) -> list[AccessUnit]:
    """Nothing if libav does not encode it at this rate: then viewers hear nothing, too."""
    rate_hz = options.audio_rate_hz
    units: list[AccessUnit] = []
    try:
        encoder = AacEncoder(
            AUDIO_ID, rate_hz, options.audio_channels, bitrate_bps=options.audio_bitrate_bps
        )
        frame = av.AudioFrame("fltp", encoder.layout, FRAME_SAMPLES)
        frame.sample_rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        origin_us = -(-FRAME_SAMPLES * 1_000_000 // rate_hz)  # the priming is before it
        for number in range(MAX_SOUND_FRAMES):
            frame.pts = number * FRAME_SAMPLES
            units += encoder.encode(frame, origin_us)
            if len(units) >= SOUNDS:
                break
    except av.FFmpegError:
        return []
    return units[:SOUNDS]
