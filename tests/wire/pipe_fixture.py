"""Tracks and units with real codec configurations, and a conversation over the pipe as bytes."""

from __future__ import annotations

from appliance.media.aac import AacConfig
from appliance.media.g711 import G711Config
from appliance.media.h264 import H264Config
from appliance.media.h265 import H265Config
from appliance.media.l16 import L16Config
from appliance.media.mp3 import Mp3Config
from appliance.media.opus import OpusConfig
from appliance.media.track import Codec, Track
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.connection import Pipe, Role
from appliance.wire.pipe.messages import (
    Answer,
    Event,
    Fault,
    Health,
    Picture,
    Reason,
    State,
)

H264 = H264Config(
    (bytes.fromhex("6764001facb402802dd350101014000003000400000300f23c60ca80"),),
    (bytes.fromhex("68ef3cb0"),),
)
H265 = H265Config(
    (bytes.fromhex("40010c01ffff01600000030090000003000003003c959809"),),
    (
        bytes.fromhex(
            "42010101600000030090000003000003003ca00a080f165959a4932bc05a020000030002000003003210"
        ),
    ),
    (bytes.fromhex("4401c172b46240"),),
)
VIDEO = Track(1, H264)
AUDIO = Track(2, AacConfig.lc(48_000, 1), 48_000)
TRACKS_OF_ALL_CODECS = (
    VIDEO,
    Track(3, H265),
    AUDIO,
    Track(4, OpusConfig(channels=2), 48_000),
    Track(5, G711Config(Codec.PCMA), 8_000),
    Track(6, G711Config(Codec.PCMU, 16_000, 2), 16_000),
    Track(7, L16Config(44_100, 2), 44_100),
    Track(8, Mp3Config(44_100, 2, 1152, is_mpeg1=True), 44_100),
)


def video_unit(dts_us: int = 1_000_000, *, key: bool = True, reorder_us: int = 0) -> AccessUnit:
    return AccessUnit(VIDEO, dts_us, dts_us + reorder_us, key, (b"\x06sei", b"\x65" + bytes(300)))


def audio_unit(dts_us: int = 1_000_000) -> AccessUnit:
    return AccessUnit(AUDIO, dts_us, dts_us, True, (b"frame",))


REPORTS: list[Event] = [
    TRACKS_OF_ALL_CODECS,
    video_unit(),
    audio_unit(),
    Health(dropped_frames=3, late_us=4_000, rss_bytes=50 << 20),
    State({"device": "/dev/video0", "controls": {"gain": {"min": 0.5}}, "sound": None}),
    Answer(3, "gain = 9: give 1 to 8"),
    Picture(4, 5_000_000, 1280, 720, b"\xff\xd8\xff\xd9"),
    Picture(5, error="there is no picture yet"),
    (VIDEO,),
    video_unit(2_000_000, key=False, reorder_us=-40_000),
    Fault(Reason.SOURCE_MISSING, "/clip.mp4 does not exist: put the file there"),
]


def spoken(role: Role, events: list[Event]) -> bytes:
    """What this end writes to say all this."""
    pipe = Pipe(role)
    for event in events:
        pipe.send(event)
    return pipe.take_output()
