"""FLV from a byte stream: finds the tags, leaves their meaning to `flv_tag_reader`."""

from __future__ import annotations

from appliance.containers.flv import (
    BACK_POINTER_BYTES,
    FILE_HEADER_BYTES,
    MAX_MEDIA_TAG_BYTES,
    MAX_SCRIPT_TAG_BYTES,
    TAG_HEADER_BYTES,
    TagType,
)
from appliance.containers.flv_tag_reader import Event, FlvTagReader
from appliance.errors import PeerError
from appliance.media.bits import Reader

MAX_HEADER_BYTES = 1024  # DataOffset is 9 in every file there is

_ENCRYPTED = 0x20
_RESERVED = 0xC0


class FlvDemuxer:
    """Bytes in, events out: tuples of Tracks, and units. Back pointers are not looked at, for
    writers get them wrong and nothing here reads backwards.

    tags: what reads them, with its counters.
    """

    def __init__(self) -> None:
        self.tags = FlvTagReader()
        self._buffer = bytearray()  # at most a tag of the greatest size, as far as received
        self._position = 0
        self._skip_bytes = 0  # still to be passed over
        self._is_begun = False

    def receive(self, data: bytes | memoryview) -> list[Event]:
        """The events that `data` completes. Raises: PeerError."""
        self._buffer += data
        events: list[Event] = []
        while True:
            found = self._next()
            if found is None:
                break
            events += found
        del self._buffer[: self._position]
        self._position = 0
        return events

    def receive_eof(self) -> list[Event]:
        """The end, maybe in the middle of a tag, which is dropped: live streams end anywhere."""
        self._buffer.clear()
        return []

    def _next(self) -> list[Event] | None:
        """The events of the next tag, None if it is not complete."""
        available = len(self._buffer) - self._position
        if self._skip_bytes:
            step = min(self._skip_bytes, available)
            self._position += step
            self._skip_bytes -= step
            return [] if step else None
        if not self._is_begun:
            return self._begin() if available >= FILE_HEADER_BYTES else None
        if available < TAG_HEADER_BYTES:
            return None
        start = self._position + TAG_HEADER_BYTES
        reader = Reader(bytes(self._buffer[self._position : start]))
        kind, size = reader.u8(), reader.u24()
        timestamp_ms = reader.u24() | reader.u8() << 24
        _check(kind, size)
        if len(self._buffer) < start + size:
            return None
        with memoryview(self._buffer) as view:
            body = bytes(view[start : start + size])
        self._position = start + size
        self._skip_bytes = BACK_POINTER_BYTES
        return self.tags.receive(kind, timestamp_ms, body)

    def _begin(self) -> list[Event]:
        reader = Reader(bytes(self._buffer[:FILE_HEADER_BYTES]))
        if bytes(reader.take(3)) != b"FLV" or reader.u8() != 1:
            raise PeerError("not an FLV of version 1")
        reader.skip(1)  # which kinds there are: encoders lie, the tags tell
        offset = reader.u32()
        if not FILE_HEADER_BYTES <= offset <= MAX_HEADER_BYTES:
            raise PeerError(f"an FLV header of {offset} bytes")
        self._is_begun = True
        self._skip_bytes = offset + BACK_POINTER_BYTES
        return []


def _check(kind: int, size: int) -> None:
    """Refuse a tag by its first four bytes, before its body is waited for."""
    if kind & (_ENCRYPTED | _RESERVED):
        raise PeerError(f"FLV tag type 0x{kind:02x}")
    limit = MAX_MEDIA_TAG_BYTES if kind in (TagType.AUDIO, TagType.VIDEO) else MAX_SCRIPT_TAG_BYTES
    if size > limit:
        raise PeerError(f"an FLV tag of {size} bytes, at most {limit} are possible")
