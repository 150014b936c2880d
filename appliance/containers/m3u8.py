"""Playlists of HTTP Live Streaming: the model and its text (RFC 8216, draft-pantos-hls-rfc8216bis).

Written only. Names of files are ours and need no escaping; attribute values from elsewhere
(codec strings) are checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from appliance.errors import MisuseError

# EXT-X-MAP in a media playlist that is not I-frames only (RFC 8216 §7), and EXT-X-DISCONTINUITY-
# SEQUENCE; nothing here needs more, and the lowest that fits is what old players accept.
VERSION_PLAIN = 3
VERSION_MAP = 6

_QUOTABLE = re.compile(r'[^"\r\n]*\Z')
_EPOCH_LIMIT_US = 253_402_300_799_000_000  # the last second of the year 9999


@dataclass(frozen=True, slots=True)
class SegmentLine:
    """One media segment as a playlist tells it (§4.3.2).

    duration_us: as written into EXTINF, to the millisecond.
    map_uri: its initialisation section; None for MPEG-TS.
    unix_us: wall time of its first sample; None if the wall time is not known.
    """

    uri: str
    duration_us: int
    discontinuity: bool = False
    map_uri: str | None = None
    unix_us: int | None = None


@dataclass(frozen=True, slots=True)
class MediaPlaylist:
    """§4.3.3; independent_segments: each segment starts with a key (§4.3.5.1)."""

    target_duration_s: int
    media_sequence: int
    discontinuity_sequence: int
    segments: Sequence[SegmentLine]
    independent_segments: bool = True
    ended: bool = False

    def render(self) -> str:
        has_map = any(segment.map_uri is not None for segment in self.segments)
        lines = [
            "#EXTM3U",
            f"#EXT-X-VERSION:{VERSION_MAP if has_map else VERSION_PLAIN}",
            f"#EXT-X-TARGETDURATION:{self.target_duration_s}",
            f"#EXT-X-MEDIA-SEQUENCE:{self.media_sequence}",
            f"#EXT-X-DISCONTINUITY-SEQUENCE:{self.discontinuity_sequence}",
        ]
        if self.independent_segments:
            lines.append("#EXT-X-INDEPENDENT-SEGMENTS")
        lines += _segment_lines(self.segments)
        if self.ended:
            lines.append("#EXT-X-ENDLIST")
        return "\n".join((*lines, ""))


def _segment_lines(segments: Iterable[SegmentLine]) -> Iterable[str]:
    map_uri: str | None = None
    for segment in segments:
        if segment.discontinuity:
            yield "#EXT-X-DISCONTINUITY"
        if segment.map_uri is not None and segment.map_uri != map_uri:
            map_uri = segment.map_uri
            yield f'#EXT-X-MAP:URI="{_quotable(map_uri)}"'
        if segment.unix_us is not None:
            yield f"#EXT-X-PROGRAM-DATE-TIME:{utc_text(segment.unix_us)}"
        yield f"#EXTINF:{segment.duration_us // 1_000_000}.{segment.duration_us // 1000 % 1000:03},"
        yield segment.uri


@dataclass(frozen=True, slots=True)
class Variant:
    """One EXT-X-STREAM-INF and its URI (§4.3.4.2).

    bandwidth_bps: the peak over any segment; average_bandwidth_bps: over all of them.
    resolution: width and height in pixels, None for audio only; so is frame_rate_hz.
    """

    uri: str
    bandwidth_bps: int
    average_bandwidth_bps: int
    codecs: Sequence[str]
    resolution: tuple[int, int] | None = None
    frame_rate_hz: float | None = None

    def render(self) -> str:
        codecs = _quotable(",".join(self.codecs))
        attributes = [
            f"BANDWIDTH={self.bandwidth_bps}",
            f"AVERAGE-BANDWIDTH={self.average_bandwidth_bps}",
            f'CODECS="{codecs}"',
        ]
        if self.resolution is not None:
            attributes.append("RESOLUTION={}x{}".format(*self.resolution))
        if self.frame_rate_hz is not None:
            attributes.append(f"FRAME-RATE={self.frame_rate_hz:.3f}")
        return f"#EXT-X-STREAM-INF:{','.join(attributes)}\n{self.uri}\n"


@dataclass(frozen=True, slots=True)
class MultivariantPlaylist:
    """§4.3.4"""

    variants: Sequence[Variant]
    independent_segments: bool = True
    version: int = field(default=VERSION_MAP)

    def render(self) -> str:
        head = f"#EXTM3U\n#EXT-X-VERSION:{self.version}\n"
        if self.independent_segments:
            head += "#EXT-X-INDEPENDENT-SEGMENTS\n"
        return head + "".join(variant.render() for variant in self.variants)


def utc_text(unix_us: int) -> str:
    """ISO 8601 in UTC with milliseconds, as EXT-X-PROGRAM-DATE-TIME has it (§4.3.2.6)."""
    whole_s, rest_us = divmod(min(max(unix_us, 0), _EPOCH_LIMIT_US), 1_000_000)
    text = datetime.fromtimestamp(whole_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{rest_us // 1000:03}Z"


def _quotable(text: str) -> str:
    """§4.2: a quoted-string has no line feed, carriage return or double quote."""
    if not _QUOTABLE.match(text):
        raise MisuseError("an attribute value that cannot be quoted")
    return text
