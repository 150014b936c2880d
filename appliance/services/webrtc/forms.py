"""In which form a viewer can be sent a stream: as it is, or with its sound as Opus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.errors import CodecUnsupported
from appliance.hub.rendition import MuxerFactory
from appliance.hub.stream import Stream
from appliance.media.opus import OpusConfig
from appliance.media.track import CodecConfig, Kind, Track
from appliance.wire.sdp.rtp_muxer import RtpMuxer
from appliance.wire.sdp.webrtc import takes
from appliance.wire.sdp.webrtc_offer import WebRtcOffer


class OpusRtpMuxer(RtpMuxer):
    """Sound of any other kind is encoded anew."""

    def takes(self, config: CodecConfig) -> bool:
        return isinstance(config, OpusConfig) and not config.mapping_family


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
    native = Form("rtp", RtpMuxer, _taken(offer, stream.tracks))
    found = native
    if _has_sound(stream.tracks) and not _has_sound(native.tracks):
        opus = stream.alternatives.choose(OpusRtpMuxer()).tracks
        other = Form("rtp-opus", OpusRtpMuxer, _taken(offer, opus))
        found = other if _has_sound(other.tracks) else native
    if not found.tracks:
        codecs = ", ".join(str(track.codec) for track in stream.tracks)
        raise CodecUnsupported(f"the offer takes nothing of {stream.name}, which has {codecs}")
    return found


def _taken(offer: WebRtcOffer, tracks: Sequence[Track]) -> tuple[Track, ...]:
    return tuple(track for track in tracks if takes(offer, track))


def _has_sound(tracks: Sequence[Track]) -> bool:
    return any(track.kind is Kind.AUDIO for track in tracks)
