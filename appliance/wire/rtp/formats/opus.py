"""Opus (RFC 7587): a packet is a unit; its first byte tells how long it plays."""

from __future__ import annotations

from appliance.errors import PeerError
from appliance.media.opus import CLOCK_HZ, OpusConfig, packet_duration_us
from appliance.media.track import CodecConfig
from appliance.media.unit import AccessUnit
from appliance.wire.rtp.formats.contract import Assembled, Payload
from appliance.wire.rtp.packet import RtpPacket

MAX_PACKET_BYTES = 48 * 1276  # frames of 2.5 ms in 120 ms, each of the most (RFC 6716 §3.2)


class OpusDepacketizer:
    def __init__(self, config: OpusConfig) -> None:
        self.config: CodecConfig | None = config

    def push(self, packet: RtpPacket, stamp: int) -> list[Assembled]:
        size = len(packet.payload)
        if not size:
            return []  # a pause in transmission, which some senders mark with an empty packet
        if size > MAX_PACKET_BYTES:
            raise PeerError(f"an Opus packet of {size} bytes")
        duration = packet_duration_us(packet.payload) * CLOCK_HZ // 1_000_000
        return [Assembled(stamp, (bytes(packet.payload),), key=True, duration=duration)]

    def lost(self) -> None:
        """Nothing is ever in progress."""

    def flush(self) -> list[Assembled]:
        return []


class OpusPacketizer:
    """Knows no bound: an Opus packet is never split (§4.2); 20 ms of it have 1275 bytes at most."""

    def payloads(self, unit: AccessUnit) -> list[Payload]:
        """Without marker: it would mean the end of a silence (§4.1)."""
        return [Payload(bytes(unit.parts[0]), marker=False)]
