"""Small H.264 and HEVC units with real parameter sets, and packets around payloads."""

from __future__ import annotations

from collections.abc import Iterable

from framehash import clip_units

from appliance.media.h264 import H264Config
from appliance.media.h265 import H265Config
from appliance.media.track import Track
from appliance.media.unit import AccessUnit
from appliance.wire.rtp.formats.contract import Assembled, Depacketizer, Payload
from appliance.wire.rtp.packet import RtpPacket

TICKS = 3000


def clip_config(kind: str) -> H264Config | H265Config:
    config = clip_units(kind)[0][0].config
    assert isinstance(config, H264Config | H265Config)
    return config


def unit(track: Track, *parts: bytes, key: bool = False) -> AccessUnit:
    return AccessUnit(track, 0, 0, key, parts)


def packet(payload: bytes, stamp: int = 0, *, marker: bool = False) -> RtpPacket:
    return RtpPacket(96, 0, stamp, 1, marker, payload)


def push_all(
    depacketizer: Depacketizer, payloads: Iterable[Payload | bytes], stamp: int = 0
) -> list[Assembled]:
    """Payloads of one timestamp; bare bytes have no marker."""
    found: list[Assembled] = []
    for payload in payloads:
        if isinstance(payload, bytes):
            payload = Payload(payload, False)
        found += depacketizer.push(packet(payload.data, stamp, marker=payload.marker), stamp)
    return found
