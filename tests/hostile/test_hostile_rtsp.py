"""The RTSP port of the running appliance under attack, while somebody plays."""

from __future__ import annotations

import base64
import contextlib
import random
import socket
import time
from collections.abc import Iterator

import pytest
from appliance_process import SMALL_PATTERN, ApplianceProcess, appliance_process
from rtsp_siege import SDP, SDP_TYPE, announce, count_sessions, first, head, rtsp_siege
from rtsp_talk import TCP, RtspTalk
from siege import dial, eventually, send
from test_hostile_http import NAMES

pytestmark = pytest.mark.alone  # its canary is held to half a second
MAX_GAP_S = 0.5  # pictures are 67 ms apart
SETTINGS = ('rtsp.stall="2s"', 'rtsp.first_packet="1s"', 'rtsp.wait="1s"', 'auth.publish="open"')


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApplianceProcess]:
    folder = tmp_path_factory.mktemp("hostile")
    with appliance_process(folder, *SETTINGS, config=SMALL_PATTERN) as process:
        process.wait_line("live/camera is live")
        yield process
        assert "Traceback" not in process.log


def test_malformed_requests_are_refused_by_their_codes(device: ApplianceProcess) -> None:
    url = f"rtsp://elsewhere.example:{device.rtsp_port}/live/camera"
    rows: dict[bytes, bytes] = {
        head(""): b"200",
        head("", f"OPTIONS {url} RTSP/1.0"): b"200",
        head("", cseq=""): b"400",
        head("", cseq="CSeq: -1\r\n"): b"400",
        head("", cseq="CSeq: 1\0\r\n"): b"400",
        head("", "FROB * RTSP/1.0"): b"501",
        head("", "options * RTSP/1.0"): b"501",
        head("", "OPTIONS * RTSP/2.0"): b"505",
        head("Require: x\r\n", f"DESCRIBE {url} RTSP/1.0"): b"551",
        head("Content-Length: 99999999999\r\n"): b"400",
        head("Content-Length: -1\r\n"): b"400",
        head("Content-Length: 1\r\nContent-Length: 2\r\n"): b"400",
        head("Content-Length: x\r\n"): b"400",
        head("Content-Length: １２\r\n"): b"400",
        head("", f"OPTIONS {'x' * 65_536} RTSP/1.0"): b"400",
        head("".join(f"X-{n}: y\r\n" for n in range(1000))): b"400",
        head("", f"PLAY {url} RTSP/1.0"): b"454",
        head("Session: 1\r\n", f"PLAY {url} RTSP/1.0"): b"454",
        head("Session: 1\r\n", f"TEARDOWN {url} RTSP/1.0"): b"454",
        head("", f"SETUP {url}/trackID=1 RTSP/1.0"): b"461",
        head("", f"RECORD {url} RTSP/1.0"): b"454",
        b"$\0\xff\xff": b"400",
    }
    with rtsp_siege(device, MAX_GAP_S):
        for row, code in rows.items():
            assert first(device.rtsp_port, row)[9:12] == code, row[:80]


def test_names_that_no_stream_has_are_refused(device: ApplianceProcess) -> None:
    names = [name for name in NAMES if name != b"live/camera/"]  # as many clients write it
    with rtsp_siege(device, MAX_GAP_S):
        for name in names:
            told = name if isinstance(name, str) else name.decode("latin-1")
            line = f"DESCRIBE rtsp://h/{told} RTSP/1.0\r\nCSeq: 1\r\n\r\n"
            data = line.encode("utf-8", "surrogatepass")
            assert first(device.rtsp_port, data)[9:12] in {b"400", b"404", b""}, name
    assert not [line for line in device.lines if "\x1b" in line]


def test_transports_never_lead_elsewhere(device: ApplianceProcess) -> None:
    """`destination` is no place to send to, and impossible ports are none."""
    impossible = (
        "RTP/AVP;unicast;client_port=0-0",
        "RTP/AVP;unicast;client_port=65535-65536",
        "RTP/AVP;unicast",
        "RTP/AVP;multicast;destination=239.1.2.3;port=5000-5001",
        "RTP/AVP/TCP;unicast;interleaved=300",
        "RAW/RAW/UDP;unicast;client_port=5000-5001",
    )
    with (
        rtsp_siege(device, MAX_GAP_S),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
    ):
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        port = receiver.getsockname()[1]
        for transport in impossible:
            with RtspTalk(device.rtsp_port) as talk:
                assert talk.ask("DESCRIBE")[0] == 200
                answer = talk.ask("SETUP", f"Transport: {transport}", url=f"{talk.url}/trackID=1")
                assert answer[0] in {400, 461}, transport
        ours = f"Transport: RTP/AVP;unicast;destination=8.8.8.8;client_port={port}-{port + 1}"
        with RtspTalk(device.rtsp_port) as talk:
            talk.play(ours)
            assert receiver.recv(2048)[0] == 0x80
            with RtspTalk(device.rtsp_port) as other:  # the same ports once more
                assert other.ask("DESCRIBE")[0] == 200
                assert other.ask("SETUP", ours, url=f"{other.url}/trackID=1")[0] == 453
            receiver.sendto(b"\x80\xc9", ("127.0.0.1", device.rtsp_port))  # nobody's port
            assert talk.ask("TEARDOWN")[0] == 200


def test_sessions_are_their_connections_own(device: ApplianceProcess) -> None:
    with rtsp_siege(device, MAX_GAP_S), RtspTalk(device.rtsp_port) as talk:
        talk.play()
        with RtspTalk(device.rtsp_port) as thief:
            thief.session = talk.session
            assert thief.ask("TEARDOWN")[0] == 454
            assert thief.ask("PAUSE")[0] == 454
        for number in range(200):  # frames of ours, of no channel, and empty ones
            talk.sock.sendall(b"$" + bytes((number % 256,)) + b"\0\4abcd$\0\0\0")
        assert talk.ask("SETUP", TCP, url=f"{talk.url}/trackID=2")[0] == 455
        assert talk.ask("PLAY", "Range: npt=inf-")[0] == 200
        assert talk.ask("TEARDOWN")[0] == 200
        talk.session = "gone"
        assert talk.ask("TEARDOWN")[0] == 454


def test_tunnels_torn_and_twisted_are_closed(device: ApplianceProcess) -> None:
    get = b"GET /live/camera HTTP/1.0\r\nx-sessioncookie: %b\r\nAccept: %b\r\n\r\n"
    post = b"POST /live/camera HTTP/1.0\r\nx-sessioncookie: %b\r\nContent-Type: %b\r\n\r\n"
    kind = b"application/x-rtsp-tunnelled"
    port = device.rtsp_port
    with rtsp_siege(device, MAX_GAP_S):
        assert b"400" in first(port, get % (b"one", kind) + post % (b"one", kind))
        assert send(port, post % (b"stray", kind) + base64.b64encode(head(""))) == b""
        assert b"404" in first(port, b"GET /../../etc/passwd HTTP/1.1\r\n\r\n")
        with dial(port) as getter, dial(port) as poster:
            getter.sendall(get % (b"pair", kind))
            assert b"200" in getter.recv(4096)
            poster.sendall(post % (b"pair", kind) + b"!!!! no base64 !!!!")
            assert poster.recv(4096) == b""


def test_tunnel_whose_getter_has_gone_begins_nothing(device: ApplianceProcess) -> None:
    """What its POST still asks for would be nobody's: the siege sees that no session stays."""
    kind = "application/x-rtsp-tunnelled"
    with rtsp_siege(device, MAX_GAP_S), dial(device.rtsp_port) as poster:
        with RtspTalk(device.rtsp_port) as talk:
            talk.sock.sendall(
                f"GET / HTTP/1.0\r\nx-sessioncookie: g\r\nAccept: {kind}\r\n\r\n".encode()
            )
            assert b"200" in talk.sock.recv(4096)
            line = f"POST / HTTP/1.0\r\nx-sessioncookie: g\r\nContent-Type: {kind}\r\n\r\n"
            poster.sendall(line.encode())
            poster.sendall(base64.b64encode(talk.format("DESCRIBE")))
            assert talk.read()[0] == 200
            url = f"{talk.url}/trackID=1"
            poster.sendall(base64.b64encode(talk.format("SETUP", TCP, url=url)))
            assert talk.read()[0] == 200
        second = "Transport: RTP/AVP/TCP;unicast;interleaved=2-3"
        asked = talk.format("DESCRIBE") + talk.format("SETUP", second, url=f"{talk.url}/trackID=2")
        with contextlib.suppress(ConnectionError):
            poster.sendall(base64.b64encode(asked + talk.format("PLAY")))
            assert poster.recv(4096) == b""


def test_publishers_who_bring_nothing_are_ended(device: ApplianceProcess) -> None:
    with rtsp_siege(device, MAX_GAP_S):
        with RtspTalk(device.rtsp_port, "live/silent") as talk:
            assert announce(talk) == 200
            with RtspTalk(device.rtsp_port, "live/silent") as rival:
                assert announce(rival) == 409
            dice = random.Random(7)
            for _ in range(50):  # nothing of it is RTP
                talk.sock.sendall(b"$\0\0\x20" + dice.randbytes(32) + b"$\1\0\x20" + bytes(32))
            assert talk.is_closed()
        with RtspTalk(device.rtsp_port, "live/huge") as talk, contextlib.suppress(ConnectionError):
            talk.write("ANNOUNCE", SDP_TYPE, body=SDP.encode() + b"a=x\r\n" * 220_000)
            assert talk.read()[0] == 400


def test_player_who_takes_nothing_is_ended(device: ApplianceProcess) -> None:
    with rtsp_siege(device, MAX_GAP_S), RtspTalk(device.rtsp_port) as talk:
        talk.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        talk.play()
        began_s = time.monotonic()
        assert eventually(lambda: count_sessions(device) == 1, 30), "only the canary is left"
        assert time.monotonic() - began_s > 1
