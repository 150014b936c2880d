"""Bare samples: G.711 (RFC 3551 §4.5.14) and L16 (§4.5.11), both ways.

A packet is a unit: any number of whole sample frames. L16 stays big-endian.
"""

from __future__ import annotations

from appliance.errors import MisuseError, PeerError
from appliance.media.g711 import G711Config
from appliance.media.l16 import SAMPLE_BYTES, L16Config
from appliance.media.track import CodecConfig
from appliance.media.unit import AccessUnit
from appliance.wire.rtp.formats.contract import DEFAULT_PAYLOAD_BYTES, Assembled, Payload
from appliance.wire.rtp.packet import RtpPacket


def _frame_bytes(config: G711Config | L16Config) -> int:
    """Of one sample of every channel."""
    return config.channels * (SAMPLE_BYTES if isinstance(config, L16Config) else 1)


class PcmDepacketizer:
    def __init__(self, config: G711Config | L16Config) -> None:
        self.config: CodecConfig | None = config
        self._frame_bytes = _frame_bytes(config)

    def push(self, packet: RtpPacket, stamp: int) -> list[Assembled]:
        samples, odd_bytes = divmod(len(packet.payload), self._frame_bytes)
        if odd_bytes:
            raise PeerError(f"{len(packet.payload)} bytes are no whole samples")
        if not samples:
            return []
        return [Assembled(stamp, (bytes(packet.payload),), key=True, duration=samples)]

    def lost(self) -> None:
        """Nothing is ever in progress."""

    def flush(self) -> list[Assembled]:
        return []


class PcmPacketizer:
    def __init__(
        self, config: G711Config | L16Config, max_bytes: int = DEFAULT_PAYLOAD_BYTES
    ) -> None:
        self._frame_bytes = _frame_bytes(config)
        self._max_bytes = max_bytes - max_bytes % self._frame_bytes
        if not self._max_bytes:
            raise MisuseError(f"payloads of {max_bytes} bytes for frames of {self._frame_bytes}")

    def payloads(self, unit: AccessUnit) -> list[Payload]:
        """Without marker: it would mean the end of a silence (RFC 3551 §4.1)."""
        data = unit.parts[0]
        return [
            Payload(
                bytes(data[at : at + self._max_bytes]),
                marker=False,
                stamp_offset=at // self._frame_bytes,
            )
            for at in range(0, len(data), self._max_bytes)
        ]
