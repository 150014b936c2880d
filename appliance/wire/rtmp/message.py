"""RTMP messages: their types, and those that control the connection itself.

Adobe's Real Time Messaging Protocol 1.0 (2012), §5.4, §6.2 and §7.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from appliance.errors import PeerError
from appliance.media.bits import Reader

CONTROL_CSID = 2  # §5.4: all control messages go there, on message stream 0
MIN_CHUNK_BYTES = 128  # a header for fewer bytes would cost more than they are worth


class MessageType(IntEnum):
    """§5.4, §7.1. The media types are FLV's tag types."""

    SET_CHUNK_SIZE = 1
    ABORT = 2
    ACK = 3
    USER_CONTROL = 4
    WINDOW_ACK_SIZE = 5
    SET_PEER_BANDWIDTH = 6
    AUDIO = 8
    VIDEO = 9
    DATA_AMF3 = 15
    SHARED_OBJECT_AMF3 = 16
    COMMAND_AMF3 = 17
    DATA = 18
    SHARED_OBJECT = 19
    COMMAND = 20
    AGGREGATE = 22


class UserEvent(IntEnum):
    """§7.1.7."""

    STREAM_BEGIN = 0
    STREAM_EOF = 1
    STREAM_DRY = 2
    SET_BUFFER_LENGTH = 3
    STREAM_IS_RECORDED = 4
    PING_REQUEST = 6
    PING_RESPONSE = 7


# Against a peer whose message has no end: by what the message may be good for.
MAX_MEDIA_BYTES = (4 << 20) + 4096
MAX_DATA_BYTES = 256 << 10
MAX_COMMAND_BYTES = 64 << 10
MAX_CONTROL_BYTES = 64
MEDIA_KINDS = frozenset({MessageType.AUDIO, MessageType.VIDEO, MessageType.DATA})
_MEDIA = frozenset({MessageType.AUDIO, MessageType.VIDEO, MessageType.AGGREGATE})
_DATA = frozenset({MessageType.DATA, MessageType.DATA_AMF3})
_CONTROL = frozenset(range(MessageType.SET_CHUNK_SIZE, MessageType.SET_PEER_BANDWIDTH + 1))


@dataclass(slots=True)
class Message:
    """kind: a MessageType, or a number that is none; timestamp_ms: 32 bits that wrap."""

    kind: int
    stream_id: int
    timestamp_ms: int
    payload: bytes = field(repr=False)


def max_bytes(kind: int) -> int:
    """How long a message of this kind may be."""
    if kind in _MEDIA:
        return MAX_MEDIA_BYTES
    if kind in _DATA:
        return MAX_DATA_BYTES
    return MAX_CONTROL_BYTES if kind in _CONTROL else MAX_COMMAND_BYTES


def control(kind: MessageType, payload: bytes) -> Message:
    return Message(kind, 0, 0, payload)


def set_chunk_size(size_bytes: int) -> Message:
    return control(MessageType.SET_CHUNK_SIZE, size_bytes.to_bytes(4, "big"))


def window_ack_size(window_bytes: int) -> Message:
    return control(MessageType.WINDOW_ACK_SIZE, window_bytes.to_bytes(4, "big"))


def set_peer_bandwidth(window_bytes: int, limit: int = 2) -> Message:
    """limit: 0 hard, 1 soft, 2 dynamic (§5.4.5)."""
    payload = window_bytes.to_bytes(4, "big") + bytes((limit,))
    return control(MessageType.SET_PEER_BANDWIDTH, payload)


def ack(received_bytes: int) -> Message:
    """The count wraps at 32 bits."""
    return control(MessageType.ACK, (received_bytes & 0xFFFF_FFFF).to_bytes(4, "big"))


def user_event(event: UserEvent, value: int) -> Message:
    payload = event.to_bytes(2, "big") + (value & 0xFFFF_FFFF).to_bytes(4, "big")
    return control(MessageType.USER_CONTROL, payload)


def read_chunk_size(payload: bytes) -> int:
    """Raises: PeerError for a size that no chunk can have, or that would only cost time."""
    size_bytes = Reader(payload).u32()  # any size above is good: nothing is allocated by it
    if size_bytes >> 31:
        raise PeerError("a chunk size whose first bit is set")
    if size_bytes < MIN_CHUNK_BYTES:
        raise PeerError(f"a chunk size of {size_bytes} bytes")
    return size_bytes


def read_user_event(payload: bytes) -> tuple[int, int] | None:
    """(event, value); None if it is too short to mean anything, which some encoders send."""
    if len(payload) < 6:
        return None
    reader = Reader(payload)
    return reader.u16(), reader.u32()
