"""What a packet on the shared port is, by its first octets (RFC 7983 §7, RFC 5761 §4)."""

from __future__ import annotations

from enum import Enum

from appliance.media.unit import Buffer
from appliance.wire.ice.stun import HEADER_BYTES as MIN_STUN_BYTES

MIN_DTLS_BYTES = 13  # a record's head
MIN_RTP_BYTES = 12
MIN_RTCP_BYTES = 8


class PacketKind(Enum):
    STUN = "stun"
    DTLS = "dtls"
    RTP = "rtp"  # or SRTP
    RTCP = "rtcp"  # or SRTCP
    OTHER = "other"  # ZRTP, TURN channels, QUIC, noise: nothing of ours


def packet_kind(data: Buffer) -> PacketKind:
    """A packet that is too short for what it says it is counts as `OTHER`."""
    size = len(data)
    if size < MIN_RTCP_BYTES:
        return PacketKind.OTHER
    first = data[0]
    if 128 <= first <= 191:
        if 192 <= data[1] <= 223:
            return PacketKind.RTCP
        return PacketKind.RTP if size >= MIN_RTP_BYTES else PacketKind.OTHER
    if first <= 3:
        return PacketKind.STUN if size >= MIN_STUN_BYTES else PacketKind.OTHER
    if 20 <= first <= 63 and size >= MIN_DTLS_BYTES:
        return PacketKind.DTLS
    return PacketKind.OTHER
