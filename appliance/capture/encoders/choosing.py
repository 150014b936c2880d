"""Which encoder makes the stream: the hardware's where there is one, else libx264.

A camera that delivers H.264 itself needs none; that is for its source to find out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from appliance.capture.encoders.encoder import EncoderSettings, VideoEncoder
from appliance.capture.encoders.h264 import H264Encoder
from appliance.capture.encoders.v4l2m2m import CODEC, M2mEncoder, find_encoder
from appliance.capture.fault import SourceFault
from appliance.wire.pipe.messages import Reason

log = logging.getLogger(__name__)


def open_encoder(
    wish: str,
    track_id: int,
    settings: EncoderSettings,
    *,
    without: str = "",
    find_device: Callable[[], str] = find_encoder,
) -> VideoEncoder:
    """wish: the setting `encoder`; without: one that failed already.

    Raises: SourceFault that says what was tried, and what to install.
    """
    if wish == "camera":
        raise SourceFault(
            Reason.ENCODER,
            'encoder = "camera", but this camera does not deliver H.264 as it is set: choose'
            ' another size or format, or encoder = "auto"',
        )
    tried: list[str] = []
    if wish == CODEC or (wish == "auto" and without != CODEC):
        device = find_device()
        if device:
            try:
                return M2mEncoder(track_id, settings)
            except SourceFault as fault:
                tried.append(f"{CODEC} with {device} ({fault})")
        else:
            tried.append(f"{CODEC} (no device here makes H.264)")
    if wish == CODEC:
        raise SourceFault(
            Reason.ENCODER, f'tried {tried[0]}; set encoder = "auto" to encode in software'
        )
    try:
        encoder = open_software(track_id, settings)
    except SourceFault as fault:
        tried.append(f"libx264 ({fault})")
        raise SourceFault(
            Reason.ENCODER, f"no encoder works; tried {' and '.join(tried)}"
        ) from None
    return encoder


def reason_for(wish: str, name: str) -> str:
    """Why it is this encoder, as a clause for a person."""
    if wish == name:
        return f"{name} because it is set so"
    return f"{name}, as this machine has no hardware encoder that works" if name != CODEC else name


def open_software(track_id: int, settings: EncoderSettings) -> H264Encoder:
    return H264Encoder(
        track_id,
        settings.width,
        settings.height,
        settings.fps,
        bitrate_bps=settings.bitrate_bps,
        keyframe_us=settings.keyframe_us,
        threads=settings.threads,
        preset=settings.preset,
        rotation_deg=settings.rotation_deg,
        matrix=settings.matrix,
    )
