"""RTSP asked for more than anybody needs, slower than anybody does, and through half a tunnel."""

from __future__ import annotations

import base64
import contextlib
import itertools
import random
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from appliance_process import SMALL_PATTERN, ApplianceProcess, appliance_process
from rtsp_pusher import Pusher
from rtsp_siege import (
    HASTY,
    RECORD,
    SDP_TYPE,
    count_rejects,
    is_cut,
    metrics,
    reset,
    rtsp_siege,
    udp,
)
from rtsp_talk import TCP, RtspTalk
from siege import dial, eventually

SLOW = 30
KIND = "application/x-rtsp-tunnelled"
SDP_OF_MANY = b"v=0\r\ns=-\r\nt=0 0\r\n" + b"".join(
    b"m=audio 0 RTP/AVP 0\r\na=control:trackID=%d\r\n" % n for n in range(16)
)


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApplianceProcess]:
    folder = tmp_path_factory.mktemp("floods")
    words = "openssl req -x509 -nodes -days 9 -subj /CN=device -newkey ec"
    words += " -pkeyopt ec_paramgen_curve:P-256 -keyout key.pem -out cert.pem"
    subprocess.run(words.split(), cwd=folder, check=True, capture_output=True)
    tls = ('rtsp.tls.listen=["127.0.0.1:0"]', *(
        f'rtsp.tls.{name}="{folder / name}.pem"' for name in ("cert", "key")
    ))  # fmt: skip
    with appliance_process(folder, *HASTY, *tls, config=SMALL_PATTERN) as process:
        process.wait_line("live/camera is live")
        yield process
        assert "Traceback" not in process.log


def test_other_protocols_are_closed_after_a_word_at_most(device: ApplianceProcess) -> None:
    """On both ports; of RTSP there is no answer without TLS where TLS is due."""
    dice = random.Random(5)
    tls_port = int(device.wait_line(r"listening on rtsps://\S+:(\d+)/")[1])
    rows = {
        "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + dice.randbytes(500),
        "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "http post": b"POST /api/v1/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n",
        "rtmp": b"\x03" + bytes(1536),
        "sip": b"REGISTER sip:h SIP/2.0\r\nVia: SIP/2.0/TCP h\r\nCSeq: 1 REGISTER\r\n\r\n",
        "stun": b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12),
        "ssh": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "zeros": bytes(9000),
        "random": b"\xa5" + dice.randbytes(9000),
        "answer": b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n",
        "rtsp 2": b"PLAY_NOTIFY rtsp://h/ RTSP/2.0\r\nCSeq: 1\r\n\r\n",
        "nothing": b"",
    }
    with rtsp_siege(device), ExitStack() as stack:
        for port in (device.rtsp_port, tls_port):
            reset(dial(port))
            socks = {name: stack.enter_context(dial(port)) for name in rows}
            if port == tls_port:
                socks.pop("tls").close()
            for name, sock in socks.items():
                sock.sendall(rows[name])
                if name == "nothing":
                    sock.shutdown(socket.SHUT_WR)
            for name, sock in socks.items():
                answer = b""
                with contextlib.suppress(ConnectionError):
                    while got := sock.recv(65_536):
                        answer += got
                assert answer.count(b"\r\n\r\n") <= (port != tls_port), name
                assert not re.match(rb"\S+ 200", answer), name
        with dial(tls_port) as sock:
            sock.sendall(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                assert b"RTSP" not in sock.recv(4096)


@pytest.mark.parametrize("state", ["playing", "set up", "described"])
def test_peer_who_talks_without_end_is_ended(device: ApplianceProcess, state: str) -> None:
    """By frames or by questions: who does not publish has next to nothing to say."""
    with rtsp_siege(device), RtspTalk(device.rtsp_port) as talk:
        before = count_rejects(device, "a player that talks")
        if state == "playing":
            talk.play()
        elif state == "set up":
            assert talk.ask("SETUP", TCP, url=f"{talk.url}/trackID=1")[0] == 200
        noise = (b"$\1\x04\0" + bytes(1024)) * 64
        if state == "described":
            assert talk.ask("DESCRIBE")[0] == 200
            noise = talk.format("GET_PARAMETER", body=b" " * 60_000)

        def is_ended() -> bool:
            """Ten megabytes a second."""
            talk.sock.settimeout(0.01)
            try:
                for _ in range(16):
                    talk.sock.sendall(noise)
                    with contextlib.suppress(TimeoutError):
                        if not talk.sock.recv(1 << 20):
                            return True
            except TimeoutError:
                return False
            except ConnectionError:
                return True
            return count_rejects(device, "a player that talks") > before

        assert eventually(is_ended)
        assert count_rejects(device, "a player that talks") > before


def test_thousands_of_setups_leave_nothing(device: ApplianceProcess) -> None:
    """By each way, torn down or left open by who goes; the same ports are free for the next."""
    ways = (TCP, udp(5000), "Transport: RTP/AVP;multicast")
    with rtsp_siege(device):
        with RtspTalk(device.rtsp_port) as talk:
            for number in range(1500):
                url = f"{talk.url}/trackID={1 + number % 2}"
                assert talk.ask("SETUP", ways[number % 3], url=url)[0] == 200
                assert talk.ask("TEARDOWN")[0] == 200
                talk.session = ""
        with ExitStack() as stack:
            crowd = [stack.enter_context(RtspTalk(device.rtsp_port)) for _ in range(60)]
            for number, talk in enumerate(crowd):
                for track in (1, 2):
                    way = (TCP, udp(6000 + 4 * number + 2 * track), ways[2])[number % 3]
                    url = f"{talk.url}/trackID={track}"
                    assert talk.ask("SETUP", way, url=url)[0] == 200
                    assert talk.ask("SETUP", way, url=url)[0] == 455
                    assert talk.ask("SETUP", way, url=f"{talk.url}/trackID=9")[0] == 404
        for number in range(300):
            with RtspTalk(device.rtsp_port) as talk:
                talk.write("SETUP", ways[number % 3], url=f"{talk.url}/trackID=1")
        with RtspTalk(device.rtsp_port) as talk:
            assert eventually(
                lambda: talk.ask("SETUP", ways[1], url=f"{talk.url}/trackID=1")[0] == 200
            )


def test_player_who_pauses_without_end_costs_nothing(device: ApplianceProcess) -> None:
    """And one who asks for all of it at once is told that this is too much."""
    with rtsp_siege(device):
        for way in (TCP, udp(5100), "Transport: RTP/AVP;multicast"):
            with RtspTalk(device.rtsp_port) as talk:
                talk.play(way)
                for _ in range(300):
                    assert talk.ask("PAUSE")[0] == 200
                    assert talk.ask("PLAY")[0] == 200
                if way == TCP:
                    talk.frame()
                again = talk.format("PAUSE") + talk.format("PLAY")
                with contextlib.suppress(ConnectionError):
                    talk.sock.sendall(again * 2000)
                assert talk.is_closed()


def test_announced_tracks_are_bounded(device: ApplianceProcess) -> None:
    with rtsp_siege(device), RtspTalk(device.rtsp_port, "live/many") as talk:
        assert talk.ask("ANNOUNCE", SDP_TYPE, body=SDP_OF_MANY)[0] == 200
        codes = [talk.ask("SETUP", RECORD, url=f"{talk.url}/trackID={n}")[0] for n in range(16)]
        assert codes == [200] * 8 + [404] * 8
        with RtspTalk(device.rtsp_port, "live/many") as other:
            body = SDP_OF_MANY * 60
            assert other.ask("ANNOUNCE", SDP_TYPE, body=body[:60_000])[0] == 400


def test_names_of_nothing_are_waited_for_and_forgotten(device: ApplianceProcess) -> None:
    """By many at once, by one connection again and again, and by those who do not wait."""
    streams = r"^porthole_streams (\d+)"
    before = re.search(streams, metrics(device), re.MULTILINE)
    with rtsp_siege(device), ExitStack() as stack:
        crowd = [
            stack.enter_context(RtspTalk(device.rtsp_port, f"live/nothing-{n}")) for n in range(200)
        ]
        for talk in crowd:
            talk.write("DESCRIBE")
        for talk in crowd[100:]:
            talk.sock.close()
        assert {talk.read()[0] for talk in crowd[:100]} == {404}
        with RtspTalk(device.rtsp_port) as talk:
            asked = [talk.format("DESCRIBE", url=f"{talk.url}-{n}") for n in range(40)]
            talk.sock.sendall(b"".join(asked))
            assert talk.read()[0] == 400
            assert talk.is_closed()
    after = re.search(streams, metrics(device), re.MULTILINE)
    assert (before and before[0]) == (after and after[0])
    assert count_rejects(device, "DESCRIBE refused") >= 100


def test_requests_that_dribble_in_are_given_up(device: ApplianceProcess) -> None:
    """Byte by byte, and never all of them: nobody is heard of until a request is whole."""
    heads = (b"OPTIONS * RTSP/1.0\r\n", b"GET /x HTTP/1.0\r\nx-a: ", b"DESCRIBE rtsp://h/live/c")
    with rtsp_siege(device), ExitStack() as stack:
        silent = count_rejects(device, "silent for 2 s")
        socks = [stack.enter_context(dial(device.rtsp_port)) for _ in range(SLOW)]
        steps = itertools.count()

        def are_given_up() -> bool:
            step = next(steps)
            for number, sock in enumerate(socks):
                with contextlib.suppress(OSError):
                    sock.send(heads[number % len(heads)][step : step + 1] or b"x")
            return count_rejects(device, "silent for 2 s") - silent >= SLOW

        assert eventually(are_given_up)
        assert all(is_cut(sock) for sock in socks)


def get(cookie: str) -> bytes:
    return (
        f"GET /live/camera HTTP/1.0\r\nx-sessioncookie: {cookie}\r\nAccept: {KIND}\r\n\r\n".encode()
    )


def post(cookie: str) -> bytes:
    lines = f"POST / HTTP/1.0\r\nx-sessioncookie: {cookie}\r\nContent-Type: {KIND}\r\n\r\n"
    return lines.encode()


def test_tunnels_without_their_other_half_are_bounded(device: ApplianceProcess) -> None:
    with rtsp_siege(device), ExitStack() as stack:
        getters = [stack.enter_context(dial(device.rtsp_port)) for _ in range(24)]
        for number, getter in enumerate(getters):
            getter.sendall(get(f"alone-{number}"))
        answered = [b"200 OK" in getter.recv(4096) for getter in getters]
        assert answered == [True] * 24, "each is told, and the last ones are closed"
        assert all(is_cut(getter) for getter in getters[16:])
        with RtspTalk(device.rtsp_port, source="127.0.0.9") as other:
            other.sock.sendall(get("other"))
            assert b"200 OK" in other.sock.recv(4096)
            with RtspTalk(device.rtsp_port, source="127.0.0.9") as half:
                half.sock.sendall(post("other") + base64.b64encode(half.format("OPTIONS")))
                assert b"RTSP/1.0 200" in other.sock.recv(4096), "others have their tunnels"
        for cookie in ("alone-1", "unknown"):  # of an other address, and of none
            with socket.create_connection(
                ("127.0.0.1", device.rtsp_port), 20, source_address=("127.0.0.3", 0)
            ) as poster:
                poster.sendall(post(cookie) + base64.b64encode(b"OPTIONS * RTSP/1.0\r\n\r\n"))
                assert is_cut(poster)
        with dial(device.rtsp_port) as second:
            second.sendall(get("alone-1"))
            assert is_cut(second)
        with dial(device.rtsp_port) as first, dial(device.rtsp_port) as second:
            first.sendall(post("alone-2"))
            with RtspTalk(device.rtsp_port) as talk:
                first.sendall(base64.b64encode(talk.format("OPTIONS")))
            assert b"RTSP/1.0 200" in getters[2].recv(4096)
            second.sendall(post("alone-2"))
            assert is_cut(second)
    assert count_rejects(device, "protocol error") >= 8


def test_floods_through_a_tunnel_take_turns_with_everybody_else(device: ApplianceProcess) -> None:
    """A megabyte of empty frames, of a publisher who brings nothing else; then of requests."""
    with (
        rtsp_siege(device),
        dial(device.rtsp_port) as getter,
        dial(device.rtsp_port) as poster,
        Pusher(device.rtsp_port, "live/tunnel") as pusher,
    ):
        getter.sendall(get("flood"))
        assert b"200 OK" in getter.recv(4096)
        poster.sendall(post("flood"))
        tunnelled = RtspTalk(device.rtsp_port, "live/tunnel")
        with tunnelled:
            sdp = pusher.film.describe().pack()
            url = f"{tunnelled.url}/trackID=1"
            for data in (
                tunnelled.format("ANNOUNCE", SDP_TYPE, body=sdp),
                tunnelled.format("SETUP", RECORD, url=url),
            ):
                poster.sendall(base64.b64encode(data))
                answer = getter.recv(4096)
                assert b"RTSP/1.0 200" in answer
            found = re.search(rb"Session: (\w+)", answer)
            assert found is not None
            tunnelled.session = found[1].decode()
            poster.sendall(base64.b64encode(tunnelled.format("RECORD")))
            assert b"RTSP/1.0 200" in getter.recv(4096)
            poster.sendall(base64.b64encode(b"$\0\0\0" * (1 << 18)))
            poster.sendall(base64.b64encode(b"$\0\0\3abc") * 20_000)
            poster.sendall(base64.b64encode(tunnelled.format("GET_PARAMETER")))
            while b"RTSP/1.0 200" not in getter.recv(4096):
                """A report of how its packets are received."""
            with contextlib.suppress(ConnectionError):
                poster.sendall(base64.b64encode(tunnelled.format("OPTIONS") * 20_000))
            assert is_cut(getter)
