from __future__ import annotations

import pytest

from appliance.errors import PeerError
from appliance.wire.sdp.control import aggregate_url, media_url
from appliance.wire.sdp.parse import MAX_ATTRIBUTES, MAX_BYTES, MAX_MEDIA, parse
from appliance.wire.sdp.session import Attribute, Connection, Direction, Media, RtpMap, Session

TEXT = """v=0
o=- 1 2 IN IP4 192.0.2.1
s=A name
c=IN IP4 239.1.2.3/64/2
b=AS:500
t=0 0
a=control:*
a=range:npt=now-
a=recvonly
m=video 5004/2 RTP/AVP 96 97
b=AS:400
b=TIAS:400000
a=rtpmap:96 H264/90000
a=fmtp:96 Packetization-Mode=1; sprop-parameter-sets="Zw==,aA=="
a=fmtp:96 extra
a=framerate:25
a=control:track1
m=audio 0 RTP/AVP 8
c=IN IP6 ff15::101/3
a=ptime:20
a=sendonly
"""


def test_description_is_taken_apart() -> None:
    session = parse(TEXT)
    assert (session.origin, session.name, session.timing) == (
        "- 1 2 IN IP4 192.0.2.1",
        "A name",
        "0 0",
    )
    assert session.connection == Connection("239.1.2.3", 64)
    assert (session.bandwidth, session.control, session.range) == ({"AS": 500}, "*", "npt=now-")
    video, audio = session.media
    assert (video.kind, video.port, video.port_count, video.protocol) == (
        "video",
        5004,
        2,
        "RTP/AVP",
    )
    assert (video.formats, video.payload_types) == (("96", "97"), [96, 97])
    assert video.bandwidth == {"AS": 400, "TIAS": 400_000}
    assert video.rtpmap(96) == RtpMap(96, "H264", 90_000)
    assert video.rtpmap(97) is None
    assert video.fmtp(96) == {
        "packetization-mode": "1",
        "sprop-parameter-sets": "Zw==,aA==",
        "extra": "",
    }
    assert video.fmtp(97) == {}
    assert (video.control, video.value("framerate"), video.ptime_ms) == ("track1", "25", None)
    assert session.direction_of(video) is Direction.RECVONLY
    assert audio.connection == Connection("ff15::101", is_ipv6=True)
    assert (audio.ptime_ms, session.direction_of(audio)) == (20.0, Direction.SENDONLY)


@pytest.mark.parametrize("line_end", ["\r\n", "\n", "\r", "\r\n\r\n", " \r\n"])
def test_description_with_any_line_end_is_the_same(line_end: str) -> None:
    assert parse(TEXT.replace("\n", line_end)) == parse(TEXT)


def test_description_as_bytes_with_nul_and_foreign_letters_is_read() -> None:
    assert parse(TEXT.replace("A name", "Caméra").encode("latin-1") + b"\0").name == "Cam\ufffdra"
    assert parse(memoryview(TEXT.encode())) == parse(TEXT)
    assert parse(TEXT.rstrip() + "\0") == parse(TEXT)


def test_lines_that_cannot_be_read_are_left_out() -> None:
    noise = "hello\n=\nab=c\nc=IN IP4\nc=QQ IP4 1.2.3.4\nb=AS\nb=AS:-1\nb=AS:١\na=\n"
    session = parse("v=0\n" + noise + "m=video 0 RTP/AVP\n" + noise)
    assert session.connection is None and session.bandwidth == {}
    assert session.media[0].formats == () and session.media[0].attributes == [Attribute("")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0\0",
        "RTSP/1.0 200 OK",
        "m=video",
        "m=video x RTP/AVP 96",
        "m=audio x y z",
        "m=video 65536 RTP/AVP 96",
        "m=video ٣ RTP/AVP 96",
        "m=video 1/x RTP/AVP 96",
        "v=0\n" + "m=video 0 RTP/AVP 96\n" * (MAX_MEDIA + 1),
        "v=0\n" + "a=x\n" * (MAX_BYTES // 4),
        "v=0\nm=video 0 RTP/AVP 96\n" + "a=x\n" * (MAX_ATTRIBUTES + 1),
    ],
)
def test_what_is_no_description_raises(text: str) -> None:
    with pytest.raises(PeerError):
        parse(text)


@pytest.mark.parametrize(
    "value",
    [
        "96",
        "96 ",
        "96 H264",
        "96 H264/",
        "96 H264/x",
        "96 /90000",
        "128 H264/90000",
        "x H264/90000",
    ],
)
def test_rtpmap_that_cannot_be_read_is_none(value: str) -> None:
    assert Media(attributes=[Attribute("rtpmap", value)]).rtpmap(96) is None


@pytest.mark.parametrize("value", ["96 H264/90000", " 96  H264/90000 ", "96 H264/ 90000/1"])
def test_rtpmap_with_spaces_is_read(value: str) -> None:
    assert Media(attributes=[Attribute("rtpmap", value)]).rtpmap(96) == RtpMap(96, "H264", 90_000)


def test_static_payload_types_need_no_rtpmap_but_heed_one() -> None:
    names = {kind: Media().rtpmap(kind) for kind in (0, 8, 10, 11, 14, 26)}
    assert {kind: one and one.encoding for kind, one in names.items()} == {
        **{0: "PCMU", 8: "PCMA", 10: "L16", 11: "L16", 14: "MPA", 26: "JPEG"}
    }
    assert names[10] == RtpMap(10, "L16", 44_100, 2)
    heeded = Media(attributes=[Attribute("rtpmap", "11 L16/16000")])
    assert heeded.rtpmap(11) == RtpMap(11, "L16", 16_000)


@pytest.mark.parametrize("text", ["", "x", "-1", "1e9", "1.x", "٣"])
def test_ptime_that_is_no_number_is_none(text: str) -> None:
    assert Media(attributes=[Attribute("ptime", text)]).ptime_ms is None


@pytest.mark.parametrize(("text", "ptime_ms"), [("20", 20.0), ("2.5", 2.5), ("20.", 20.0)])
def test_ptime_is_read_with_its_fraction(text: str, ptime_ms: float) -> None:
    assert Media(attributes=[Attribute("ptime", text)]).ptime_ms == ptime_ms


def test_packed_description_has_its_lines_in_the_order_of_the_rfc() -> None:
    session = Session(name="x", connection=Connection("192.0.2.1"), bandwidth={"AS": 9})
    session.add("control", "*")
    media = Media(kind="audio", formats=("0",))
    media.add("recvonly")
    session.media.append(media)
    assert session.pack() == (
        b"v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=x\r\nc=IN IP4 192.0.2.1\r\nb=AS:9\r\nt=0 0\r\n"
        b"a=control:*\r\nm=audio 0 RTP/AVP 0\r\na=recvonly\r\n"
    )
    assert parse(session.pack()) == session


@pytest.mark.parametrize("name", ["a\r\nm=video 0 RTP/AVP 96", "a\nb", "a\0b"])
def test_line_end_in_a_field_never_gets_into_a_description(name: str) -> None:
    with pytest.raises(PeerError):
        Session(name=name).pack()


BASE = "rtsp://cam/live?user=a&x=1/"


@pytest.mark.parametrize(
    ("base", "of_session", "of_media", "url"),
    [
        ("rtsp://cam/live", None, "trackID=1", "rtsp://cam/live/trackID=1"),
        ("rtsp://cam/live/", "*", "trackID=1", "rtsp://cam/live/trackID=1"),
        ("rtsp://cam/live/", "*", "*", "rtsp://cam/live/"),
        ("rtsp://cam/live/", None, None, "rtsp://cam/live/"),
        ("rtsp://cam/live", "", "", "rtsp://cam/live"),
        ("rtsp://cam/live", "*", "/track1", "rtsp://cam/live/track1"),
        ("rtsp://cam/live", "*", "rtsp://cam/x/t?y", "rtsp://cam/x/t?y"),
        ("rtsp://cam/live", "*", "RTSPS://cam/x", "RTSPS://cam/x"),
        ("rtsp://cam/live", "rtsp://cam/all/", "t=1", "rtsp://cam/all/t=1"),
        ("rtsp://cam/live/", "*", "?track=1", "rtsp://cam/live?track=1"),
        (BASE, "*", "trackID=0", "rtsp://cam/live?user=a&x=1/trackID=0"),
        (BASE, "*", "t=1?q=2", "rtsp://cam/live?user=a&x=1/t=1?q=2"),
    ],
)
def test_control_is_resolved_as_players_do(
    base: str, of_session: str | None, of_media: str | None, url: str
) -> None:
    media, session = Media(), Session()
    session.attributes = [Attribute("control", of_session)] if of_session is not None else []
    media.attributes = [Attribute("control", of_media)] if of_media is not None else []
    assert media_url(base, session, media) == url


def test_aggregate_control_is_the_base_unless_the_description_names_one() -> None:
    assert aggregate_url(BASE, parse("v=0\na=control:*")) == BASE
    assert aggregate_url(BASE, parse("v=0\na=control:rtsp://cam/all")) == "rtsp://cam/all"
