"""Whatever arrives, only PeerError leaves RTSP's parsers and cores."""

from __future__ import annotations

import itertools

from mutation import assert_only_peer_error
from rtsp_pair import SDP, URL, accept, make_client, make_server

from appliance.errors import ConfigError, PeerError
from appliance.wire.rtsp.auth import Algorithm, DigestShown, Gate, parse_authorization
from appliance.wire.rtsp.credentials import ClientAuth
from appliance.wire.rtsp.interleaved import format_frame
from appliance.wire.rtsp.message import format_request, format_response
from appliance.wire.rtsp.rtp_info import parse_rtp_info
from appliance.wire.rtsp.target import (
    parse_rtsp_address,
    redirected,
    resolve,
    resolve_base,
    resolve_control,
)
from appliance.wire.rtsp.transport import Delivery, Transport, parse_answer, parse_transports
from appliance.wire.rtsp.tunnel import PostOpened, TunnelClient, TunnelDoor

MULTICAST = "RTP/AVP;multicast;destination=239.0.0.1;port=6000-6001;ttl=4;ssrc=0A;mode=PLAY"
TRANSPORT = "RTP/AVP/TCP;unicast;interleaved=0-1,RTP/AVP;unicast;client_port=5000-5001"
CHALLENGE = 'Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256, Basic realm="a"'
SESSION = [
    ("OPTIONS", URL, [], b""),
    ("DESCRIBE", f"{URL}?key=k", [("Accept", "application/sdp")], b""),
    ("SETUP", f"{URL}/trackID=0", [("Transport", TRANSPORT)], b""),
    ("GET_PARAMETER", URL, [], b""),
    ("ANNOUNCE", URL, [("Content-Type", "application/sdp")], SDP.encode()),
]
REQUESTS = [
    format_request(method, url, [("CSeq", str(n)), *headers], body)
    for n, (method, url, headers, body) in enumerate(SESSION)
]
ANSWERS = [
    format_response(200, [("CSeq", "1"), ("Public", "OPTIONS, GET_PARAMETER")]),
    format_response(401, [("CSeq", "1"), ("WWW-Authenticate", CHALLENGE)]),
    format_response(200, [("CSeq", "2"), ("Content-Base", f"{URL}/")], SDP.encode()),
    format_response(200, [("CSeq", "3"), ("Session", "1;timeout=9"), ("Transport", TRANSPORT)]),
    format_response(200, [("CSeq", "4"), ("RTP-Info", f"url={URL};seq=1;rtptime=2")]),
    format_frame(0, bytes(100)) + format_frame(1, b""),
]


def serve(data: bytes) -> None:
    server = make_server()
    for at in range(0, len(data), 97):
        events = server.receive(data[at : at + 97], 0)
        while events:
            for event in events:
                accept(server, event)
            events = server.proceed()
    server.take_output()


def call(data: bytes) -> None:
    client = make_client("rtsp://me:p@cam.local/live/camera")
    client.begin(0)
    tcp = Transport(Delivery.TCP, channels=(0, 1))
    steps = itertools.chain([lambda: client.setup(URL, tcp), client.play], itertools.repeat(None))
    for at in range(0, len(data), 97):
        client.receive(data[at : at + 97], 0)
        if client.is_idle and (step := next(steps)) is not None:
            step()
    client.take_output()


def tunnel(data: bytes) -> None:
    door = TunnelDoor("test")
    for at in range(0, len(data), 31):
        if isinstance(door.receive(data[at : at + 31]), PostOpened):
            door.decode(data[at + 31 :])
            return


def read_headers(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    parse_rtp_info(text)
    resolve_base(parse_rtsp_address(URL), (text, text))
    resolve_control(URL, text)
    client = ClientAuth("me", "p", b"n")
    if client.challenge([text]):
        client.header("PLAY", URL)
    shown = parse_authorization(text)
    if isinstance(shown, DigestShown):
        secrets = {algorithm: "0" for algorithm in Algorithm}
        Gate("r", b"s").check(shown, "PLAY", URL, "peer", 0, lambda _: secrets)
    for parse in (
        lambda: parse_transports(text),
        lambda: parse_answer(text, Transport(Delivery.MULTICAST)),
        lambda: resolve(text),
        lambda: redirected(parse_rtsp_address(URL), text),
    ):
        try:
            parse()
        except PeerError:
            continue
    try:
        parse_rtsp_address(text)
    except ConfigError as error:
        raise PeerError(str(error)) from None


def test_server_survives_mutants() -> None:
    whole = b"".join(REQUESTS[:4])
    assert_only_peer_error(serve, [*REQUESTS, whole, whole + format_frame(0, b"a")], 3000)


def test_client_survives_mutants() -> None:
    assert_only_peer_error(call, [b"".join(ANSWERS), *ANSWERS], 3000)


def test_tunnel_survives_mutants() -> None:
    halves = TunnelClient("/a", "h", "abc", "test")
    get, post = halves.open_get(), halves.open_post()
    assert_only_peer_error(tunnel, [get, post, post + halves.encode(REQUESTS[0])], 1500)


def test_headers_survive_mutants() -> None:
    seeds = [TRANSPORT, MULTICAST, CHALLENGE, URL, "rtsp://u:p@h:554/a?b=c", "trackID=0"]
    seeds += [
        "url=rtsp://h/a;seq=1;rtptime=2,url=b",
        "Basic bWU6cA==",
        'Digest username="me", realm="r", nonce="n", uri="u", response="x", cnonce="c", qop=auth,'
        " nc=00000001, algorithm=MD5",
    ]
    assert_only_peer_error(read_headers, [seed.encode() for seed in seeds], 4000)
