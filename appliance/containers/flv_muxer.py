"""FLV of a live stream: a chunk per tag, a header with everything a joining viewer needs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from appliance.containers.flv import TagType, file_header, tag, us_to_ms
from appliance.containers.flv_tag_writer import (
    can_carry,
    carried_tracks,
    metadata_body,
    sequence_header_body,
    tag_pieces,
)
from appliance.errors import CodecUnsupported
from appliance.media.track import CodecConfig, Kind, Track
from appliance.media.unit import AccessUnit, Buffer, Chunk

LEAD_US = 1_000_000  # where stamps start, so that a track a little ahead of the first fits too

_TAG_TYPES = {Kind.VIDEO: TagType.VIDEO, Kind.AUDIO: TagType.AUDIO}


class Frame(Protocol):
    """A tag with what its container puts around it."""

    def __call__(self, kind: TagType, timestamp_ms: int, /, *body: Buffer) -> bytes: ...


class TagMuxer:
    """Tags of one video and one audio track, for all containers that FLV's tags go into.

    name: of the container, for a person. begin: what it has before all tags. kinds: of media that
    the viewers want; others are left out.

    Stamps count from the first unit, which is at LEAD_US. When tracks change, viewers that go on
    watching find the new sequence headers in the data of the next chunk; one that joins just there
    gets them twice, which players pass over, and one that jumps over it must be sent the header
    again. Metadata stays in the header, for a script tag with another stamp than 0 is a new data
    stream to libav.
    """

    def __init__(
        self,
        name: str,
        frame: Frame,
        begin: Callable[[Collection[Kind]], bytes],
        kinds: Collection[Kind] = frozenset(Kind),
    ) -> None:
        self._name = name
        self._frame = frame
        self._begin = begin
        self._wanted = frozenset(kinds)
        self._header = b""
        self._configs: tuple[CodecConfig, ...] = ()
        self._kinds: dict[int, Kind] = {}  # by the id of each track that is carried
        self._origin_us: int | None = None  # whole milliseconds
        self._last_dts_us: dict[int, int] = {}
        self._descriptions: list[tuple[TagType, bytes]] = []
        self._is_changed = False

    def takes(self, config: CodecConfig) -> bool:
        """Whether sound of this kind needs no other form; none does that is left out."""
        return config.kind not in self._wanted or can_carry(config)

    def header(self, tracks: Sequence[Track]) -> bytes:
        """Raises: CodecUnsupported if none of the tracks has a form in the container."""
        carried = [track for track in carried_tracks(tracks) if track.kind in self._wanted]
        if not carried:
            raise CodecUnsupported(f"{self._name} carries none of these tracks")
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
            script = self._frame(TagType.SCRIPT, 0, metadata_body(carried))
            self._header = self._begin(self._kinds.values()) + script + self._describe(0)
        return self._header

    def _describe(self, timestamp_ms: int) -> bytes:
        return b"".join(self._frame(kind, timestamp_ms, body) for kind, body in self._descriptions)

    def feed(self, unit: AccessUnit) -> list[Chunk]:
        track_id, dts_us = unit.track.id, unit.dts_us
        kind = self._kinds.get(track_id)
        if kind is None:
            return []
        if self._origin_us is None:
            self._origin_us = dts_us // 1000 * 1000 - LEAD_US
        timestamp_ms = us_to_ms(dts_us - self._origin_us)
        data = self._frame(_TAG_TYPES[kind], timestamp_ms, *tag_pieces(unit))
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


class FlvMuxer(TagMuxer):
    """A file without end. Who jumped over a change is sent `flv.in_band(chunk.header)`."""

    def __init__(self) -> None:
        super().__init__("FLV", tag, _begin)


def _begin(kinds: Collection[Kind]) -> bytes:
    return file_header(has_audio=Kind.AUDIO in kinds, has_video=Kind.VIDEO in kinds)
