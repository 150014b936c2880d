"""Packets sent again as a stream of their own (RFC 4588 §4): made for peers, and undone.

Numbered by itself, such a stream never uses an index of SRTP twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from appliance.errors import PeerError
from appliance.wire.rtp.history import Answer
from appliance.wire.rtp.outgoing import Place
from appliance.wire.rtp.packet import SEQUENCE_MASK, RtpPacket

_ORIGINAL_BYTES = 2  # the number of the packet that is sent again


class RtxNumbering:
    """One viewer's stream of what is sent again of one track. sequence: of the next packet."""

    __slots__ = ("sequence",)

    def __init__(self, first_sequence: int) -> None:
        self.sequence = first_sequence & SEQUENCE_MASK

    def wrap(self, answers: Iterable[Answer]) -> tuple[list[Place], list[bytes]]:
        """With successive sequence numbers, which need no offset; each payload is a copy."""
        places: list[Place] = []
        payloads: list[bytes] = []
        for answer in answers:
            payload = answer.sequence.to_bytes(_ORIGINAL_BYTES, "big") + answer.packet.payload
            places.append(answer.packet.place._replace(sequence=self.sequence))
            payloads.append(payload)
            self.sequence = (self.sequence + 1) & SEQUENCE_MASK
        return places, payloads


def unwrap_rtx(packet: RtpPacket, payload_type: int, ssrc: int) -> RtpPacket | None:
    """The packet as it was sent first, by that type and source; None for one that only probes.

    Raises: PeerError if it is too short to be one.
    """
    if not packet.payload:
        return None  # Chromium fills the path with these to measure it
    if len(packet.payload) < _ORIGINAL_BYTES:
        raise PeerError("a retransmission without the number of its packet")
    sequence = int.from_bytes(packet.payload[:_ORIGINAL_BYTES], "big")
    payload = packet.payload[_ORIGINAL_BYTES:]
    if not payload:
        return None
    return replace(packet, sequence=sequence, payload_type=payload_type, ssrc=ssrc, payload=payload)
