"""A stream as RTMP's bytes, the same for every player: message stream 1, headers that refer to
nothing before them."""

from __future__ import annotations

from collections.abc import Collection

from appliance.containers.flv import TagType
from appliance.containers.flv_muxer import TagMuxer
from appliance.media.track import Kind
from appliance.media.unit import Buffer
from appliance.wire.rtmp.chunks import join_chunks
from appliance.wire.rtmp.commands import DATA_CSID, MEDIA_CSIDS
from appliance.wire.rtmp.connection import CHUNK_BYTES

STREAM_ID = 1  # what every player has that plays one stream


class RtmpMuxer(TagMuxer):
    """A message per tag. Who jumped over a change is sent the whole header again."""

    def __init__(self, kinds: Collection[Kind] = frozenset(Kind)) -> None:
        super().__init__("RTMP", message, lambda _: b"", kinds)


def message(kind: TagType, timestamp_ms: int, /, *body: Buffer) -> bytes:
    """In chunks of CHUNK_BYTES, beginning with a whole header (RTMP 1.0 §5.3.1.2.1)."""
    csid = MEDIA_CSIDS.get(kind, DATA_CSID)
    size = sum(map(len, body))
    timestamp_ms &= 0xFFFF_FFFF
    extended = timestamp_ms.to_bytes(4, "big") if timestamp_ms >= 0xFF_FFFF else b""
    head = b"".join(
        (
            bytes((csid,)),
            min(timestamp_ms, 0xFF_FFFF).to_bytes(3, "big"),
            size.to_bytes(3, "big"),
            bytes((kind,)),
            STREAM_ID.to_bytes(4, "little"),
            extended,
        )
    )
    if size <= CHUNK_BYTES:
        return b"".join((head, *body))
    return head + join_chunks(b"".join(body), bytes((0xC0 | csid,)) + extended, CHUNK_BYTES)
