"""Which streams of an input become tracks, and whether each passes or is transcoded."""

from __future__ import annotations

from typing import Any

import av
from av.stream import Disposition

from appliance.capture.fault import SourceFault
from appliance.capture.lanes.demands import left_to_viewers, must_encode
from appliance.capture.lanes.lane import Lane
from appliance.capture.lanes.passing import AudioPass, VideoPass
from appliance.capture.lanes.transcoding import AudioTranscode, VideoTranscode
from appliance.capture.options import Options
from appliance.errors import PeerError
from appliance.media.track import Kind
from appliance.wire.pipe.messages import AUDIO_ID, VIDEO_ID, Reason

# What browsers, televisions and phones decode; 4:2:2 or 10-bit H.264 they mostly do not.
PASSING_PIXELS = {
    "h264": frozenset({"yuv420p", "yuvj420p"}),
    "hevc": frozenset({"yuv420p", "yuvj420p", "yuv420p10le"}),
}
PASSING_AUDIO = frozenset({"aac", "opus", "libopus"})
PASSING_AAC_TYPES = frozenset({2, 5, 29})  # LC, HE, HE v2
# Containers without presentation stamps: with B-frames, nobody knows what is shown when.
UNSTAMPED_FORMATS = frozenset({"h264", "hevc", "avi"})


def choose_lanes(container: Any, options: Options) -> dict[int, Lane]:
    """Lanes by stream index: the best picture and the best sound, as libav ranks them.

    Raises: SourceFault if there is neither, or nothing can decode it.
    """
    lanes: dict[int, Lane] = {}
    video = _best(container, Kind.VIDEO)
    audio = _best(container, Kind.AUDIO) if options.audio != "none" else None
    if video is not None:
        lanes[video.index] = _video_lane(video, container.format.name, options)
    if audio is not None:
        lanes[audio.index] = _audio_lane(audio, options)
    if not lanes:
        raise SourceFault(
            Reason.UNSUPPORTED, "it has neither a picture nor a sound that can be decoded"
        )
    return lanes


def _best(container: Any, kind: Kind) -> Any:
    stream = container.streams.best(str(kind))
    if stream is None or stream.codec_context is None:
        return None
    if stream.disposition & Disposition.attached_pic:  # the cover of an album
        return None
    return stream


def _video_lane(stream: Any, container_format: str, options: Options) -> Lane:
    context = stream.codec_context
    unordered = context.has_b_frames and container_format in UNSTAMPED_FORMATS
    passes = context.pix_fmt in PASSING_PIXELS.get(context.name, ()) and not unordered
    if passes and not must_encode(options):
        try:
            return VideoPass(VIDEO_ID, stream, rotation_deg=left_to_viewers(options))
        except PeerError:
            pass  # parameter sets we cannot read: libav may
    if context.width <= 0 or context.height <= 0:
        raise SourceFault(Reason.UNSUPPORTED, f"the size of its {context.name} picture is unknown")
    return VideoTranscode(VIDEO_ID, stream, options)


def _audio_lane(stream: Any, options: Options) -> Lane:
    if stream.codec_context.name in PASSING_AUDIO:
        try:
            lane = AudioPass(AUDIO_ID, stream)
        except PeerError:
            return AudioTranscode(AUDIO_ID, stream, options)
        config = lane.track.config if lane.track is not None else None
        if getattr(config, "object_type", 2) in PASSING_AAC_TYPES:
            return lane
    try:
        return AudioTranscode(AUDIO_ID, stream, options)
    except av.FFmpegError as error:
        raise SourceFault(Reason.ENCODER, f"its sound cannot be encoded: {error}") from None
