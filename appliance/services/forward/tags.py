"""A stream's units as the messages of an RTMP publisher."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from appliance.containers.flv import us_to_ms
from appliance.containers.flv_muxer import LEAD_US
from appliance.containers.flv_tag_writer import (
    carried_tracks,
    metadata_body,
    sequence_header_body,
    tag_body,
)
from appliance.errors import CodecUnsupported
from appliance.media.amf0 import encode
from appliance.media.track import CodecConfig, Kind, Track
from appliance.media.unit import AccessUnit
from appliance.wire.rtmp.message import MessageType

_KINDS = {Kind.VIDEO: MessageType.VIDEO, Kind.AUDIO: MessageType.AUDIO}
_SET_DATA_FRAME = encode("@setDataFrame")


@dataclass(slots=True)
class Tag:
    """timestamp_ms: 32 bits that wrap."""

    kind: MessageType
    timestamp_ms: int
    payload: bytes = field(repr=False)


class TagFeed:
    """Metadata and sequence headers go before the first unit; a header again when it changes.

    start_us: what the first unit's stamp will be.
    """

    def __init__(self, start_us: int = LEAD_US) -> None:
        self._start_us = start_us
        self._origin_us: int | None = None
        self._tracks: Sequence[Track] | None = None
        self._carried: tuple[Track, ...] = ()
        self._kinds: dict[int, Kind] = {}
        self._told: dict[Kind, CodecConfig] = {}  # by the sequence headers sent

    def feed(self, unit: AccessUnit, tracks: Sequence[Track]) -> Iterator[Tag]:
        """tracks: of the stream now. Raises: CodecUnsupported if RTMP can carry none of them."""
        is_described = tracks is not self._tracks
        if is_described:
            self._choose(tracks)
        kind = self._kinds.get(unit.track.id)
        if kind is None:
            if is_described:
                self._tracks = None  # it is told before the next unit
            return
        if self._origin_us is None:
            self._origin_us = unit.dts_us // 1000 * 1000 - self._start_us
        timestamp_ms = max(0, us_to_ms(unit.dts_us - self._origin_us)) & 0xFFFF_FFFF
        if is_described:
            yield from self._describe(timestamp_ms)
        yield from self._introduce(unit.track, timestamp_ms)
        yield Tag(_KINDS[kind], timestamp_ms, tag_body(unit))

    def _choose(self, tracks: Sequence[Track]) -> None:
        self._tracks = tracks
        self._carried = carried_tracks(tracks)
        if not self._carried:
            raise CodecUnsupported("RTMP carries none of these tracks")
        self._kinds = {track.id: track.kind for track in self._carried}

    def _describe(self, timestamp_ms: int) -> Iterator[Tag]:
        metadata = _SET_DATA_FRAME + metadata_body(self._carried)
        yield Tag(MessageType.DATA, timestamp_ms, metadata)
        for track in self._carried:
            if track.kind not in self._told:
                yield from self._introduce(track, timestamp_ms)

    def _introduce(self, track: Track, timestamp_ms: int) -> Iterator[Tag]:
        """Its sequence header, unless the peer has it already."""
        if self._told.get(track.kind) == track.config:
            return
        self._told[track.kind] = track.config
        body = sequence_header_body(track.config)
        if body is not None:
            yield Tag(_KINDS[track.kind], timestamp_ms, body)
