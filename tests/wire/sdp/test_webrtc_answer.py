"""Answers to offers of browsers: what is agreed, what is refused, and that nothing else escapes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

import pytest
from mutation import CORPUS, assert_only_peer_error

from appliance.errors import CodecUnsupported, PeerError
from appliance.media.av1 import Av1Config
from appliance.media.g711 import G711Config
from appliance.media.h264 import H264Config
from appliance.media.h265 import H265Config
from appliance.media.opus import OpusConfig
from appliance.media.track import Codec, CodecConfig, Kind, Track
from appliance.media.vp9 import Vp9Config
from appliance.wire.ice.candidate import host_candidates
from appliance.wire.ice.credentials import Credentials
from appliance.wire.sdp.offers import format_of
from appliance.wire.sdp.parameter_sets import h265_config
from appliance.wire.sdp.parse import parse
from appliance.wire.sdp.session import Direction, Media, Session
from appliance.wire.sdp.webrtc import (
    AgreedSection,
    Answer,
    LocalTransport,
    Sending,
    answer_player,
    answer_publisher,
    takes,
)
from appliance.wire.sdp.webrtc_codecs import best_match, best_to_take, h264_profile
from appliance.wire.sdp.webrtc_offer import (
    Extension,
    Fingerprint,
    OfferedCodec,
    WebRtcOffer,
    parse_offer,
)

OFFERS = {
    path.stem: path.read_bytes().decode() for path in sorted((CORPUS / "webrtc").glob("*.sdp"))
}
PLAY, PUBLISH = OFFERS["chromium_play"], OFFERS["chromium_publish"]
WITH_DATA = OFFERS["chromium_play_data"]
OBS = Path(CORPUS / "sdp" / "obs_whip.sdp").read_text()
HIGH = H264Config(  # 3.1, 640x360
    (bytes.fromhex("6764001facd940a02ff97011000003000100000300320f183196"),),
    (bytes.fromhex("68ebe3cb22c0"),),
)
H265_SETS = {
    "sprop-vps": "QAEMAf//AWAAAAMAkAAAAwAAAwA8lZQJ",
    "sprop-sps": "QgEBAWAAAAMAkAAAAwAAAwA8oAoIDxZZWVKTC8BaAgAAAwACAAADADIQ",
    "sprop-pps": "RAHAc8GJ",
}
H265 = cast(H265Config, h265_config(H265_SETS))  # Main
AV1 = Av1Config(bytes.fromhex("000000043cffbc4af9008040"))  # Main
VIDEO = Sending(Track(1, HIGH), 1111, 1112)
AUDIO = Sending(Track(2, OpusConfig()), 2222, 2223)
LOCAL = LocalTransport(
    Credentials("ourF", "ourPassword0123456789ab"),
    Fingerprint("sha-256", bytes(range(32))),
    tuple(host_candidates(["192.0.2.1"], 8000, 8000)),
)
# As Safari writes H.264 and HEVC, and Firefox its fmtp
H264 = "a=rtpmap:{0} H264/90000\na=fmtp:{0} packetization-mode={1};profile-level-id={2};{3}"
HEVC = (
    "a=rtpmap:104 H265/90000\n"
    "a=fmtp:104 level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST\n"
    "a=rtpmap:105 rtx/90000\na=fmtp:105 apt=104"
)
VP9 = "a=rtpmap:98 VP9/90000"
ANY_LEVEL = "level-asymmetry-allowed=1"


def play(text: str, *sendings: Sending) -> Answer:
    return answer_player(
        parse_offer(text), LOCAL, sendings or (VIDEO, AUDIO), session_id=7, name="live/camera"
    )


def publish(text: str, **preferences: tuple[str, ...]) -> Answer:
    return answer_publisher(parse_offer(text), LOCAL, session_id=7, **preferences)


def section(body: str, mid: str = "0", kind: str = "video", direction: str = "recvonly") -> str:
    payload_types = " ".join(re.findall(r"^a=rtpmap:(\d+)", body, re.MULTILINE)) or "0"
    return (
        f"m={kind} 9 UDP/TLS/RTP/SAVPF {payload_types}\nc=IN IP4 0.0.0.0\na=mid:{mid}\n"
        f"a={direction}\na=rtcp-mux\na=setup:actpass\na=ice-ufrag:abcd\n"
        f"a=ice-pwd:0123456789abcdefghijkl\n{FINGERPRINT}\n{body}\n"
    )


def offer(*sections: str) -> str:
    mids = " ".join(re.findall(r"a=mid:(\S+)", "".join(sections)))
    return f"v=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nt=0 0\na=group:BUNDLE {mids}\n" + "".join(sections)


FINGERPRINT = "a=fingerprint:sha-256 " + ":".join(["AB"] * 32)


def codecs(*lines: str) -> list[OfferedCodec]:
    return parse_offer(offer(section("\n".join(lines)))).sections[0].codecs


def h264(profile: str, *, payload_type: int = 96, mode: int = 1) -> str:
    return H264.format(payload_type, mode, profile, ANY_LEVEL)


def h264_config(profile_idc: int, constraint_flags: int) -> H264Config:
    sps = bytearray(HIGH.sps[0] if profile_idc >= 100 else bytes.fromhex("6742c01fda0280bfe5c0"))
    sps[1:3] = profile_idc, constraint_flags
    return H264Config((bytes(sps),), HIGH.pps)


def again(answer: Answer) -> Session:
    """What a peer reads of it."""
    return parse(answer.session.pack())


def value(media: Media, name: str) -> str:
    found = media.value(name)
    assert found is not None, name
    return found


def test_offer_of_chromium_is_read() -> None:
    found = parse_offer(PUBLISH)
    assert found.bundle == ("0", "1")
    assert [s.kind for s in found.sections] == ["video", "audio"]
    assert [s.direction for s in found.sections] == [Direction.SENDONLY] * 2
    assert len(found.fingerprints[0].digest) == 32
    assert found.fingerprints[0].value() in PUBLISH
    assert f"a=ice-ufrag:{found.credentials.ufrag}\r\n" in PUBLISH
    assert {c.protocol for c in found.candidates} == {"udp"}
    assert all(c.address.endswith(".local") and c.ip is None for c in found.candidates)
    vp8 = found.sections[0].codecs[0]
    assert (vp8.encoding, vp8.payload_type, vp8.rtx_payload_type) == ("VP8", 96, 97)
    assert vp8.feedback == {"goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"}
    assert found.sections[0].extensions == {
        Extension.ABS_SEND_TIME: 2,
        Extension.VIDEO_ORIENTATION: 3,
        Extension.TRANSPORT_CC: 4,
        Extension.PLAYOUT_DELAY: 5,
        Extension.MID: 9,
    }


def test_player_in_chromium_gets_picture_and_sound() -> None:
    answer = play(PLAY)
    video, audio = answer.sections
    assert answer.refusals == []
    assert (video.mid, video.direction, video.sending) == ("0", Direction.SENDONLY, VIDEO)
    assert video.codec.encoding == "H264"
    assert video.codec.rtx_payload_type is not None
    assert video.feedback == {"transport-cc", "ccm fir", "nack", "nack pli"}
    assert video.extensions.keys() == set(Extension)
    assert (audio.codec.encoding, audio.codec.payload_type) == ("OPUS", 111)
    assert audio.feedback == {"transport-cc"}
    assert Extension.VIDEO_ORIENTATION not in audio.extensions


def test_answer_has_what_chromium_insists_upon() -> None:
    session = again(play(PLAY))
    assert session.timing == "0 0"
    assert session.value("group") == "BUNDLE 0 1"
    assert session.value("ice-lite") == ""
    for media in session.media:
        assert media.port == 9
        assert media.direction is Direction.SENDONLY
        assert media.value("rtcp-mux") == media.value("rtcp-rsize") == ""
        assert value(media, "setup") == "passive"
        assert value(media, "ice-ufrag") == "ourF"
        assert value(media, "ice-pwd") == LOCAL.credentials.password
        assert value(media, "fingerprint") == LOCAL.fingerprint.value()
        assert value(media, "msid").startswith("live-camera ")
        for payload_type in media.payload_types:
            assert media.rtpmap(payload_type) is not None
    first, second = session.media
    assert len(list(first.values("candidate"))) == 2
    assert first.value("end-of-candidates") == ""
    assert second.value("candidate") is None
    assert value(first, "ssrc-group") == "FID 1111 1112"
    assert list(second.values("ssrc")) == ["2222 cname:live-camera"]


def test_true_level_is_told_and_the_profile_is_the_offered_one() -> None:
    """RFC 6184 §8.2.2: the profile is the same in both directions, the level need not be."""
    video = again(play(offer(section(h264("64000a"))))).media[0]
    assert video.fmtp(96)["profile-level-id"] == "64001f"
    fixed = offer(section(H264.format(96, 1, "64000a", "")))
    assert again(play(fixed)).media[0].fmtp(96)["profile-level-id"] == "64000a"
    video = again(play(PLAY)).media[0]
    assert video.fmtp(video.payload_types[0])["profile-level-id"] == "4d001f"


@pytest.mark.parametrize(
    ("config", "offered", "chosen"),
    [
        (HIGH, ["42e01f", "640c1f", "4d001f"], "640c1f"),
        (HIGH, ["42001f", "42e01f", "4d001f", "f4001f"], "4d001f"),
        (HIGH, ["42001f", "42e01f"], "42e01f"),
        (HIGH, ["f4001f"], "f4001f"),
        (h264_config(66, 0xC0), ["42001f", "42e01f", "64001f"], "42e01f"),
        (h264_config(66, 0), ["42e01f", "42001f"], "42001f"),
        (h264_config(66, 0xC0), ["42001f", "4d001f"], "42001f"),
        (h264_config(66, 0xC0), ["4d001f", "64001f"], "4d001f"),
        (h264_config(77, 0x40), ["42e01f", "4d001f", "64001f"], "4d001f"),
        (h264_config(77, 0x40), ["42e01f", "64001f"], "64001f"),
    ],
)
def test_nearest_h264_profile_is_chosen(
    config: H264Config, offered: list[str], chosen: str
) -> None:
    lines = [h264(profile, payload_type=96 + n) for n, profile in enumerate(offered)]
    found = best_match(codecs(*lines), config)
    assert found is not None
    assert bytes(h264_profile(found)).hex() == chosen


def test_h264_without_fragments_is_no_way_to_send() -> None:
    single = codecs(h264("64001f", mode=0))
    assert best_match(single, HIGH) is None
    assert best_to_take(single, ["H264"]) is single[0]


@pytest.mark.parametrize(
    ("config", "lines", "payload_type"),
    [
        (Vp9Config(profile=2), [VP9, "a=rtpmap:99 VP9/90000", "a=fmtp:99 profile-id=2"], 99),
        (Vp9Config(profile=1), [VP9], None),
        (H265, ["a=rtpmap:96 H265/90000", "a=fmtp:96 profile-id=2", HEVC], 104),
        (H265, ["a=rtpmap:96 H265/90000"], 96),  # Main, where nothing is said
        (H265, ["a=rtpmap:96 H265/90000", "a=fmtp:96 profile-id=1;tx-mode=MRST"], None),
        (AV1, ["a=rtpmap:45 AV1/90000", "a=fmtp:45 level-idx=5;profile=0;tier=0"], 45),
        (AV1, ["a=rtpmap:47 AV1/90000", "a=fmtp:47 profile=1", "a=rtpmap:45 AV1/90000"], 45),
        (AV1, ["a=rtpmap:47 AV1/90000", "a=fmtp:47 profile=1"], 47),
        (OpusConfig(1), ["a=rtpmap:96 opus/48000/2"], 96),
        (OpusConfig(2), ["a=rtpmap:96 OPUS/48000"], 96),
        (OpusConfig(2), ["a=rtpmap:96 opus/16000/2"], None),
        (G711Config(Codec.PCMA, 8000, 1), ["a=rtpmap:8 PCMA/8000"], 8),
        (G711Config(Codec.PCMA, 16000, 1), ["a=rtpmap:8 PCMA/8000"], None),
        (G711Config(Codec.PCMU, 8000, 1), ["a=rtpmap:8 PCMA/8000"], None),
    ],
)  # fmt: skip
def test_codec_is_matched_by_what_decides(
    config: CodecConfig, lines: list[str], payload_type: int | None
) -> None:
    found = best_match(codecs(*lines), config)
    assert (found and found.payload_type) == payload_type


def test_hevc_is_answered_as_it_was_offered() -> None:
    answer = play(offer(section(HEVC)), Sending(Track(1, H265), 1, 2))
    video = again(answer).media[0]
    assert video.formats == ("104", "105")
    assert video.fmtp(104) == {
        "level-id": "93",
        "profile-id": "1",
        "tier-flag": "0",
        "tx-mode": "SRST",
    }
    assert answer.sections[0].codec.rtx_payload_type == 105


def test_opus_says_whether_it_is_stereo() -> None:
    mono = Sending(Track(2, OpusConfig(1)), 1, 2)
    assert "stereo" not in again(play(PLAY, mono)).media[1].fmtp(111)
    assert again(play(PLAY, AUDIO)).media[1].fmtp(111) == {
        "minptime": "10",
        "useinbandfec": "1",
        "stereo": "1",
        "sprop-stereo": "1",
    }


def test_publisher_in_chromium_sends_h264_and_opus() -> None:
    answer = publish(PUBLISH)
    assert [s.codec.encoding for s in answer.sections] == ["H264", "OPUS"]
    assert {s.direction for s in answer.sections} == {Direction.RECVONLY}
    video, audio = again(answer).media
    assert {video.direction, audio.direction} == {Direction.RECVONLY}
    fmtp = video.fmtp(video.payload_types[0])
    assert fmtp["profile-level-id"] == "420034", "any level, or Chromium sends none above 3.1"
    assert fmtp["packetization-mode"] == "1"
    assert audio.fmtp(111)["stereo"] == "1"
    assert video.value("msid") is None and video.value("ssrc") is None


@pytest.mark.parametrize("encoding", ["VP8", "VP9", "AV1", "H264"])
def test_publisher_is_asked_for_the_encoding_that_is_preferred(encoding: str) -> None:
    answer = publish(PUBLISH, video=(encoding,), audio=("PCMA", "PCMU"))
    assert [s.codec.encoding for s in answer.sections] == [encoding, "PCMA"]


def test_what_a_publisher_sends_can_be_taken_apart() -> None:
    for text in (PUBLISH, OBS, OFFERS["gstreamer_publish"]):
        for agreed in publish(text).sections:
            found = format_of(agreed.offered.media, agreed.codec.payload_type)
            assert found.codec.upper() == agreed.codec.encoding
            assert found.depacketizer() is not None


def test_publisher_with_session_wide_transport_is_answered() -> None:
    answer = publish(OBS)
    assert [(s.mid, s.kind, s.codec.encoding) for s in answer.sections] == [
        ("0", Kind.AUDIO, "OPUS"),
        ("1", Kind.VIDEO, "H264"),
    ]
    assert answer.sections[1].codec.rtx_payload_type is None
    assert answer.sections[1].extensions == {}
    assert answer.sections[1].feedback == {"nack", "nack pli"}


def test_player_of_gstreamer_is_answered() -> None:
    """It says nothing of packetization, of Opus' channels, nor of NACK."""
    answer = play(OFFERS["gstreamer_play"])
    assert [(s.mid, s.codec.encoding) for s in answer.sections] == [
        ("video0", "H264"),
        ("audio1", "OPUS"),
    ]
    video, audio = again(answer).media
    assert video.fmtp(96)["packetization-mode"] == "1"
    assert value(audio, "rtpmap") == "97 opus/48000/2"
    assert answer.sections[0].feedback == {"nack pli", "ccm fir"}


def test_player_of_aiortc_is_answered() -> None:
    offered = parse_offer(OFFERS["aiortc_play"])
    assert [f.algorithm for f in offered.fingerprints] == ["sha-256", "sha-384", "sha-512"]
    answer = play(OFFERS["aiortc_play"])
    assert [s.codec.payload_type for s in answer.sections] == [101, 96]
    assert answer.sections[0].feedback == {"nack", "nack pli"}


def test_publisher_of_ffmpeg_leaves_the_handshake_to_us() -> None:
    offered = parse_offer(OFFERS["ffmpeg_publish"])
    assert offered.is_waiting
    answer = publish(OFFERS["ffmpeg_publish"])
    assert [s.codec.encoding for s in answer.sections] == ["OPUS", "H264"]
    assert {value(media, "setup") for media in again(answer).media} == {"active"}
    assert not parse_offer(PLAY).is_waiting


def test_publisher_of_gstreamer_is_answered() -> None:
    """Its sections are sendrecv."""
    answer = publish(OFFERS["gstreamer_publish"])
    assert [s.codec.encoding for s in answer.sections] == ["H264"]
    assert again(answer).media[0].direction is Direction.RECVONLY


def test_data_channel_is_refused_and_media_are_not() -> None:
    answer = play(WITH_DATA)
    assert len(answer.sections) == 2
    assert "data channels are not served" in answer.refusals
    session = again(answer)
    assert session.value("group") == "BUNDLE 0 1"
    data = session.media[2]
    assert (data.kind, data.port, data.protocol) == ("application", 0, "UDP/DTLS/SCTP")
    assert data.formats == ("webrtc-datachannel",)
    assert value(data, "mid") == "2"


def test_section_with_nothing_for_it_is_inactive_and_stays_in_the_bundle() -> None:
    """Chromium 156 refuses an answer that rejects the first section of max-bundle."""
    answer = play(PLAY, AUDIO)
    session = again(answer)
    assert [m.direction for m in session.media] == [Direction.INACTIVE, Direction.SENDONLY]
    assert session.value("group") == "BUNDLE 0 1"
    assert session.media[0].value("candidate") is not None
    assert [s.mid for s in answer.sections] == ["1"]
    assert answer.refusals == ["nothing for a section of video"]


def test_section_without_a_codec_of_ours_is_rejected() -> None:
    text = offer(
        section("a=rtpmap:96 H263/90000"), section("a=rtpmap:111 opus/48000/2", "1", "audio")
    )
    session = again(play(text))
    assert (session.media[0].port, session.media[0].formats) == (0, ("96",))
    assert session.value("group") == "BUNDLE 1"
    assert session.media[1].value("candidate") is not None


def test_bundle_only_section_is_not_rejected_by_its_port() -> None:
    audio = section("a=rtpmap:111 opus/48000/2\na=bundle-only", "1", "audio")
    text = offer(section(h264("64001f")), audio.replace("m=audio 9", "m=audio 0"))
    assert len(play(text).sections) == 2
    assert len(play(text.replace("a=bundle-only\n", "")).sections) == 1


def test_second_section_of_a_kind_gets_nothing() -> None:
    body = h264("64001f")
    answer = play(offer(section(body), section(body, "1")), VIDEO)
    assert [s.mid for s in answer.sections] == ["0"]
    other = Sending(Track(3, HIGH), 5, 6)
    both = play(offer(section(body), section(body, "1")), VIDEO, other)
    assert [(s.mid, s.sending) for s in both.sections] == [("0", VIDEO), ("1", other)]
    twice = publish(
        offer(section(body, direction="sendonly"), section(body, "1", direction="sendonly"))
    )
    assert [m.direction for m in again(twice).media] == [Direction.RECVONLY, Direction.INACTIVE]


@pytest.mark.parametrize(
    ("offered", "for_player", "for_publisher"),
    [
        ("sendrecv", Direction.SENDONLY, Direction.RECVONLY),
        ("recvonly", Direction.SENDONLY, None),
        ("sendonly", None, Direction.RECVONLY),
        ("inactive", None, None),
    ],
)
def test_direction_is_answered(
    offered: str, for_player: Direction | None, for_publisher: Direction | None
) -> None:
    text = offer(section(h264("64001f"), direction=offered))
    for wanted, make in ((for_player, play), (for_publisher, publish)):
        if wanted is None:
            with pytest.raises(CodecUnsupported):
                make(text)
        else:
            answer = make(text)
            assert answer.sections[0].direction is again(answer).media[0].direction is wanted


def test_player_without_the_codec_is_told_which() -> None:
    vp8 = offer(section("a=rtpmap:96 VP8/90000"))
    with pytest.raises(CodecUnsupported, match="takes no h264 video"):
        play(vp8, VIDEO)
    assert not takes(parse_offer(vp8), VIDEO.track)
    assert takes(parse_offer(PLAY), VIDEO.track)
    assert not takes(parse_offer(PUBLISH), VIDEO.track), "it wants to send"


def test_feedback_for_every_payload_type_is_taken() -> None:
    body = h264("64001f") + "\na=rtcp-fb:* nack\na=rtcp-fb:* transport-cc"
    answer = play(offer(section(body)), VIDEO)
    assert answer.sections[0].feedback == {"nack"}, "transport-cc is of no use without its numbers"


def test_extension_numbers_out_of_range_or_twice_are_left_out() -> None:
    lines = [
        f"a=extmap:15 {Extension.MID}",
        f"a=extmap:3/recvonly {Extension.ABS_SEND_TIME}",
        f"a=extmap:3 {Extension.VIDEO_ORIENTATION}",
        f"a=extmap:x {Extension.PLAYOUT_DELAY}",
    ]
    answer = play(offer(section("\n".join((h264("64001f"), *lines)))), VIDEO)
    assert answer.sections[0].extensions == {Extension.ABS_SEND_TIME: 3}


def test_sections_without_bundle_share_no_transport() -> None:
    text = offer(section(h264("64001f")), section("a=rtpmap:111 opus/48000/2", "1", "audio"))
    answer = play(re.sub("a=group.*\n", "", text))
    assert [s.mid for s in answer.sections] == ["0"]
    assert "a section outside of BUNDLE" in answer.refusals
    assert again(answer).value("group") is None


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        ("a=ice-ufrag.*\n", ""),
        ("a=ice-pwd.*\n", ""),
        ("a=ice-ufrag:.*", "a=ice-ufrag:a:b"),
        ("a=fingerprint.*\n", ""),
        ("a=fingerprint:sha-256.*", "a=fingerprint:sha-1 " + ":".join(["AB"] * 20)),
        ("a=fingerprint:sha-256.*", "a=fingerprint:sha-256 AB:CD"),
        ("a=fingerprint:sha-256 ..", "a=fingerprint:sha-256 0x"),
        ("a=setup:actpass", "a=setup:bogus"),
        ("a=rtcp-mux\n", ""),
        ("a=mid:0", "a=mid:0\na=ice-lite"),
        ("BUNDLE 0", "BUNDLE 0 9"),
        ("BUNDLE 0", "BUNDLE 0 0"),
        ("a=mid:0", "a=mid:no token"),
        ("a=rtpmap.*\n", "a=rtpmap:96\n"),
        ("UDP/TLS/RTP/SAVPF", "RTP/AVP"),
        ("m=video 9", "m=video 0"),
        ("m=video", "m=text"),
        ("m=video 9 ", "m=audio x y z"),
        ("(?s).*", ""),
        ("(?s)m=.*", ""),
    ],
)
def test_offer_that_cannot_be_answered_is_refused(pattern: str, replacement: str) -> None:
    good = offer(section(h264("64001f")))
    parse_offer(good)
    bad = re.sub(pattern, replacement, good)
    assert bad != good
    with pytest.raises(PeerError):
        parse_offer(bad)


def test_mid_that_is_no_token_is_refused() -> None:
    alone = re.sub("a=group.*\n", "", offer(section(h264("64001f"), mid="0/1")))
    with pytest.raises(PeerError):
        parse_offer(alone)


def test_mid_twice_is_refused() -> None:
    body = h264("64001f")
    with pytest.raises(PeerError):
        parse_offer(offer(section(body), section(body)).replace("BUNDLE 0 0", "BUNDLE 0"))


def test_any_line_end_will_do() -> None:
    for end in ("\n", "\r", "\r\n"):
        assert len(play(PLAY.replace("\r\n", end)).sections) == 2


def test_masses_of_sections_candidates_and_formats_are_bounded() -> None:
    body = h264("64001f")
    many = "".join(f"a=candidate:1 1 udp 1 192.0.2.1 {n} typ host\n" for n in range(1000))
    assert len(parse_offer(offer(section(f"{body}\n{many}"))).candidates) == 64
    with pytest.raises(PeerError):
        parse_offer(offer(*(section(body, str(n)) for n in range(500))))
    formats = " ".join(str(n) for n in range(128))
    maps = "\n".join(f"a=rtpmap:{n} H264/90000" for n in range(128))
    crowded = offer(section(maps)).replace("SAVPF 0", f"SAVPF {formats}")
    assert len(parse_offer(crowded).sections[0].codecs) == 64


def test_answers_hold_nothing_that_breaks_a_line() -> None:
    hostile = Sending(Track(1, HIGH), 1, 2)
    text = answer_player(
        parse_offer(PLAY), LOCAL, [hostile], session_id=1, name="a b\r\na=evil\0" + "x" * 100
    ).session.pack()
    assert b"\r\na=evil" not in text
    assert max(len(line) for line in text.splitlines()) < 300


def test_offers_survive_mutants() -> None:
    def answer(data: bytes) -> None:
        parsed: WebRtcOffer = parse_offer(data)
        sections: list[AgreedSection] = []
        for make in (play, publish):
            try:
                made = make(data.decode("utf-8", "replace"))
            except CodecUnsupported:
                continue
            sections += made.sections
            parse(made.session.pack())
        assert len(sections) <= 2 * len(parsed.sections)

    seeds = [*OFFERS.values(), OBS, offer(section(h264("64001f")))]
    assert_only_peer_error(answer, [seed.encode() for seed in seeds], 1200)
