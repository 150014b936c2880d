"""Aggregate messages: several in one (RTMP 1.0 §7.1.6)."""

from __future__ import annotations

from appliance.errors import PeerError
from appliance.wire.rtmp.message import Message, MessageType

MAX_AGGREGATED = 4096  # messages in an aggregate; against a million empty ones


def split_aggregate(message: Message) -> list[Message]:
    """The messages of an aggregate (§7.1.6), which have FLV's tag form; stamps are moved so that
    the first one has the aggregate's own.

    Raises: PeerError for a length that leads out of it, or for too many.
    """
    payload, position = message.payload, 0
    found: list[Message] = []
    shift_ms: int | None = None
    while position + 11 <= len(payload):
        kind = payload[position]
        length = int.from_bytes(payload[position + 1 : position + 4], "big")
        stamp = int.from_bytes(payload[position + 4 : position + 7], "big")
        stamp |= payload[position + 7] << 24
        start = position + 11
        if start + length > len(payload):
            raise PeerError("a message reaches out of its aggregate")
        if len(found) >= MAX_AGGREGATED:
            raise PeerError(f"more than {MAX_AGGREGATED} messages in an aggregate")
        if shift_ms is None:
            shift_ms = message.timestamp_ms - stamp
        if kind in {MessageType.AUDIO, MessageType.VIDEO, MessageType.DATA}:
            found.append(
                Message(
                    kind,
                    message.stream_id,
                    (stamp + shift_ms) & 0xFFFF_FFFF,
                    payload[start : start + length],
                )
            )
        position = start + length + 4
    return found
