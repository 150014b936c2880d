"""The forms segments come in: their muxers, names and media types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from appliance.containers.fmp4_muxer import Fmp4Muxer
from appliance.containers.fmp4_muxer import carried_tracks as carried_by_fmp4
from appliance.containers.mpegts_muxer import MpegTsMuxer
from appliance.containers.mpegts_muxer import carried_tracks as carried_by_ts
from appliance.hub.rendition import Muxer
from appliance.media.track import Track
from appliance.services.hls.settings import HlsFormat


@dataclass(frozen=True, slots=True)
class Form:
    """rendition: the name under which the hub shares the muxed chunks with other services."""

    format: HlsFormat
    rendition: str
    make_muxer: Callable[[], Muxer]
    carried_tracks: Callable[[Sequence[Track]], Sequence[Track]]
    suffix: str
    content_type: str

    @property
    def playlist_name(self) -> str:
        return f"{self.format}.m3u8"

    def segment_name(self, msn: int) -> str:
        return f"{self.format}-{msn}{self.suffix}"

    def init_name(self, digest: str) -> str:
        return f"{self.format}-init-{digest}.mp4"


FORMS = {
    HlsFormat.FMP4: Form(HlsFormat.FMP4, "fmp4", Fmp4Muxer, carried_by_fmp4, ".m4s", "video/mp4"),
    HlsFormat.TS: Form(HlsFormat.TS, "mpegts", MpegTsMuxer, carried_by_ts, ".ts", "video/mp2t"),
}
