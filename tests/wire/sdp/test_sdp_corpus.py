"""Descriptions in the manner of real cameras and players, tests/corpus/sdp/."""

from __future__ import annotations

from mutation import CORPUS, assert_only_peer_error

from appliance.media.aac import AacConfig
from appliance.media.h264 import H264Config
from appliance.media.h265 import H265Config
from appliance.wire.sdp.control import media_url
from appliance.wire.sdp.offers import Format, offers
from appliance.wire.sdp.parse import parse
from appliance.wire.sdp.session import Session

TEXTS = {path.stem: path.read_bytes() for path in sorted((CORPUS / "sdp").glob("*.sdp"))}
BASE = "rtsp://camera/live/"
HIK = "rtsp://192.0.2.64:554/Streaming/Channels/101/"
HEVC_HIK = "rtsp://192.0.2.65/Streaming/Channels/101/?transportmode=unicast&profile=Profile_1"
AXIS = "rtsp://192.0.2.90:554/axis-media/media.amp"
AXIS_QUERY = "?videocodec=h264&resolution=1920x1080"

# Of each offer: URL, then of each payload type: what it carries
EXPECTED = {
    "axis": [
        (f"{AXIS}/stream=0{AXIS_QUERY}", ["96 h264/90000 1920x1080"]),
        (f"{AXIS}/stream=1{AXIS_QUERY}", ["97 opus/48000 48000 Hz x1"]),
    ],
    "axis_mjpeg": [
        (f"{BASE}trackID=1", ["26 mjpeg/90000 ?"]),
        (f"{BASE}trackID=2", ["10 l16/44100 44100 Hz x2"]),
    ],
    "bare": [(BASE, ["96 h264/90000 ?"]), (BASE, ["0 pcmu/8000 8000 Hz x1"])],
    "dahua": [
        (f"{BASE}trackID=0", ["96 h264/90000 1920x1080"]),
        (f"{BASE}trackID=1", ["97 aac/48000 48000 Hz x1"]),
    ],
    "ffmpeg_push": [
        (f"{BASE}streamid=0", ["96 h264/90000 320x240"]),
        (f"{BASE}streamid=1", ["97 aac/48000 48000 Hz x2"]),
    ],
    "gstreamer": [
        (f"{BASE}stream=0", ["96 h265/90000 320x240"]),
        (f"{BASE}stream=1", ["97 aac/44100 44100 Hz x2"]),
    ],
    "hikvision": [
        (f"{HIK}trackID=1", ["96 h264/90000 1920x1080"]),
        (f"{HIK}trackID=2", ["8 pcma/8000 8000 Hz x1"]),
    ],
    "hikvision_hevc_backchannel": [
        (
            f"{HEVC_HIK}/trackID=1?transportmode=unicast&profile=Profile_1",
            ["96 h265/90000 1920x1080"],
        ),
        (
            f"{HEVC_HIK}/trackID=2?transportmode=unicast&profile=Profile_1",
            ["104 aac/16000 16000 Hz x1"],
        ),
    ],
    "live555_file": [
        (f"{BASE}track1", ["- 14: the encoding 'MPA' is not one we know"]),
        (f"{BASE}track2", ["96 h264/90000 638x362"]),
    ],
    "obs_whip": [(BASE, ["111 opus/48000 48000 Hz x2"]), (BASE, ["96 h264/90000 ?"])],
    "onvif_backchannel": [
        ("rtsp://192.0.2.93/video", ["26 mjpeg/90000 ?"]),
        ("rtsp://192.0.2.93/audio", ["0 pcmu/8000 8000 Hz x1"]),
    ],
    "reolink": [
        (f"{BASE}track1", ["96 h264/90000 160x120"]),
        (f"{BASE}track2", ["97 aac/16000 16000 Hz x1"]),
    ],
    "tapo": [
        (f"{BASE}track1", ["96 h264/90000 1920x1080"]),
        (f"{BASE}track2", ["8 pcma/8000 8000 Hz x1"]),
    ],
    "two_rtpmaps": [
        (f"{BASE}video?mode=live&stream=0", ["96 h265/90000 ?", "97 h264/90000 638x362"]),
        (
            f"{BASE}audio?mode=live&stream=0",
            [
                "8 pcma/8000 8000 Hz x1",
                "0 pcmu/8000 8000 Hz x1",
                "- 101: the encoding 'telephone-event' is not one we know",
            ],
        ),
    ],
    "v4l2rtspserver": [
        (f"{BASE}track1", ["96 h264/90000 638x362"]),
        (f"{BASE}track2", ["97 l16/44100 44100 Hz x2"]),
    ],
    "webrtc_offer": [
        (
            BASE,
            [
                "111 opus/48000 48000 Hz x2",
                "0 pcmu/8000 8000 Hz x1",
                "8 pcma/8000 8000 Hz x1",
                "- 63: the encoding 'red' is not one we know",
                "- 110: the encoding 'telephone-event' is not one we know",
            ],
        ),
        (
            BASE,
            [
                "102 h264/90000 ?",
                "45 av1/90000 ?",
                "- 103: the encoding 'rtx' is not one we know",
                "- 46: the encoding 'rtx' is not one we know",
            ],
        ),
    ],
    "wyze": [
        (f"{BASE}trackID=0", ["96 h264/90000 1920x1080"]),
        (f"{BASE}trackID=1", ["11 l16/16000 16000 Hz x1"]),
    ],
}


def account(session: Session) -> list[tuple[str, list[str]]]:
    return [
        (
            media_url(BASE, session, offer.media),
            [
                *map(words, offer.formats.values()),
                *(f"- {number}: {why}" for number, why in offer.refused.items()),
            ],
        )
        for offer in offers(session)
    ]


def words(found: Format) -> str:
    config = found.config
    if config is None:
        told = "?"
    elif isinstance(config, H264Config | H265Config):
        told = f"{config.width_px}x{config.height_px}"
    else:
        told = f"{config.sample_rate_hz} Hz x{config.channels}"
    assert config is None or config.codec is found.codec
    return f"{found.payload_type} {found.codec}/{found.clock_rate_hz} {told}"


def test_corpus_of_cameras_says_what_they_send() -> None:
    assert {name: account(parse(text)) for name, text in TEXTS.items()} == EXPECTED


def test_corpus_with_crlf_and_a_nul_at_its_end_says_the_same() -> None:
    for name, text in TEXTS.items():
        assert account(parse(text.replace(b"\n", b"\r\n") + b"\0")) == EXPECTED[name]


def test_corpus_printed_and_parsed_is_the_same() -> None:
    for text in TEXTS.values():
        session = parse(text)
        packed = session.pack()
        assert parse(packed) == session
        assert parse(packed).pack() == packed


def test_corpus_damaged_raises_nothing_but_peer_error() -> None:
    def read(data: bytes) -> None:
        session = parse(data)
        account(session)
        assert parse(session.pack()).media == session.media
        for offer in offers(session):
            _ = offer.media.ptime_ms
            for found in offer.formats.values():
                found.depacketizer()

    assert_only_peer_error(read, list(TEXTS.values()), count=1500)


def test_corpus_he_aac_config_of_ffmpeg_describes_its_core() -> None:
    found = offers(parse(TEXTS["ffmpeg_push"]))[1].format
    assert found is not None and found.config == AacConfig(bytes.fromhex("119056e500"))
