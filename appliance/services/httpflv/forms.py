"""The forms a stream is served in, by the suffix that asks for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from appliance.containers.flv import in_band
from appliance.containers.flv_muxer import FlvMuxer
from appliance.containers.mpegts_muxer import MpegTsMuxer
from appliance.errors import CodecUnsupported
from appliance.hub.alternatives import Choosy
from appliance.hub.rendition import Muxer
from appliance.media.aac import AacConfig, adts_header
from appliance.media.mp3 import Mp3Config
from appliance.media.track import CodecConfig, Kind, Track
from appliance.media.unit import AccessUnit, Chunk

SOUND = frozenset({Kind.AUDIO})
TS_INTERVAL_US = 40_000  # shorter than a segment's chunks: nothing here waits for a segment


class SoundMuxer:
    """Frames that need nothing before them: AAC behind ADTS headers, or MP3 as it is."""

    def __init__(self, codec: type[AacConfig | Mp3Config], name: str) -> None:
        self._codec = codec
        self._name = name
        self._config: AacConfig | Mp3Config | None = None
        self._track_id = 0

    def takes(self, config: CodecConfig) -> bool:
        """Whether sound of this kind needs no other form."""
        return isinstance(config, self._codec)

    def header(self, tracks: Sequence[Track]) -> bytes:
        """Raises: CodecUnsupported if the stream has no such sound."""
        for track in tracks:
            if isinstance(track.config, self._codec):
                self._config, self._track_id = track.config, track.id
                return b""
        raise CodecUnsupported(f"there is no {self._name} sound in this stream")

    def feed(self, unit: AccessUnit) -> list[Chunk]:
        config = self._config
        if config is None or unit.track.id != self._track_id:
            return []
        duration_us = config.frame_samples * 1_000_000 // config.sample_rate_hz
        data = bytes(unit.parts[0])
        if isinstance(config, AacConfig):
            data = adts_header(config, unit.size_bytes) + data
        return [Chunk(data, unit.dts_us, duration_us, True, b"", unit.discontinuity)]

    def flush(self) -> list[Chunk]:
        return []


class Only:
    """A muxer that is shown tracks of some kinds only."""

    def __init__(self, muxer: Muxer, kinds: frozenset[Kind]) -> None:
        self._muxer = muxer
        self._kinds = kinds

    def takes(self, config: CodecConfig) -> bool:
        """Whether sound of this kind needs no other form; none does that is left out."""
        muxer = self._muxer
        wanted = config.kind in self._kinds
        return not wanted or not isinstance(muxer, Choosy) or muxer.takes(config)

    def header(self, tracks: Sequence[Track]) -> bytes:
        """Raises: CodecUnsupported if nothing is left."""
        shown = [track for track in tracks if track.kind in self._kinds]
        if not shown:
            raise CodecUnsupported(f"there is no {' or '.join(sorted(self._kinds))} in it")
        return self._muxer.header(shown)

    def feed(self, unit: AccessUnit) -> list[Chunk]:
        return self._muxer.feed(unit) if unit.track.kind in self._kinds else []

    def flush(self) -> list[Chunk]:
        return self._muxer.flush()


@dataclass(frozen=True, slots=True)
class Form:
    """renew: what of a header a viewer gets who had another one before; see `FanOut`."""

    name: str
    content_type: str
    make: Callable[[], Muxer]
    renew: Callable[[bytes], bytes] = bytes
    kinds: frozenset[Kind] = frozenset(Kind)

    def rendition_name(self, kinds: frozenset[Kind]) -> str:
        left_out = sorted(self.kinds - kinds)
        return f"live-{self.name}" + "".join(f"-no-{kind}" for kind in left_out)

    def muxer(self, kinds: frozenset[Kind]) -> Muxer:
        return self.make() if kinds == self.kinds else Only(self.make(), kinds)


FORMS = {
    ".flv": Form("flv", "video/x-flv", FlvMuxer, renew=in_band),
    ".ts": Form("ts", "video/mp2t", lambda: MpegTsMuxer(interval_us=TS_INTERVAL_US)),
    ".aac": Form("aac", "audio/aac", lambda: SoundMuxer(AacConfig, "AAC"), kinds=SOUND),
    ".mp3": Form("mp3", "audio/mpeg", lambda: SoundMuxer(Mp3Config, "MP3"), kinds=SOUND),
}
