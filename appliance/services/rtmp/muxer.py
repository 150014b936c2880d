"""A stream as RTMP's bytes, the same for every player: message stream 1, headers that refer to
nothing before them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from appliance.containers.flv import us_to_ms
from appliance.containers.flv_tag_writer import (
    carried_tracks,
    metadata_body,
    sequence_header_body,
    tag_body,
)
from appliance.errors import CodecUnsupported
from appliance.media.track import CodecConfig, Kind, Track
from appliance.media.unit import AccessUnit, Chunk
from appliance.wire.rtmp.chunks import join_chunks
from appliance.wire.rtmp.commands import AUDIO_CSID, DATA_CSID, VIDEO_CSID
from appliance.wire.rtmp.message import MessageType
from appliance.wire.rtmp.server import CHUNK_BYTES

STREAM_ID = 1  # what every player has that plays one stream
LEAD_US = 1_000_000  # where stamps start, so that a track a little ahead of the first fits too

_KINDS = {
    Kind.VIDEO: (MessageType.VIDEO, VIDEO_CSID),
    Kind.AUDIO: (MessageType.AUDIO, AUDIO_CSID),
}


class RtmpMuxer:
    """A chunk per message. kinds: of media that the players want; others are left out.

    When tracks change, the new sequence headers come in the data of the next chunk; a player that
    jumps over it is sent the whole header again.
    """

    def __init__(self, kinds: Collection[Kind] = frozenset(Kind)) -> None:
        self._wanted = frozenset(kinds)
        self._header = b""
        self._configs: tuple[CodecConfig, ...] = ()
        self._kinds: dict[int, Kind] = {}
        self._origin_us: int | None = None
        self._is_changed = False
        self._last_dts_us: dict[int, int] = {}

    def header(self, tracks: Sequence[Track]) -> bytes:
        """Raises: CodecUnsupported if none of the tracks has a form in RTMP."""
        carried = [t for t in carried_tracks(tracks) if t.kind in self._wanted]
        if not carried:
            raise CodecUnsupported("RTMP carries none of these tracks")
        self._kinds = {track.id: track.kind for track in carried}
        configs = tuple(track.config for track in carried)
        if configs != self._configs:
            self._is_changed = bool(self._configs)
            self._configs = configs
            metadata = message(MessageType.DATA, DATA_CSID, 0, metadata_body(carried))
            self._header = metadata + self._describe(0)
        return self._header

    def _describe(self, timestamp_ms: int) -> bytes:
        parts = []
        for config in self._configs:
            body = sequence_header_body(config)
            if body is not None:
                parts.append(message(*_KINDS[config.kind], timestamp_ms, body))
        return b"".join(parts)

    def feed(self, unit: AccessUnit) -> list[Chunk]:
        track_id, dts_us = unit.track.id, unit.dts_us
        kind = self._kinds.get(track_id)
        if kind is None:
            return []
        if self._origin_us is None:
            self._origin_us = dts_us // 1000 * 1000 - LEAD_US
        timestamp_ms = us_to_ms(dts_us - self._origin_us)
        data = message(*_KINDS[kind], timestamp_ms, tag_body(unit))
        discontinuity = unit.discontinuity
        if self._is_changed:
            self._is_changed, discontinuity = False, True
            data = self._describe(timestamp_ms) + data
        duration_us = max(0, dts_us - self._last_dts_us.get(track_id, dts_us))
        self._last_dts_us[track_id] = dts_us
        key = unit.key if kind is Kind.VIDEO else len(self._kinds) == 1
        return [Chunk(data, dts_us, duration_us, key, self._header, discontinuity)]

    def flush(self) -> list[Chunk]:
        """Nothing: every message is complete at once."""
        return []


def message(kind: MessageType, csid: int, timestamp_ms: int, payload: bytes) -> bytes:
    """In chunks of CHUNK_BYTES, beginning with a whole header (RTMP 1.0 §5.3.1.2.1)."""
    timestamp_ms &= 0xFFFF_FFFF
    extended = timestamp_ms.to_bytes(4, "big") if timestamp_ms >= 0xFF_FFFF else b""
    head = b"".join(
        (
            bytes((csid,)),
            min(timestamp_ms, 0xFF_FFFF).to_bytes(3, "big"),
            len(payload).to_bytes(3, "big"),
            bytes((kind,)),
            STREAM_ID.to_bytes(4, "little"),
            extended,
        )
    )
    if len(payload) <= CHUNK_BYTES:
        return head + payload
    return head + join_chunks(payload, bytes((0xC0 | csid,)) + extended, CHUNK_BYTES)
