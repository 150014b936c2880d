"""In which form a viewer can be sent a stream: as it is, or with its sound as Opus, or without the
pictures that browsers cannot take.

Browsers show pictures in the order they come in: Chromium 156 stands still for a stream with
B-frames, whatever their stamps, and asks for a keyframe five times a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from appliance.errors import CodecUnsupported
from appliance.hub.rendition import MuxerFactory
from appliance.hub.stream import Stream
from appliance.media.opus import OpusConfig
from appliance.media.track import CodecConfig, Kind, Track
from appliance.media.unit import AccessUnit, Chunk
from appliance.wire.sdp.rtp_muxer import RtpMuxer
from appliance.wire.sdp.webrtc import takes
from appliance.wire.sdp.webrtc_offer import WebRtcOffer

ENOUGH_PICTURES = 30  # among which there is a B-frame if the encoder makes any


class WebRtcMuxer(RtpMuxer):
    """is_opus: sound of any other kind is encoded anew. is_forward: pictures that are shown before
    one that came earlier are left out. dropped_units: those.
    """

    def __init__(self, *, is_opus: bool, is_forward: bool) -> None:
        super().__init__()
        self._is_opus = is_opus
        self._is_forward = is_forward
        self._newest_us = 0
        self.dropped_units = 0

    def takes(self, config: CodecConfig) -> bool:
        if not self._is_opus:
            return super().takes(config)
        return isinstance(config, OpusConfig) and not config.mapping_family

    def feed(self, unit: AccessUnit) -> list[Chunk]:
        if self._is_forward and unit.track.kind is Kind.VIDEO:
            if not unit.key and unit.pts_us < self._newest_us:
                self.dropped_units += 1
                return []
            self._newest_us = unit.pts_us
        return super().feed(unit)


@dataclass(frozen=True, slots=True)
class Form:
    """rendition: its name, and what makes its muxer; that of RTSP's players where it will do.

    tracks: those that the viewer takes.
    """

    rendition: str
    make_muxer: MuxerFactory
    tracks: tuple[Track, ...]


def choose_form(stream: Stream, offer: WebRtcOffer) -> Form:
    """Raises: CodecUnsupported if the viewer takes nothing of it."""
    tracks, is_opus = _taken(offer, stream.tracks), False
    if _has_sound(stream.tracks) and not _has_sound(tracks):
        muxer = WebRtcMuxer(is_opus=True, is_forward=False)
        others = _taken(offer, stream.alternatives.choose(muxer).tracks)
        if _has_sound(others):
            tracks, is_opus = others, True
    if not tracks:
        codecs = ", ".join(str(track.codec) for track in stream.tracks)
        raise CodecUnsupported(f"the offer takes nothing of {stream.name}, which has {codecs}")
    is_forward = stream.has_video and not _is_in_order(stream)
    if not is_opus and not is_forward:
        return Form("rtp", RtpMuxer, tracks)
    name = f"rtp{'-opus' if is_opus else ''}{'-forward' if is_forward else ''}"
    return Form(name, partial(WebRtcMuxer, is_opus=is_opus, is_forward=is_forward), tracks)


def _is_in_order(stream: Stream) -> bool:
    """Whether pictures have come so far that are all shown in the order they came in."""
    newest_us, pictures = 0, 0
    for unit in stream.units.items:
        if unit.track.kind is Kind.VIDEO:
            if unit.pts_us < newest_us and not unit.key:
                return False
            newest_us = unit.pts_us
            pictures += 1
    return pictures >= ENOUGH_PICTURES


def _taken(offer: WebRtcOffer, tracks: Sequence[Track]) -> tuple[Track, ...]:
    return tuple(track for track in tracks if takes(offer, track))


def _has_sound(tracks: Sequence[Track]) -> bool:
    return any(track.kind is Kind.AUDIO for track in tracks)
