from __future__ import annotations

import base64

import pytest
from container_samples import avc_config, hevc_config

from appliance.errors import CodecUnsupported
from appliance.media.aac import AacConfig
from appliance.media.av1 import Av1Config
from appliance.media.g711 import G711Config
from appliance.media.l16 import L16Config
from appliance.media.mjpeg import MjpegConfig
from appliance.media.nal import join_annexb
from appliance.media.opus import OpusConfig
from appliance.media.track import Codec, CodecConfig, Track
from appliance.wire.rtp.packet import RtpPacket
from appliance.wire.sdp.offers import MAX_FORMATS, Format, Offer, offers
from appliance.wire.sdp.parameter_sets import h264_config, h265_config
from appliance.wire.sdp.parse import parse
from appliance.wire.sdp.session import Session
from appliance.wire.sdp.tracks import describe, packetizer, rtp_clock_rate_hz, session_of

AVC, HEVC = avc_config(), hevc_config()
AV1 = Av1Config(bytes.fromhex("000000043cffbc4af9008040"))
SENT: dict[str, CodecConfig] = {
    "m=video 0 RTP/AVP 96 H264/90000": AVC,
    "m=video 0 RTP/AVP 96 H265/90000": HEVC,
    "m=video 0 RTP/AVP 96 AV1/90000": AV1,
    "m=audio 0 RTP/AVP 96 mpeg4-generic/48000/2": AacConfig.lc(48_000, 2),
    "m=audio 0 RTP/AVP 96 opus/48000/2": OpusConfig(1, pre_skip_samples=0),
    "m=audio 0 RTP/AVP 8 PCMA/8000": G711Config(Codec.PCMA),
    "m=audio 0 RTP/AVP 0 PCMU/8000": G711Config(Codec.PCMU),
    "m=audio 0 RTP/AVP 96 PCMU/16000/2": G711Config(Codec.PCMU, 16_000, 2),
    "m=audio 0 RTP/AVP 10 L16/44100/2": L16Config(44_100, 2),
    "m=audio 0 RTP/AVP 96 L16/48000": L16Config(48_000, 1),
}


def offer(kind: str, formats: str, *attributes: str) -> Offer:
    lines = [f"m={kind} 0 RTP/AVP {formats}", *(f"a={line}" for line in attributes)]
    (found,) = offers(parse("\n".join(lines)))
    return found


def taken(kind: str, rtpmap: str, fmtp: str = "") -> Format:
    found = offer(kind, "96", f"rtpmap:96 {rtpmap}", f"fmtp:96 {fmtp}").format
    assert found is not None
    return found


def refusal(kind: str, rtpmap: str, fmtp: str = "") -> str:
    found = offer(kind, "96", f"rtpmap:96 {rtpmap}", f"fmtp:96 {fmtp}")
    assert found.format is None
    return found.refused[96]


def packet(payload: bytes) -> RtpPacket:
    return RtpPacket(96, 0, 0, 1, True, payload)


def b64(*nals: bytes) -> str:
    return ",".join(base64.b64encode(nal).decode() for nal in nals)


@pytest.mark.parametrize(("line", "config"), SENT.items(), ids=lambda value: str(value)[:40])
def test_track_described_by_us_is_what_a_player_reads(line: str, config: CodecConfig) -> None:
    media = describe(Track(1, config), 96, "track1")
    head, _, encoding = line.rpartition(" ")
    assert next(iter(media.lines())) == head
    assert media.value("rtpmap") == f"{head.split()[-1]} {encoding}"
    (found,) = offers(parse(Session(media=[media]).pack()))
    assert found.media.control == "track1" and found.format is not None
    expected = None if config is AV1 else config  # which says so in band
    assert found.format.config == found.format.depacketizer().config == expected
    assert found.format.codec is config.codec
    assert found.format.clock_rate_hz == rtp_clock_rate_hz(config)
    assert found.kind is config.kind
    assert hasattr(packetizer(config, 500), "payloads")


def test_session_of_tracks_is_live_and_tells_them_apart_by_id() -> None:
    tracks = [Track(3, AVC), Track(7, AacConfig.lc(48_000, 2)), Track(9, G711Config(Codec.PCMA))]
    session = parse(session_of(tracks, "cam").pack())
    assert (session.name, session.control, session.range) == ("cam", "*", "npt=now-")
    assert [(one.formats, one.control) for one in session.media] == [
        (("96",), "trackID=3"),
        (("97",), "trackID=7"),
        (("8",), "trackID=9"),
    ]
    with pytest.raises(CodecUnsupported):
        session_of([*tracks, Track(10, MjpegConfig(64, 48))], "cam")


@pytest.mark.parametrize(
    "config",
    [MjpegConfig(64, 48), OpusConfig(6, 312, 48_000, 0, 1, bytes((4, 2, 0, 4, 1, 2, 3, 5)))],
)
def test_track_that_we_cannot_send_is_unsupported(config: CodecConfig) -> None:
    with pytest.raises(CodecUnsupported):
        describe(Track(1, config), 96, "track1")


def test_codec_without_packets_is_unsupported() -> None:
    for ask in (rtp_clock_rate_hz, packetizer):
        with pytest.raises(CodecUnsupported):
            ask(MjpegConfig(64, 48))


SPS, PPS = AVC.sps[0], AVC.pps[0]


@pytest.mark.parametrize(
    "text",
    [
        b64(SPS, PPS),
        b64(SPS, PPS) + ",",
        "," + b64(PPS, SPS) + ",,",
        b64(SPS, PPS).replace("=", ""),
        b64(join_annexb([SPS]), join_annexb([PPS])),
        b64(join_annexb([SPS, PPS])),
        b64(SPS, b"\0\0\1" + PPS),
        b64(SPS, PPS, SPS, PPS),
    ],
)
def test_parameter_sets_are_read_however_cameras_write_them(text: str) -> None:
    assert h264_config({"sprop-parameter-sets": text}) == AVC


@pytest.mark.parametrize(
    "text",
    ["", ",", "A", "%%%%", b64(SPS), b64(PPS), b64(SPS[:3], PPS), b64(b"\0\0\1"), b64(b"\0")],
)
def test_parameter_sets_that_cannot_be_used_come_in_band(text: str) -> None:
    assert h264_config({"sprop-parameter-sets": text}) is None
    assert h265_config({"sprop-vps": text, "sprop-sps": text, "sprop-pps": text}) is None


def test_hevc_parameter_sets_are_read_with_a_vps_that_stands_elsewhere() -> None:
    mixed = {"sprop-sps": b64(*HEVC.vps, *HEVC.sps), "sprop-pps": b64(*HEVC.pps)}
    assert h265_config(mixed) == HEVC


@pytest.mark.parametrize("name", ["H265", "h265", "HEVC"])
def test_hevc_is_known_by_both_its_names(name: str) -> None:
    assert taken("video", f"{name}/90000").codec is Codec.H265


def test_interleaved_video_is_refused() -> None:
    assert "interleaved" in refusal("video", "H264/90000", "packetization-mode=2")
    assert "interleaved" in refusal("video", "H265/90000", "sprop-max-don-diff=3")


@pytest.mark.parametrize(
    ("rtpmap", "fmtp", "config"),
    [
        ("MPEG4-GENERIC/16000/1", "config=1408", AacConfig.lc(16_000, 1)),
        ("mpeg4-generic/16000", "", AacConfig.lc(16_000, 1)),
        ("MP4A-LATM/16000", "cpresent=0;config=400028103fc0", AacConfig.lc(16_000, 1)),
        ("MP4A-LATM/16000", "config=400028103fc0", AacConfig.lc(16_000, 1)),
        ("MP4A-LATM/16000", "", None),
    ],
)
def test_aac_is_described_by_its_config_or_its_clock(
    rtpmap: str, fmtp: str, config: AacConfig | None
) -> None:
    found = taken("audio", rtpmap, fmtp)
    assert (found.codec, found.config) == (Codec.AAC, config)


@pytest.mark.parametrize(
    ("rtpmap", "fmtp"),
    [
        ("MPEG4-GENERIC/16000/1", "config=zz"),
        ("MPEG4-GENERIC/16000/1", "config=FF"),
        ("MPEG4-GENERIC/16000/1", "config=" + "00" * 2000),
        ("MPEG4-GENERIC/16000/1", "mode=CELP-cbr"),
        ("MPEG4-GENERIC/12345678/1", ""),
        ("MP4A-LATM/16000", "cpresent=0"),
        ("MP4A-LATM/16000", "config=80"),
        ("opus/44100/2", ""),
        ("PCMA/8000/200", ""),
        ("L16/500/1", ""),
        ("vorbis/44100/2", ""),
        ("H264", ""),
    ],
)
def test_sound_that_cannot_be_read_is_refused_with_a_reason(rtpmap: str, fmtp: str) -> None:
    assert refusal("audio", rtpmap, fmtp)


def test_latm_with_cpresent_reads_configurations_in_band() -> None:
    element = b"\x80\xb0\x80"  # a bit: as before; a length of 1; the letter a
    described = taken("audio", "MP4A-LATM/16000", "cpresent=1;config=400028103fc0")
    (unit,) = described.depacketizer().push(packet(element), 0)
    assert unit.parts == (b"a",)
    in_band = taken("audio", "MP4A-LATM/16000", "cpresent=1").depacketizer()
    assert in_band.config is None and not in_band.push(packet(element), 0)


@pytest.mark.parametrize(
    ("fmtp", "channels"),
    [("", 2), ("sprop-stereo=1", 2), ("sprop-stereo=0", 1), ("stereo=1;sprop-stereo=0", 1)],
)
def test_opus_has_two_channels_unless_it_says_one(fmtp: str, channels: int) -> None:
    assert taken("audio", "opus/48000/2", fmtp).config == OpusConfig(channels, pre_skip_samples=0)


@pytest.mark.parametrize(
    "attribute",
    [
        "x-dimensions:2592,1944",
        "x-dimensions: 2592 , 1944",
        "framesize:26 2592-1944",
        "fmtp:26 x-dimensions=2592,1944",
    ],
)
def test_jpeg_has_the_size_of_the_description_where_its_header_cannot_say(attribute: str) -> None:
    found = offer("video", "26", attribute).format
    assert found is not None
    depacketizer = found.depacketizer()
    (unit,) = depacketizer.push(packet(b"\0\0\0\0\1\x32\0\0scan"), 0)
    assert unit.key and depacketizer.config == MjpegConfig(2592, 1944)


def test_several_payload_types_are_offered_in_the_order_of_the_sender() -> None:
    found = offer(
        "video",
        "97 96 97 98",
        "rtpmap:96 H264/90000",
        "rtpmap:97 H265/90000",
        "rtpmap:98 VP8/90000",
    )
    assert list(found.formats) == [97, 96]
    assert found.format is not None and found.format.codec is Codec.H265
    assert list(found.refused) == [98]
    assert "'VP8'" in found.refused[98]


def test_payload_type_that_only_its_rtpmap_names_is_offered() -> None:
    found = offer("video", "96", "rtpmap:97 H264/90000")
    assert list(found.formats) == [97] and list(found.refused) == [96]


def test_payload_types_are_bounded() -> None:
    found = offer("audio", " ".join(map(str, range(128))))
    assert len(found.formats) + len(found.refused) == MAX_FORMATS


def kinds(*lines: str) -> list[str]:
    return [found.media.control or "" for found in offers(parse("\n".join(lines)))]


CAMERA = ("m=video 0 RTP/AVP 26", "a=control:v")
BACK = ("m=audio 0 RTP/AVP 0", "a=control:back", "a=sendonly")


def test_sound_to_the_camera_and_metadata_are_left_out() -> None:
    metadata = ("m=application 0 RTP/AVP 107", "a=rtpmap:107 vnd.onvif.metadata/90000")
    assert kinds(*CAMERA, "a=recvonly", *BACK, *metadata) == ["v"]
    assert kinds(*CAMERA, *BACK) == ["v"]
    assert kinds("a=recvonly", *CAMERA, *BACK) == ["v"]


def test_inactive_media_is_left_out() -> None:
    assert kinds(*CAMERA, "m=audio 0 RTP/AVP 0", "a=control:a", "a=inactive") == ["v"]


def test_description_from_the_senders_view_is_played_all_the_same() -> None:
    assert kinds(*CAMERA, "a=sendonly", *BACK) == ["v", "back"]
    assert kinds("a=sendonly", *CAMERA, "m=audio 0 RTP/AVP 0", "a=control:a") == ["v", "a"]
