"""What all sources that read through libav do with a packet, and with libav's errors."""

from __future__ import annotations

import logging

import av

from appliance.capture.commands import Commands
from appliance.capture.lanes.lane import Lane, Packet
from appliance.errors import PeerError
from appliance.media.unit import AccessUnit

log = logging.getLogger(__name__)


def feed_packet(lane: Lane, packet: Packet, commands: Commands) -> list[AccessUnit]:
    """The units of this packet; a damaged one is left out, as a receiver with loss would."""
    lane.obey(commands)
    try:
        return lane.feed(packet) if packet.size else lane.flush()
    except (PeerError, av.FFmpegError) as error:
        log.debug("a packet is left out: %s", error)
        return []


def describe_error(error: Exception) -> str:
    """libav's words without its numbers and our URL, which it repeats with its secrets."""
    return str(getattr(error, "strerror", None) or type(error).__name__)
