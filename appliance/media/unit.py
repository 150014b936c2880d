"""The two things that flow: an access unit into the hub, a chunk of muxed bytes out of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.media.track import Track

Buffer = bytes | memoryview


@dataclass(slots=True)
class AccessUnit:
    """One coded picture, or one raw audio frame, with its place in time.

    parts: video: NAL units without start code or length prefix, without parameter sets and
        access unit delimiters (SEI stays); of AV1: OBUs as they stand, without temporal
        delimiters; of VP9: one frame or superframe; audio: exactly one part, the raw frame (no
        ADTS, no Opus self-delimiting).
    dts_us, pts_us: microseconds; on the source's own clock until `Publisher.write`, on the
        stream's monotonic timeline afterwards, where pts_us >= dts_us and dts_us grows per track.
    key: decoding can start here (IDR, or a recovery point the source vouches for); every audio
        unit is key.
    discontinuity: the source was interrupted before this unit; decoders start afresh.

    Not changed by anybody once published: its parts are shared by every rendition.
    """

    track: Track
    dts_us: int
    pts_us: int
    key: bool
    parts: tuple[Buffer, ...]
    discontinuity: bool = False
    size_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self.size_bytes = sum(map(len, self.parts))


@dataclass(slots=True)
class Chunk:
    """Muxed bytes made once and shared by every viewer.

    header: what must precede this chunk if it is the first one a viewer gets (FLV header with
        sequence headers, fMP4 init segment, empty for MPEG-TS); one object shared by all chunks it
        serves, so `is not` tells that it changed.
    key: a viewer can join here.
    discontinuity: timestamps or coding restarted before this chunk.
    before_key: the next one will be a key, so whoever cuts at keys need not wait to see it. It may
        be one although this is False.
    """

    data: bytes
    dts_us: int
    duration_us: int
    key: bool
    header: bytes = b""
    discontinuity: bool = False
    before_key: bool = field(default=False, kw_only=True)

    @property
    def size_bytes(self) -> int:
        return len(self.data)
