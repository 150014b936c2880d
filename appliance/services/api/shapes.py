"""Streams, clients and vhosts in the shapes of SRS's API; what is ours is under ``porthole``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.hub.alternatives import Alternative
from appliance.hub.cameras import Camera
from appliance.hub.sessions import Session, Sessions
from appliance.hub.stream import Stream
from appliance.media.aac import AacConfig
from appliance.media.h264 import H264Config
from appliance.media.h265 import H265Config
from appliance.media.track import Codec, Kind, Track
from appliance.services.api.envelope import make_id

VHOST = "__defaultVhost__"
VHOST_ID = make_id(f"vhost {VHOST}")

VIDEO_CODECS = {Codec.H264: "H264", Codec.H265: "HEVC", Codec.AV1: "AV1", Codec.VP9: "VP9"}
AUDIO_CODECS = {
    Codec.AAC: "AAC",
    Codec.OPUS: "Opus",
    Codec.MP3: "MP3",
    Codec.FLAC: "FLAC",
    Codec.AC3: "AC-3",
    Codec.EAC3: "E-AC-3",
}
# ISO/IEC 14496-10 §A.2, ISO/IEC 23008-2 §A.3, in SRS's spelling
H264_PROFILES = {
    66: "Baseline",
    77: "Main",
    88: "Extended",
    100: "High",
    110: "High(10)",
    122: "High(422)",
    244: "High(444+Predictive)",
}
H265_PROFILES = {1: "Main", 2: "Main10", 3: "MainStill", 4: "Rext"}
AAC_PROFILES = {1: "Main", 2: "LC", 3: "SSR", 5: "HE", 29: "HEv2"}


@dataclass(frozen=True, slots=True)
class Audience:
    """The sessions of each stream, gathered once per request."""

    by_stream: dict[str, list[Session]]

    @classmethod
    def of(cls, sessions: Sessions) -> Audience:
        by_stream: dict[str, list[Session]] = defaultdict(list)
        for session in sessions.active.values():
            by_stream[session.stream].append(session)
        return cls(dict(by_stream))

    def on(self, stream: str) -> Sequence[Session]:
        return self.by_stream.get(stream, ())

    def viewers(self, stream: str) -> int:
        return sum(not session.is_publisher for session in self.on(stream))

    def publisher(self, stream: str) -> Session | None:
        return next((session for session in self.on(stream) if session.is_publisher), None)


def stream_id(name: str) -> str:
    return make_id(f"stream {name}")


def split_name(name: str) -> tuple[str, str]:
    """(app, stream) as RTMP divides a name: at its last slash."""
    app, _, stream = name.rpartition("/")
    return app, stream


def tc_url(host: str, name: str) -> str:
    return f"rtmp://{host}/{split_name(name)[0]}"


def kbps(received_bps: int, sent_bps: int) -> dict[str, int]:
    return {"recv_30s": received_bps // 1000, "send_30s": sent_bps // 1000}


def stream_shape(
    stream: Stream, sessions: Sessions, audience: Audience, host: str, camera: Camera | None
) -> dict[str, Any]:
    """`host`: of tcUrl. `camera`: that makes it, if one does."""
    now_us = stream.clock.monotonic_us()
    app, name = split_name(stream.name)
    publisher = audience.publisher(stream.name)
    publish: dict[str, Any] = {"active": stream.publisher is not None}
    if publisher is not None:
        publish["cid"] = publisher.slug
    figures = stream.stats.values()
    return {
        "id": stream_id(stream.name),
        "name": name,
        "vhost": VHOST_ID,
        "app": app,
        "tcUrl": tc_url(host, stream.name),
        "url": f"/{stream.name}",
        "live_ms": stream.clock.unix_us() // 1000,
        "clients": audience.viewers(stream.name) + (stream.publisher is not None),
        "frames": _units(stream, Kind.VIDEO),
        "video_frames": _units(stream, Kind.VIDEO),
        "audio_frames": _units(stream, Kind.AUDIO),
        "send_bytes": sessions.sent_bytes(stream.name),
        "recv_bytes": sum(stats.rate.total_bytes for stats in figures),
        "kbps": kbps(
            sum(stats.rate.rate_bps(now_us) for stats in figures),
            sum(session.sent.rate_bps(now_us) for session in audience.on(stream.name)),
        ),
        "publish": publish,
        "video": _first(stream.tracks, Kind.VIDEO, video_shape),
        "audio": _first(stream.tracks, Kind.AUDIO, audio_shape),
        "porthole": _own_figures(stream, camera),
    }


def _own_figures(stream: Stream, camera: Camera | None) -> dict[str, Any]:
    rotations = [track.rotation_deg for track in stream.tracks if track.kind is Kind.VIDEO]
    age_us = stream.last_unit_age_us()
    return {
        "name": stream.name,
        "origin": stream.publisher.origin if stream.publisher is not None else None,
        "camera": None if camera is None else camera.name,
        "placeholder": stream.placeholder,
        "rotation": rotations[0] if rotations else 0,
        "permanent": stream.permanent,
        "restarts": stream.restarts,
        "frame_age_ms": None if age_us is None else age_us // 1000,
        "renditions": sorted(stream.renditions),
        "codecs": [track.config.rfc6381 for track in stream.tracks],
        "other_sounds": [_other_sound(one) for one in stream.alternatives.by_codec.values()],
    }


def _other_sound(alternative: Alternative) -> dict[str, Any]:
    """A form of the sound that viewers have who cannot have it as it is."""
    return audio_shape(alternative.track) | {
        "listeners": alternative.demand.viewers,
        "missing": alternative.is_missing,
        "frames": alternative.stats.units,
    }


def _units(stream: Stream, kind: Kind) -> int:
    return sum(stream.stats[track.id].units for track in stream.tracks if track.kind is kind)


def _first(tracks: Iterable[Track], kind: Kind, shape: Any) -> dict[str, Any] | None:
    track = next((track for track in tracks if track.kind is kind), None)
    return None if track is None else shape(track)


def video_shape(track: Track) -> dict[str, Any]:
    """profile and level are null for codecs whose SRS says nothing about them."""
    config: Any = track.config
    shape: dict[str, Any] = {"codec": VIDEO_CODECS.get(track.codec, "Other")}
    match config:
        case H264Config():
            profile = H264_PROFILES.get(config.profile_idc, "Other")
            shape |= {"profile": profile, "level": _level(config.level_idc, 10)}
        case H265Config():
            profile = H265_PROFILES.get(config.profile_idc, "Other")
            shape |= {"profile": profile, "level": _level(config.level_idc, 30)}
        case _:
            shape |= {"profile": None, "level": None}
    return shape | {
        "width": getattr(config, "width_px", 0),
        "height": getattr(config, "height_px", 0),
    }


def _level(level_idc: int, per_unit: int) -> str:
    """``3.1`` or ``4``: level_idc is 10 × the level in H.264, 30 × in HEVC."""
    return f"{level_idc / per_unit:.1f}".removesuffix(".0")


def audio_shape(track: Track) -> dict[str, Any]:
    config: Any = track.config
    profile = None
    if isinstance(config, AacConfig):
        profile = AAC_PROFILES.get(config.object_type, "Other")
    return {
        "codec": AUDIO_CODECS.get(track.codec, "Other"),
        "sample_rate": getattr(config, "sample_rate_hz", 0),
        "channel": getattr(config, "channels", 0),
        "profile": profile,
    }


def client_shape(session: Session, now_us: int, host: str) -> dict[str, Any]:
    """One connection, or one viewer of a protocol without connections."""
    path = session.url.partition("?")[0]
    file_name = path.rpartition("/")[2]
    return {
        "id": session.slug,
        "vhost": VHOST_ID,
        "stream": stream_id(session.stream) if session.stream else "",
        "ip": session.peer_ip,
        "pageUrl": session.page_url.partition("?")[0],
        "swfUrl": "",
        "tcUrl": tc_url(host, session.stream),
        "url": f"/{session.stream}" if session.stream else "",
        "name": file_name or split_name(session.stream)[1],
        "type": session.kind,
        "publish": session.is_publisher,
        "alive": (now_us - session.since_us) / 1_000_000,
        "send_bytes": session.sent.total_bytes,
        "recv_bytes": session.received.total_bytes,
        "kbps": kbps(session.received.rate_bps(now_us), session.sent.rate_bps(now_us)),
        "porthole": {
            "id": session.id,
            "stream": session.stream,
            "user_agent": session.user_agent,
            "lost_units": session.lost_units,
            "kickable": session.kick is not None,
        },
    }


def vhost_shape(sessions: Sessions, streams: int) -> dict[str, Any]:
    """The one there is."""
    now_us = sessions.clock.monotonic_us()
    active = sessions.active.values()
    return {
        "id": VHOST_ID,
        "name": VHOST,
        "enabled": True,
        "clients": len(active),
        "streams": streams,
        "send_bytes": sessions.sent_bytes(),
        "recv_bytes": sessions.received_bytes(),
        "kbps": kbps(
            sum(session.received.rate_bps(now_us) for session in active),
            sum(session.sent.rate_bps(now_us) for session in active),
        ),
        "hls": {"enabled": True},
    }
