"""What a server makes of clients that are right, wrong and hostile."""

from __future__ import annotations

import pytest
from rtsp_pair import SDP, URL, accept, make_server

from appliance.errors import MisuseError, PeerError
from appliance.wire.rtsp import events as e
from appliance.wire.rtsp.interleaved import Frames, InterleavedReader, format_frame
from appliance.wire.rtsp.message import Response, format_request
from appliance.wire.rtsp.rtp_info import RtpInfo
from appliance.wire.rtsp.server import (
    MAX_TRACKS,
    MAX_WAITING,
    MAX_WAITING_BYTES,
    SESSION_S,
    RtspServer,
    State,
)
from appliance.wire.rtsp.target import Target
from appliance.wire.rtsp.transport import Delivery

TCP = ("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")
UDP = ("Transport", "RTP/AVP;unicast;client_port=5000-5001")
SDP_TYPE = ("Content-Type", "application/sdp")
S = 1_000_000

Header = tuple[str, str]


class Viewer:
    """Says one request at a time to a server that is answered by `accept`, or by hand."""

    def __init__(self, server: RtspServer | None = None) -> None:
        self.server = server or make_server()
        self.session: list[Header] = []
        self.cseq = 0

    def put(self, data: bytes) -> list[e.Event]:
        """Without answering."""
        return self.server.receive(data, 0)

    def write(self, method: str, *headers: Header, url: str = URL, body: bytes = b"") -> bytes:
        self.cseq += 1
        cseq = ("CSeq", str(self.cseq))
        return format_request(method, url, [cseq, *self.session, *headers], body)

    def ask(
        self, method: str, *headers: Header, url: str = URL, body: bytes = b""
    ) -> tuple[Response, list[e.Event]]:
        events = self.put(self.write(method, *headers, url=url, body=body))
        for event in events:
            accept(self.server, event)
        response = self.read()
        if session := response.headers.get("session"):
            self.session = [("Session", session.partition(";")[0])]
        return response, events

    def read(self) -> Response:
        [response] = InterleavedReader(is_tolerant=False).receive(self.server.take_output())
        assert isinstance(response, Response)
        return response

    def code(self, method: str, *headers: Header, url: str = URL, body: bytes = b"") -> int:
        return self.ask(method, *headers, url=url, body=body)[0].code

    def play(self, *headers: Header) -> None:
        assert self.code("SETUP", *(headers or (TCP,)), url=f"{URL}/trackID=0") == 200
        assert self.code("PLAY") == 200


def test_options_tells_the_methods() -> None:
    for url in (URL, "*"):
        response, events = Viewer().ask("OPTIONS", url=url)
        assert response.code == 200
        assert "ANNOUNCE" in response.headers.get("public")
        assert response.cseq == 1
        assert events == []


def test_describe_is_asked_and_answered() -> None:
    viewer = Viewer()
    headers = (("Authorization", "Basic x"), ("User-Agent", "VLC"))
    response, events = viewer.ask("DESCRIBE", *headers, url=f"{URL}?key=k")
    target = Target("live/camera", {"key": "k"})
    assert events == [e.DescribeAsked("DESCRIBE", f"{URL}?key=k", target, "Basic x", "VLC")]
    assert response.headers.get("content-base") == f"{URL}/"
    assert response.body.decode() == SDP
    assert "key" not in repr(events)


def test_session_keeps_the_query_it_began_with() -> None:
    """GStreamer and FFmpeg ask for tracks without it."""
    viewer = Viewer()
    viewer.ask("DESCRIBE", url=f"{URL}?key=k")
    _, [setup] = viewer.ask("SETUP", TCP, url=f"{URL}/trackID=1")
    assert isinstance(setup, e.SetupAsked)
    assert setup.target == Target("live/camera", {"key": "k"}, "trackID=1")
    _, [play] = viewer.ask("PLAY", ("Range", "npt=now-"), url=f"{URL}/")
    assert isinstance(play, e.PlayAsked)
    assert (play.target.query, play.range) == ({"key": "k"}, "npt=now-")


def test_setup_before_describe_is_possible() -> None:
    viewer = Viewer()
    response, [setup] = viewer.ask("SETUP", UDP, url=f"{URL}?key=k/trackID=0")
    assert isinstance(setup, e.SetupAsked)
    assert (setup.control, setup.target.name) == ("trackID=0", "live/camera")
    assert response.headers.get("session").endswith(f";timeout={SESSION_S}")
    assert len(viewer.session[0][1]) == 32
    assert viewer.server.track_url("trackID=0") == f"{URL}/trackID=0"


def test_sessions_of_a_server_have_ids_of_their_own() -> None:
    viewer = Viewer()
    ids = set()
    for _ in range(3):
        viewer.session = []
        viewer.ask("SETUP", TCP)
        ids.add(viewer.session[0][1])
        assert viewer.code("TEARDOWN") == 200
    assert len(ids) == 3


@pytest.mark.parametrize(
    "transport",
    [
        "",
        "RAW/RAW/UDP;unicast;client_port=5000-5001",
        "RTP/SAVP;unicast;client_port=5000-5001",
        "RTP/AVP;unicast",
        "RTP/AVP;unicast;client_port=0-0",
        "RTP/AVP;unicast;client_port=65535-65536",
        "RTP/AVP/TCP;interleaved=0-0",
        "RTP/AVP/TCP;interleaved=300",
    ],
)
def test_transport_that_cannot_be_is_461(transport: str) -> None:
    assert Viewer().code("SETUP", ("Transport", transport)) == 461


def test_transport_that_is_not_offered_is_461() -> None:
    server = RtspServer(b"n" * 16, agent="test", now_us=0, deliveries=[Delivery.TCP])
    assert Viewer(server).code("SETUP", UDP) == 461
    response, _ = Viewer(server).ask("SETUP", ("Transport", f"{UDP[1]},{TCP[1]}"))
    assert response.headers.get("transport") == TCP[1]


def test_destination_is_ignored() -> None:
    """Media to an address that the peer names would make us a reflector."""
    value = "RTP/AVP;unicast;destination=8.8.8.8;source=8.8.4.4;client_port=5000-5001"
    response, [setup] = Viewer().ask("SETUP", ("Transport", value))
    assert isinstance(setup, e.SetupAsked)
    assert "8.8" not in repr(setup.transports) + response.headers.get("transport")


def test_channels_of_tracks_are_never_shared() -> None:
    viewer = Viewer()
    answers = [
        viewer.ask("SETUP", ("Transport", value), url=f"{URL}/trackID={number}")[0]
        for number, value in enumerate(
            ["RTP/AVP/TCP;interleaved=0-1"] * 2
            + ["RTP/AVP/TCP", "RTP/AVP/TCP;interleaved=254-255", "RTP/AVP/TCP;interleaved=3-4"]
        )
    ]
    taken = [answer.headers.get("transport").rpartition("=")[2] for answer in answers]
    assert taken == ["0-1", "2-3", "4-5", "254-255", "6-7"]


def test_setup_without_end_is_bounded() -> None:
    viewer = Viewer()
    codes = [viewer.code("SETUP", UDP, url=f"{URL}/trackID={n}") for n in range(1000)]
    assert codes[: MAX_TRACKS + 1] == [200] * MAX_TRACKS + [453]
    assert len(viewer.server.tracks) == MAX_TRACKS
    assert viewer.code("SETUP", UDP, url=f"{URL}/trackID=0") == 455


def test_session_is_about_one_stream() -> None:
    """Or credentials of one would be good for all."""
    viewer = Viewer()
    viewer.ask("SETUP", TCP, url=f"{URL}/trackID=0")
    assert viewer.code("SETUP", UDP, url="rtsp://h/live/other/trackID=1") == 455
    assert viewer.code("DESCRIBE", url="rtsp://h/live/other") == 455
    assert viewer.code("PLAY", url="rtsp://h/live/other") == 455
    assert viewer.code("DESCRIBE") == 200
    assert viewer.code("PLAY", url="rtsp://other-name/live/camera/") == 200


def test_announced_session_is_about_one_stream() -> None:
    viewer = Viewer()
    viewer.ask("ANNOUNCE", SDP_TYPE, body=SDP.encode())
    assert viewer.code("ANNOUNCE", SDP_TYPE, url="rtsp://h/live/other", body=b"v=0") == 455
    assert viewer.code("SETUP", TCP, url="rtsp://h/live/other/streamid=0") == 455
    viewer.ask("SETUP", TCP, url=f"{URL}/streamid=0")
    assert viewer.code("RECORD", url="rtsp://h/live/other") == 455


def test_methods_in_a_wrong_state_are_refused() -> None:
    viewer = Viewer()
    for method in ("PLAY", "PAUSE", "RECORD", "TEARDOWN"):
        assert viewer.code(method) == 454
        assert viewer.code(method, ("Session", "f" * 32)) == 454
    viewer.ask("SETUP", TCP)
    assert viewer.code("RECORD") == 455
    assert viewer.code("ANNOUNCE", SDP_TYPE, body=b"v=0") == 455
    viewer.ask("PLAY")
    assert viewer.code("SETUP", UDP, url=f"{URL}/trackID=1") == 455
    assert viewer.server.state is State.PLAYING


def test_session_of_somebody_else_is_454() -> None:
    viewer, thief = Viewer(), Viewer(RtspServer(b"x" * 16, agent="test", now_us=0))
    viewer.play()
    thief.ask("SETUP", TCP)
    thief.session = viewer.session
    for method in ("PLAY", "PAUSE", "TEARDOWN", "OPTIONS", "GET_PARAMETER", "SETUP"):
        assert thief.code(method, TCP) == 454
    thief.session = [("Session", "é")]
    assert thief.code("PLAY") == 454


def test_pause_and_play_again() -> None:
    viewer = Viewer()
    viewer.play()
    assert viewer.ask("PAUSE")[1] == [e.Paused()]
    assert viewer.server.state is State.READY
    _, [play] = viewer.ask("PLAY", ("Range", "npt=inf-"))
    assert isinstance(play, e.PlayAsked)
    assert play.is_resumed


def test_play_tells_where_tracks_begin() -> None:
    viewer = Viewer()
    viewer.ask("DESCRIBE")
    viewer.ask("SETUP", TCP, url=f"{URL}/trackID=0")
    viewer.put(viewer.write("PLAY"))
    viewer.server.accept_play([RtpInfo(viewer.server.track_url("trackID=0"), 65536, 7)])
    assert viewer.read().headers.get("rtp-info") == f"url={URL}/trackID=0;seq=0;rtptime=7"


def test_teardown_ends_once_and_another_session_may_begin() -> None:
    viewer = Viewer()
    viewer.play()
    response, events = viewer.ask("TEARDOWN")
    assert (response.code, events) == (200, [e.TornDown()])
    assert viewer.code("TEARDOWN") == 454
    viewer.session = []
    viewer.play()


def test_record_takes_frames_of_its_channels_only() -> None:
    viewer = Viewer()
    _, [announce] = viewer.ask("ANNOUNCE", SDP_TYPE, body=SDP.encode())
    assert isinstance(announce, e.AnnounceAsked)
    assert announce.sdp.decode() == SDP
    assert viewer.code("DESCRIBE") == 455
    viewer.ask("SETUP", TCP, url=f"{URL}/any-control")
    assert viewer.code("PLAY") == 455
    viewer.ask("RECORD")
    assert viewer.server.state is State.RECORDING
    data = format_frame(0, b"a") + format_frame(9, b"?") + format_frame(1, b"")
    assert viewer.put(data) == [Frames([(0, b"a"), (1, b"")])]
    assert viewer.put(format_frame(77, b"?")) == []
    assert viewer.server.dropped_frames == 2


def test_frames_of_a_recorder_that_tore_down_are_dropped() -> None:
    viewer = Viewer()
    viewer.play()
    viewer.ask("TEARDOWN")
    assert viewer.put(format_frame(0, b"late")) == []


def test_frames_before_record_and_after_pause_are_dropped() -> None:
    viewer = Viewer()
    viewer.ask("ANNOUNCE", SDP_TYPE, body=SDP.encode())
    viewer.ask("SETUP", TCP, url=f"{URL}/streamid=0")
    assert viewer.put(format_frame(0, b"early")) == []
    viewer.ask("RECORD")
    assert viewer.put(format_frame(0, b"a")) == [Frames([(0, b"a")])]
    viewer.ask("PAUSE")
    assert viewer.put(format_frame(0, b"late")) == []
    assert viewer.server.dropped_frames == 2


def test_announce_without_sdp_is_415() -> None:
    assert Viewer().code("ANNOUNCE", ("Content-Type", "text/plain"), body=b"v=0") == 415
    assert Viewer().code("ANNOUNCE", body=b"v=0") == 415


def test_describe_of_other_forms_is_406() -> None:
    assert Viewer().code("DESCRIBE", ("Accept", "application/rtsl")) == 406
    for accepts in ("application/sdp, application/rtsl", "*/*"):
        assert Viewer().code("DESCRIBE", ("Accept", accepts)) == 200


def test_keepalives_are_answered_and_parameters_are_not_known() -> None:
    viewer = Viewer()
    viewer.play()
    for method in ("GET_PARAMETER", "SET_PARAMETER", "OPTIONS"):
        assert viewer.code(method) == 200
    assert viewer.code("SET_PARAMETER", body=b"barparam: barstuff\r\n") == 451


@pytest.mark.parametrize(
    ("request_line", "headers", "code"),
    [
        ("BOGUS {url} RTSP/1.0", "CSeq: 1", 501),
        ("describe {url} RTSP/1.0", "CSeq: 1", 501),
        ("REGISTER {url} RTSP/1.0", "CSeq: 1", 501),
        ("OPTIONS {url} RTSP/2.0", "CSeq: 1", 505),
        ("DESCRIBE * RTSP/1.0", "CSeq: 1", 400),
        ("DESCRIBE http://h/a RTSP/1.0", "CSeq: 1", 400),
        ("DESCRIBE /live/camera RTSP/1.0", "CSeq: 1", 400),
        ("DESCRIBE {url} RTSP/1.0", "X: 1", 400),
        ("DESCRIBE {url} RTSP/1.0", "CSeq: -1", 400),
        ("DESCRIBE {url} RTSP/1.0", "CSeq: 1\r\nCSeq: 2", 400),
        ("DESCRIBE {url} RTSP/1.0", "CSeq: 1\r\nRequire: implicit-play", 551),
        ("OPTIONS {url} RTSP/1.0", "CSeq: 1\r\nProxy-Require: x", 551),
        ("DESCRIBE rtsp://evil.example/live/camera RTSP/1.0", "CSeq: 1", 200),
        ("DESCRIBE {url} RTSP/1.0", "cseq: 1\r\nX-Folded: a\r\n b", 200),
    ],
)
def test_request_that_is_wrong_is_told_so(request_line: str, headers: str, code: int) -> None:
    viewer = Viewer()
    data = f"{request_line.format(url=URL)}\r\n{headers}\r\n\r\n"
    for end in ("\r\n", "\n"):
        for event in viewer.put(data.replace("\r\n", end).encode()):
            accept(viewer.server, event)
        response = viewer.read()
        assert response.code == code
        assert response.cseq in {1, None}
    assert viewer.code("OPTIONS") == 200


def test_require_is_named_as_unsupported() -> None:
    response, _ = Viewer().ask("DESCRIBE", ("Require", "a"), ("Require", "b"))
    assert response.headers.get("unsupported") == "a, b"


@pytest.mark.parametrize(
    "data",
    [
        b"$\x00\xff\xff",
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"OPTIONS " + b"a" * (64 << 10),
        b"OPTIONS rtsp://h/a RTSP/1.0\r\n" + b"A: b\r\n" * 1000 + b"\r\n",
        b"OPTIONS rtsp://h/a RTSP/1.0\r\nCSeq: 1\x00\r\n\r\n",
        b"ANNOUNCE rtsp://h/a RTSP/1.0\r\nContent-Length: 1048576\r\n\r\n",
        b"ANNOUNCE rtsp://h/a RTSP/1.0\r\nContent-Length: -1\r\n\r\n",
        b"ANNOUNCE rtsp://h/a RTSP/1.0\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "ANNOUNCE rtsp://h/a RTSP/1.0\r\nContent-Length: １\r\n\r\n".encode(),
        b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n",
        b"\0" * 16384,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n",
    ],
)
def test_what_is_no_rtsp_is_answered_once_and_over(data: bytes) -> None:
    viewer = Viewer()
    with pytest.raises(PeerError):
        viewer.put(data)
    assert viewer.read().code == 400
    assert viewer.server.pending_bytes <= 8192 + len(data)


def test_requests_behind_a_question_wait_for_its_answer() -> None:
    viewer = Viewer()
    data = viewer.write("DESCRIBE") + viewer.write("SETUP", TCP, url=f"{URL}/trackID=0")
    data += viewer.write("OPTIONS")
    [describe] = viewer.put(data)
    assert viewer.server.take_output() == b""
    accept(viewer.server, describe)
    assert viewer.read().cseq == 1
    [setup] = viewer.server.proceed()
    assert viewer.server.take_output() == b""
    accept(viewer.server, setup)
    assert viewer.server.proceed() == []
    items = InterleavedReader(is_tolerant=False).receive(viewer.server.take_output())
    assert [item.cseq for item in items if isinstance(item, Response)] == [2, 3]


def test_requests_behind_a_question_are_bounded() -> None:
    viewer = Viewer()
    viewer.put(viewer.write("DESCRIBE"))
    for _ in range(MAX_WAITING):
        assert viewer.put(viewer.write("OPTIONS")) == []
    with pytest.raises(PeerError):
        viewer.put(viewer.write("OPTIONS"))


def test_bodies_behind_a_question_are_bounded() -> None:
    viewer = Viewer()
    viewer.put(viewer.write("DESCRIBE"))
    viewer.put(viewer.write("ANNOUNCE", SDP_TYPE, body=bytes(MAX_WAITING_BYTES)))
    with pytest.raises(PeerError):
        viewer.put(viewer.write("ANNOUNCE", SDP_TYPE, body=b"x"))


def test_question_can_be_refused_challenged_and_redirected() -> None:
    viewer = Viewer()
    viewer.put(viewer.write("DESCRIBE"))
    viewer.server.refuse(404, "Nobody publishes it")
    response = viewer.read()
    assert (response.code, response.reason) == (404, "Nobody publishes it")
    viewer.put(viewer.write("DESCRIBE"))
    viewer.server.challenge(['Digest realm="a"', 'Basic realm="a"'])
    assert len(viewer.read().headers.all("www-authenticate")) == 2
    viewer.put(viewer.write("DESCRIBE"))
    viewer.server.refuse(302, location="rtsp://other/a")
    assert viewer.read().headers.get("location") == "rtsp://other/a"
    viewer.put(viewer.write("SETUP", TCP))
    viewer.server.refuse(503)
    assert "session" not in viewer.read().headers
    assert viewer.server.state is State.INIT


def test_answer_to_what_was_not_asked_is_a_bug() -> None:
    with pytest.raises(MisuseError):
        make_server().refuse(404)
    viewer = Viewer()
    viewer.put(viewer.write("DESCRIBE"))
    with pytest.raises(MisuseError):
        viewer.server.accept_record()


def test_silence_ends_a_session_but_not_of_interleaved_players() -> None:
    udp = Viewer()
    udp.play(UDP)
    udp.server.heard(5 * S)
    assert udp.server.due_us == (SESSION_S + 5) * S
    udp.server.tick((SESSION_S + 5) * S - 1)
    with pytest.raises(PeerError):
        udp.server.tick((SESSION_S + 5) * S)
    tcp = Viewer()
    assert tcp.server.due_us == SESSION_S * S
    tcp.play()
    assert tcp.server.due_us is None
    tcp.server.tick(1 << 60)


def test_recorder_that_falls_silent_is_ended() -> None:
    viewer = Viewer()
    viewer.ask("ANNOUNCE", SDP_TYPE, body=SDP.encode())
    viewer.ask("SETUP", TCP, url=f"{URL}/streamid=0")
    viewer.ask("RECORD")
    viewer.server.receive(format_frame(0, b"a"), 7 * S)
    with pytest.raises(PeerError):
        viewer.server.tick((SESSION_S + 7) * S)
