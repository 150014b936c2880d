"""What a client makes of cameras that are right, wrong, silent and hostile."""

from __future__ import annotations

import pytest
from rtsp_pair import SDP, URL, make_client

from appliance.errors import PeerError
from appliance.wire.rtsp.client import (
    ANSWER_US,
    SHORT_BODY_US,
    Announced,
    Described,
    Ended,
    Playing,
    Redirected,
    Refused,
    RtspClient,
    SetUp,
)
from appliance.wire.rtsp.credentials import ClientAuth
from appliance.wire.rtsp.interleaved import Frames, InterleavedReader, format_frame
from appliance.wire.rtsp.message import Request
from appliance.wire.rtsp.rtp_info import RtpInfo, parse_rtp_info
from appliance.wire.rtsp.transport import Delivery, Transport

TCP = Transport(Delivery.TCP, channels=(0, 1))
S = 1_000_000


def sent(client: RtspClient) -> list[Request]:
    items = InterleavedReader(is_tolerant=False).receive(client.take_output())
    return [item for item in items if isinstance(item, Request)]


class Camera:
    """Plays a camera by hand: `answer` says its next words to the request under way."""

    def __init__(self, url: str = URL, auth: ClientAuth | None = None) -> None:
        self.client = make_client(url, auth)
        self.request: Request = Request("", "", None)  # type: ignore[arg-type]
        self.client.begin(0)
        self.look()

    def look(self) -> Request | None:
        requests = sent(self.client)
        assert len(requests) <= 1
        if requests:
            self.request = requests[0]
        return requests[0] if requests else None

    def say(self, data: str | bytes, now_us: int = 0) -> list[object]:
        data = data.encode() if isinstance(data, str) else data
        events: list[object] = list(self.client.receive(data, now_us))
        self.look()
        return events

    def answer(self, status: str = "200 OK", *lines: str, body: str = "") -> list[object]:
        head = [f"RTSP/1.0 {status}", f"CSeq: {self.request.cseq}", *lines]
        if body:
            head.append(f"Content-Length: {len(body)}")
        return self.say("\r\n".join((*head, "", body)))

    def play(self, *session: str, public: str = "OPTIONS, GET_PARAMETER") -> None:
        self.answer("200 OK", f"Public: {public}")
        self.answer("200 OK", body=SDP)
        self.client.setup(f"{URL}/trackID=0", TCP)
        self.look()
        self.answer("200 OK", *(session or ("Session: 5",)))
        self.client.play()
        self.look()
        assert self.answer() == [Playing()]


def test_camera_is_asked_in_the_order_of_the_rfc() -> None:
    camera = Camera()
    assert camera.request.method == "OPTIONS"
    camera.answer("200 OK", "Public: OPTIONS, DESCRIBE")
    assert camera.request.method == "DESCRIBE"
    assert camera.request.headers.get("accept") == "application/sdp"
    assert camera.answer("200 OK", "Content-Base: rtsp://10.0.0.1/x/", body=SDP) == [
        Described(SDP.encode(), "rtsp://cam.local/x/")
    ]
    camera.client.setup("rtsp://cam.local/x/trackID=0", TCP)
    camera.look()
    assert camera.request.headers.get("transport") == "RTP/AVP/TCP;unicast;interleaved=0-1"
    assert camera.answer("200 OK", "Session: 5;timeout=60", f"Transport: {TCP};ssrc=A") == [
        SetUp("rtsp://cam.local/x/trackID=0", Transport(Delivery.TCP, channels=(0, 1), ssrc=10))
    ]
    camera.client.play()
    camera.look()
    assert camera.request.url == "rtsp://cam.local/x/"
    assert camera.request.headers.get("session") == "5"
    info = "RTP-Info: url=rtsp://cam.local/x/trackID=0;seq=1;rtptime=2"
    assert camera.answer("200 OK", info) == [
        Playing((RtpInfo("rtsp://cam.local/x/trackID=0", 1, 2),))
    ]


@pytest.mark.parametrize("status", ["404 Not Found", "405 No", "454 No", "501 Not Implemented"])
def test_camera_that_refuses_options_is_described_all_the_same(status: str) -> None:
    camera = Camera()
    assert camera.answer(status) == []
    assert camera.request.method == "DESCRIBE"


@pytest.mark.parametrize("cseq", ["", "cseq: 2\r\n", "CSEQ:2\r\n", "CSeq: x\r\n", "CSeq: 99\r\n"])
def test_answer_is_known_by_its_order_where_cseq_is_wrong(cseq: str) -> None:
    camera = Camera()
    camera.answer()
    body = f"content-length:{len(SDP)}\r\n\r\n{SDP}"
    assert isinstance(camera.say(f"RTSP/1.0 200 OK\r\n{cseq}{body}")[0], Described)


def test_answer_that_came_too_late_is_not_taken_for_the_next() -> None:
    camera = Camera()
    camera.answer()
    assert camera.say("RTSP/1.0 404 Not Found\r\nCSeq: 1\r\n\r\n") == []
    assert camera.say("RTSP/1.0 100 Continue\r\nCSeq: 2\r\n\r\n") == []
    assert isinstance(camera.answer("200 OK", body=SDP)[0], Described)
    assert camera.say("RTSP/1.0 200 OK\r\n\r\n") == []


@pytest.mark.parametrize(
    ("session", "name", "interval_us"),
    [
        ("Session: abc", "abc", 30 * S),
        ("Session: abc;timeout=20", "abc", 10 * S),
        ("session:  abc ; Timeout = 20 ", "abc", 10 * S),
        ('Session: abc;timeout="20"', "abc", 10 * S),
        ("Session: abc;timeout=0", "abc", 30 * S),
        ("Session: abc;timeout=1", "abc", 1 * S),
        ("Session: abc;timeout=1000000000", "abc", 30 * S),
        ("Session: abc;timeout=-5", "abc", 30 * S),
        ("Session: abc;timeout=", "abc", 30 * S),
        ("Session: " + "a" * 500, "a" * 256, 30 * S),
    ],
)
def test_session_of_cameras_is_read_and_its_timeout_clamped(
    session: str, name: str, interval_us: int
) -> None:
    camera = Camera()
    camera.play(session)
    assert camera.request.headers.get("session") == name
    assert camera.client.due_us == interval_us


def test_camera_without_session_and_transport_is_played() -> None:
    camera = Camera()
    camera.play("X-Nothing: 1")
    assert camera.request.headers.get("session") == ""


def test_session_is_kept_alive_as_the_camera_offers() -> None:
    for public, method in {"OPTIONS, get_parameter": "GET_PARAMETER", "PLAY": "OPTIONS"}.items():
        camera = Camera()
        camera.play(public=public)
        assert camera.client.tick(30 * S - 1) == []
        assert camera.look() is None
        camera.client.tick(30 * S)
        asked = camera.look()
        assert asked is not None
        assert (asked.method, asked.headers.get("session")) == (method, "5")


@pytest.mark.parametrize("status", ["501 No", "405 No", "454 No", "400 No", ""])
def test_keepalive_that_is_refused_or_ignored_becomes_options(status: str) -> None:
    """`Public` lies: the session goes on, and is kept alive otherwise."""
    camera = Camera()
    camera.play()
    camera.client.tick(30 * S)
    assert camera.look() is not None
    if status:
        assert camera.answer(status) == []
    camera.client.tick(30 * S + ANSWER_US)
    assert camera.client.is_idle
    camera.client.tick(100 * S)
    asked = camera.look()
    assert asked is not None
    assert asked.method == "OPTIONS"


def test_silence_is_given_up_at_its_deadline() -> None:
    camera = Camera()
    assert camera.client.due_us == ANSWER_US
    camera.client.tick(ANSWER_US - 1)
    with pytest.raises(PeerError):
        camera.client.tick(ANSWER_US)


def test_sdp_that_is_shorter_than_its_length_is_taken_after_a_moment() -> None:
    camera = Camera()
    camera.answer()
    text = f"RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Length: {len(SDP) + 2}\r\n\r\n{SDP}"
    assert camera.say(text, 5 * S) == []
    assert camera.client.due_us == 5 * S + SHORT_BODY_US
    [described] = camera.client.tick(6 * S)
    assert isinstance(described, Described)
    assert described.sdp.decode() == SDP


def test_body_that_never_comes_is_given_up() -> None:
    camera = Camera()
    camera.answer()
    camera.say("RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Length: 9\r\n\r\n")
    with pytest.raises(PeerError):
        camera.client.tick(SHORT_BODY_US)


CHALLENGE = 'WWW-Authenticate: Digest realm="r", nonce="{}"{}'


def test_credentials_are_shown_when_asked_for_and_kept() -> None:
    camera = Camera("rtsp://me:p@cam.local/live/camera")
    assert camera.request.headers.get("authorization") == ""
    assert camera.answer("401 Unauthorized", CHALLENGE.format("n", "")) == []
    assert 'nonce="n"' in camera.request.headers.get("authorization")
    camera.answer()
    assert 'nonce="n"' in camera.request.headers.get("authorization")
    assert "me:p" not in camera.request.url


def test_wrong_password_is_tried_once() -> None:
    """Cameras lock out who tries more often."""
    camera = Camera("rtsp://me:p@cam.local/live/camera")
    camera.answer("401 Unauthorized", CHALLENGE.format("a", ""))
    assert camera.answer("401 Unauthorized", CHALLENGE.format("b", "")) == [
        Refused("OPTIONS", 401, "Unauthorized")
    ]


def test_storm_of_401_is_left_after_two_tries() -> None:
    camera = Camera("rtsp://me:p@cam.local/live/camera")
    asked = 0
    for number in range(10):
        if camera.answer("401 No", CHALLENGE.format(number, ", stale=true")):
            break
        asked += 1
    assert asked == 2


@pytest.mark.parametrize("stale", [", stale=TRUE", ', stale="true"', ""])
def test_nonce_is_renewed_within_a_session(stale: str) -> None:
    camera = Camera("rtsp://me:p@cam.local/live/camera")
    camera.answer("401 No", CHALLENGE.format("a", ""))
    camera.play()
    camera.client.tick(30 * S)
    camera.look()
    assert camera.answer("401 No", CHALLENGE.format("b", stale)) == []
    assert 'nonce="b"' in camera.request.headers.get("authorization")
    assert camera.request.method == "GET_PARAMETER"


def test_challenge_is_answered_on_the_next_connection_too() -> None:
    """Some cameras close with their 401; others give every connection a nonce of its own."""
    url = "rtsp://me:p@cam.local/live/camera"
    camera = Camera(url)
    camera.answer("401 No", CHALLENGE.format("a", ""))
    next_camera = Camera(url, auth=camera.client.auth)
    assert 'nonce="a"' in next_camera.request.headers.get("authorization")
    assert next_camera.answer("401 No", CHALLENGE.format("b", "")) == []
    assert 'nonce="b"' in next_camera.request.headers.get("authorization")
    assert next_camera.answer("401 No", CHALLENGE.format("c", "")) == [
        Refused("OPTIONS", 401, "No")
    ]


def test_camera_that_asks_for_a_password_we_have_not_is_told_so() -> None:
    camera = Camera()
    assert camera.answer("401 No", CHALLENGE.format("a", "")) == [Refused("OPTIONS", 401, "No")]


@pytest.mark.parametrize("status", ["461 No", "455 No", "454 No", "400 No", "500 No"])
def test_transport_that_is_refused_leaves_another_to_try(status: str) -> None:
    camera = Camera()
    camera.answer()
    camera.answer("200 OK", body=SDP)
    udp = Transport(Delivery.UDP, client_ports=(5000, 5001))
    camera.client.setup(f"{URL}/trackID=0", udp)
    camera.look()
    assert camera.answer(status) == [Refused("SETUP", int(status[:3]), "No")]
    camera.client.setup(f"{URL}/trackID=0", TCP)
    camera.look()
    assert camera.answer("200 OK", "Session: 1") == [SetUp(f"{URL}/trackID=0", TCP)]


def test_redirect_is_told_with_where_to() -> None:
    camera = Camera("rtsp://me:p@cam.local/live/camera")
    camera.answer()
    [redirect] = camera.answer("302 Found", "Location: rtsp://other/b")
    assert isinstance(redirect, Redirected)
    assert (redirect.address.url, redirect.address.password) == ("rtsp://other/b", "")
    camera = Camera()
    camera.play()
    [redirect] = camera.say(
        "REDIRECT rtsp://a RTSP/1.0\r\nCSeq: 9\r\nLocation: rtsp://cam.local/c\r\n\r\n"
    )
    assert isinstance(redirect, Redirected)


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://169.254.169.254/", ""])
def test_redirect_to_what_is_no_rtsp_ends_it(location: str) -> None:
    camera = Camera()
    camera.answer()
    with pytest.raises(PeerError):
        camera.answer("302 Found", f"Location: {location}")


def test_requests_of_a_server_are_answered() -> None:
    camera = Camera()
    camera.play()
    client = camera.client
    for method, code in {"OPTIONS": 200, "SET_PARAMETER": 200, "ANNOUNCE": 501}.items():
        assert client.receive(f"{method} * RTSP/1.0\r\nCSeq: 4\r\n\r\n".encode(), 0) == []
        said = client.take_output()
        assert said.startswith(f"RTSP/1.0 {code} ".encode())
        assert b"CSeq: 4\r\n" in said
    assert client.receive(b"PLAY_NOTIFY * RTSP/1.0\r\nCSeq: 4\r\n\r\n", 0) == []
    assert client.garbage_bytes  # nothing that a server of RTSP 1.0 says
    assert client.receive(b"TEARDOWN rtsp://a RTSP/1.0\r\nCSeq: 5\r\n\r\n", 0) == [Ended()]
    assert client.due_us is None


def test_frames_amid_answers_come_in_order() -> None:
    camera = Camera()
    camera.answer()
    camera.answer("200 OK", body=SDP)
    camera.client.play()
    camera.look()
    frame = format_frame(0, b"early")
    events = camera.say(frame + b"RTSP/1.0 200 OK\r\nCSeq: 3\r\n\r\n" + frame * 2)
    early = (0, b"early")
    assert events == [Frames([early]), Playing(), Frames([early, early])]


def test_teardown_is_said_at_once_even_when_something_is_under_way() -> None:
    camera = Camera()
    camera.play()
    camera.client.tick(30 * S)
    camera.look()
    camera.client.teardown()
    asked = camera.look()
    assert asked is not None
    assert (asked.method, asked.headers.get("session")) == ("TEARDOWN", "5")


def test_recorder_that_is_refused_is_told() -> None:
    client = make_client()
    client.begin_record(SDP.encode(), 0)
    sent(client)
    client.receive(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n", 0)
    [announce] = sent(client)
    assert (announce.method, announce.body) == ("ANNOUNCE", SDP.encode())
    assert client.receive(b"RTSP/1.0 403 Forbidden\r\nCSeq: 2\r\n\r\n", 0) == [
        Refused("ANNOUNCE", 403, "Forbidden")
    ]
    assert Announced() not in client.receive(b"RTSP/1.0 200 OK\r\nCSeq: 2\r\n\r\n", 0)


@pytest.mark.parametrize(
    ("value", "infos"),
    [
        ("", ()),
        ("nonsense", ()),
        ("url=rtsp://h/a;seq=1;rtptime=2", (RtpInfo("rtsp://h/a", 1, 2),)),
        (
            "url=trackID=0;rtptime=4294967295, url=trackID=1;seq=65536",
            (RtpInfo("trackID=0", None, 0xFFFFFFFF), RtpInfo("trackID=1")),
        ),
        ('url="rtsp://h/a,b";seq=٣', (RtpInfo("rtsp://h/a,b"),)),
        ("url=a;seq=-1;rtptime=99999999999", (RtpInfo("a"),)),
        (",".join(["url=a"] * 100), (RtpInfo("a"),) * 16),
    ],
)
def test_rtp_info_is_read_as_far_as_it_goes(value: str, infos: tuple[RtpInfo, ...]) -> None:
    assert parse_rtp_info(value) == infos
