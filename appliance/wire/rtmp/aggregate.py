"""Aggregate messages: several in one (RTMP 1.0 §7.1.6)."""

from __future__ import annotations

from appliance.errors import PeerError
from appliance.media.bits import Reader
from appliance.wire.rtmp.message import MEDIA_KINDS, Message

MAX_AGGREGATED = 4096  # messages in an aggregate; against a million empty ones
HEADER_BYTES, BACK_POINTER_BYTES = 11, 4  # as FLV's tags have them


def split_aggregate(message: Message) -> list[Message]:
    """The media in an aggregate; stamps are moved so that its first message has its own.

    Raises: PeerError for a length that leads out of it, or for too many.
    """
    reader = Reader(message.payload)
    found: list[Message] = []
    shift_ms: int | None = None
    for _ in range(MAX_AGGREGATED + 1):
        if reader.remaining < HEADER_BYTES:
            return found
        kind, size = reader.u8(), reader.u24()
        stamp_ms = reader.u24() | reader.u8() << 24
        reader.skip(3)  # the message stream, which the aggregate's stands for
        payload = bytes(reader.take(size))
        reader.skip(min(BACK_POINTER_BYTES, reader.remaining))
        if shift_ms is None:
            shift_ms = message.timestamp_ms - stamp_ms
        if kind in MEDIA_KINDS:
            time_ms = (stamp_ms + shift_ms) & 0xFFFF_FFFF
            found.append(Message(kind, message.stream_id, time_ms, payload))
    raise PeerError(f"more than {MAX_AGGREGATED} messages in an aggregate")
