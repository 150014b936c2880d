"""FLV of a live stream: a chunk per tag, a header with everything a joining viewer needs."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.containers.flv import TagType, file_header, tag, us_to_ms
from appliance.containers.flv_tag_writer import (
    carried_tracks,
    metadata_body,
    sequence_header_body,
    tag_pieces,
)
from appliance.errors import CodecUnsupported
from appliance.media.track import CodecConfig, Kind, Track
from appliance.media.unit import AccessUnit, Chunk

LEAD_US = 1_000_000  # where stamps start, so that a track a little ahead of the first fits too

_TAG_TYPES = {Kind.VIDEO: TagType.VIDEO, Kind.AUDIO: TagType.AUDIO}


class FlvMuxer:
    """One video and one audio track. Stamps count from the first unit, which is at LEAD_US.

    When tracks change, viewers that go on watching find the new sequence headers in the data of
    the next chunk; one that joins just there gets them twice, which players pass over, and one
    that jumps over it is sent `flv.in_band(chunk.header)`. Metadata stays in the header, for a
    script tag with another stamp than 0 is a new data stream to libav.
    """

    def __init__(self) -> None:
        self._header = b""
        self._configs: tuple[CodecConfig, ...] = ()
        self._kinds: dict[int, Kind] = {}  # by the id of each track that is carried
        self._origin_us: int | None = None  # whole milliseconds
        self._last_dts_us: dict[int, int] = {}
        self._descriptions: list[tuple[TagType, bytes]] = []
        self._is_changed = False

    def header(self, tracks: Sequence[Track]) -> bytes:
        """Raises: CodecUnsupported if none of the tracks has a form in FLV."""
        carried = carried_tracks(tracks)
        if not carried:
            raise CodecUnsupported("FLV carries none of these tracks")
        self._kinds = {track.id: track.kind for track in carried}
        configs = tuple(track.config for track in carried)
        if configs != self._configs:
            self._is_changed = bool(self._configs)
            self._configs = configs
            self._descriptions = []
            for track in carried:
                body = sequence_header_body(track.config)
                if body is not None:
                    self._descriptions.append((_TAG_TYPES[track.kind], body))
            kinds = self._kinds.values()
            head = file_header(has_audio=Kind.AUDIO in kinds, has_video=Kind.VIDEO in kinds)
            script = tag(TagType.SCRIPT, 0, metadata_body(carried))
            self._header = head + script + self._describe(0)
        return self._header

    def _describe(self, timestamp_ms: int) -> bytes:
        return b"".join(tag(kind, timestamp_ms, body) for kind, body in self._descriptions)

    def feed(self, unit: AccessUnit) -> list[Chunk]:
        track_id, dts_us = unit.track.id, unit.dts_us
        kind = self._kinds.get(track_id)
        if kind is None:
            return []
        if self._origin_us is None:
            self._origin_us = dts_us // 1000 * 1000 - LEAD_US
        timestamp_ms = us_to_ms(dts_us - self._origin_us)
        data = tag(_TAG_TYPES[kind], timestamp_ms, *tag_pieces(unit))
        discontinuity = unit.discontinuity
        if self._is_changed:
            self._is_changed, discontinuity = False, True
            data = self._describe(timestamp_ms) + data
        duration_us = dts_us - self._last_dts_us.get(track_id, dts_us)
        self._last_dts_us[track_id] = dts_us
        key = unit.key if kind is Kind.VIDEO else len(self._kinds) == 1
        return [Chunk(data, dts_us, max(0, duration_us), key, self._header, discontinuity)]

    def flush(self) -> list[Chunk]:
        """Nothing: every tag is complete at once."""
        return []
