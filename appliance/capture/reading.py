"""What all sources that read through libav do with a packet, and with libav's errors."""

from __future__ import annotations

import logging

import av

from appliance.capture.commands import Commands
from appliance.capture.lanes.lane import Lane, Packet
from appliance.errors import PeerError
from appliance.media.unit import AccessUnit

log = logging.getLogger(__name__)

# Containers that hold what cameras, recorders and servers make. Left out of libav's hundreds:
# what runs scripts or other files (concat, lavfi), draws text as pictures (tty), and games.
FORMATS = (
    "aac,ac3,aiff,amr,asf,au,avi,caf,dash,dv,eac3,flac,flv,gif,h263,h264,hevc,hls,ivf,live_flv,"
    "loas,m4v,matroska,webm,mjpeg,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpeg,mpegts,mpegvideo,mpjpeg,mxf,"
    "nut,obu,ogg,rm,rtp,rtsp,sdp,swf,vc1,w64,wav,wtv,wv,yuv4mpegpipe"
)


def feed_packet(
    lane: Lane, packet: Packet, commands: Commands, late_us: int = 0
) -> list[AccessUnit]:
    """The units of this packet; a damaged one is left out, as a receiver with loss would."""
    lane.obey(commands, late_us)
    try:
        return lane.feed(packet) if packet.size else lane.flush()
    except (PeerError, av.FFmpegError) as error:
        log.debug("a packet is left out: %s", error)
        return []


def describe_error(error: Exception) -> str:
    """libav's words without its numbers and our URL, which it repeats with its secrets."""
    if isinstance(error, av.InvalidDataError | av.ArgumentError):
        return "it is of no format we read"
    return str(getattr(error, "strerror", None) or type(error).__name__)
