"""The HTTP port of the running appliance under attack, while somebody watches."""

from __future__ import annotations

import json
import os
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from urllib.parse import quote_from_bytes

import pytest
from appliance_process import ApplianceProcess
from siege import Talk, dial, request, send, siege, status

NAMES: tuple[bytes, ...] = (
    b"", b"/", b".", b"..", b"../x", b"a/../../x", b"a//b", b"/etc/passwd", b"..\\x", b"%2e%2e%2fx",
    b"%252e%252e%252f", b"..%c0%af", b"a\x00.flv", b"a\r\nX: y", b"a\x1b[2J", b"CON", b".hidden",
    b"-rf", b"$(id)", b"`id`", b";id", b"a|b", b"<script>alert(1)</script>", b'"', b"'", b"?x",
    b"#x", b"a b", "\u202e".encode(), "\uff0e\uff0e\uff0f".encode(), "é".encode(),
    "e\u0301".encode(), "😀".encode(), b"x" * 255, b"x" * 256, b"x" * 257, b"x" * 4096,
    b"x" * 65_535, b"\xff\xfe", b"live/camera%00", b"live/camera%0a", b"live/camera/",
)  # fmt: skip
SHAPES = (
    "GET /{}", "GET /{}.m3u8", "GET /{}.hls/fmp4.m3u8", "GET /live/camera.hls/{}",
    "GET /{}.hls/fmp4-1.m4s", "GET /web/{}", "GET /web/streams.json?{}", "GET /api/v1/streams/{}",
    "GET /api/v1/streams?{}", "GET /{}.jpg", "GET /{}.mjpeg", "GET /api/frame.jpeg?src={}",
    "DELETE /api/v1/clients/{}",
)  # fmt: skip


def _targets(path: bytes, name: bytes) -> list[bytes]:
    encoded = path.replace(b"{}", quote_from_bytes(name, safe="").encode())
    plain = path.replace(b"{}", name)
    return [plain, encoded, b"http://localhost" + plain, b"//evil.example" + plain]


def test_name_that_is_none_is_refused_at_every_door(
    device: ApplianceProcess, owner_key: str
) -> None:
    key = f"Authorization: Bearer {owner_key}"
    with siege(device, owner_key):
        for shape in SHAPES:
            method, _, path = shape.partition(" ")
            for name in NAMES:
                for target in _targets(path.encode(), name):
                    answer = send(device.port, request(target, key, method=method, last=True))
                    _check_refusal(path, name, target, answer)


def _check_refusal(path: str, name: bytes, target: bytes, answer: bytes) -> None:
    if not answer:
        assert len(target) > 8192, target  # closed while it was being sent
        return
    code, body = status(answer), answer.partition(b"\r\n\r\n")[2]
    assert code < 500 or code == 505, (target, answer[:300])
    assert b"<script>alert" not in body and b"root:" not in body
    if path.endswith((".m3u8", ".m4s")) and name not in {b"?x", b"#x"}:
        assert code >= 400, target


def _wrong_protocols() -> dict[str, Callable[[socket.socket], None]]:
    def sends(data: bytes) -> Callable[[socket.socket], None]:
        return lambda sock: sock.sendall(data)

    dice = random.Random(5)
    return {
        "tls": sends(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + dice.randbytes(500)),
        "rtmp": sends(b"\x03" + bytes(8) + dice.randbytes(1528)),
        "rtsp": sends(b"OPTIONS rtsp://h/live RTSP/1.0\r\nCSeq: 1\r\n\r\n"),
        "sip": sends(b"REGISTER sip:h SIP/2.0\r\nVia: SIP/2.0/TCP h\r\n\r\n"),
        "stun": sends(b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)),
        "ssh": sends(b"SSH-2.0-OpenSSH_9.2\r\n"),
        "http2": sends(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        "zeros": sends(bytes(4096)),
        "random": sends(dice.randbytes(4096)),
        "nothing": lambda _: None,
        "half": lambda sock: sock.shutdown(socket.SHUT_WR),
        "half request": lambda sock: (sock.sendall(b"GET / HT"), sock.shutdown(1))[0],
    }


def test_other_protocols_are_closed_in_time(device: ApplianceProcess) -> None:
    with siege(device):
        socks = []
        for say in _wrong_protocols().values():
            sock = dial(device.port)
            say(sock)
            socks.append(sock)
        reset = dial(device.port)
        reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        reset.close()
        for sock in socks:
            sock.settimeout(10)
            try:
                while sock.recv(65_536):
                    pass
            except ConnectionResetError:
                pass
            sock.close()


def _flood(port: int, requests: list[bytes], expected: bytes, batch: int = 50) -> None:
    """Pipelined, on one connection."""
    with dial(port) as sock:
        for start in range(0, len(requests), batch):
            some = requests[start : start + batch]
            sock.sendall(b"".join(some))
            left = len(some)
            tail = b""
            while left:
                got = sock.recv(1 << 18)
                assert got, "closed"
                tail += got
                left -= tail.count(b"HTTP/1.1 " + expected)
                tail = tail[-12:] if tail.count(b"HTTP/1.1 ") == 0 else tail[-11:]


def test_twenty_thousand_viewers_of_one_request_are_forgotten(device: ApplianceProcess) -> None:
    requests = [
        request(f"/live/camera.hls/fmp4.m3u8?a{n}={n}", f"User-Agent: one shot {n}")
        for n in range(20_000)
    ]
    with siege(device):
        started_s = time.monotonic()
        _flood(device.port, requests, b"200")
        assert time.monotonic() - started_s < 60


def test_viewers_who_ask_a_few_times_leave_no_line_each(device: ApplianceProcess) -> None:
    requests = [
        request("/live/camera.hls/fmp4.m3u8", f"User-Agent: three shots {n // 3}")
        for n in range(3_000)
    ]
    with siege(device):
        _flood(device.port, requests, b"200", batch=1)


def test_ten_thousand_names_of_nothing_make_nothing(device: ApplianceProcess) -> None:
    with siege(device):
        _flood(device.port, [request(f"/live/n{n}.m3u8") for n in range(10_000)], b"404")
        with Talk(device.port) as talk:
            _, _, body = talk.ask("/web/streams.json")
        names = [row["name"] for row in json.loads(body)["streams"]]
        assert names == ["live/camera", "live/second"]


def _newest(talk: Talk, stream: str = "live/camera", query: str = "") -> str:
    code, _, body = talk.ask(f"/{stream}.hls/fmp4.m3u8{query}")
    assert code == 200
    return (
        f"/{stream}.hls/"
        + [line for line in body.decode().splitlines() if line and line[0] != "#"][-1]
    )


def test_slow_heads_bodies_and_readers_are_closed(device: ApplianceProcess) -> None:
    with Talk(device.port) as talk:
        segment = _newest(talk)
    body = "Content-Length: 1000", "Content-Type: application/json"
    slow = (b"GET / HTTP/1.1\r\nX: ", request("/api/v1/clients/x", *body, method="DELETE") + b"{")
    with siege(device):
        readers = [dial(device.port, receive_bytes=2048) for _ in range(50)]
        for sock in readers:
            sock.setblocking(False)
            sock.send(request(segment, "User-Agent: stalls") * 200)
        writers = [dial(device.port) for _ in range(100)]
        for n, sock in enumerate(writers):
            sock.sendall(slow[n % 2])
        for sock in writers:
            while sock.recv(65_536):
                pass
            sock.close()
        for sock in readers:
            assert _is_cut(sock)
            sock.close()


def _is_cut(sock: socket.socket) -> bool:
    """Whether the server reset it although it never read: TCP_INFO tells without reading.

    A mere end would be queued behind what the client does not take, for as long as it likes.
    """
    end_s = time.monotonic() + 15
    while time.monotonic() < end_s:
        state = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        if state == 7:  # TCP_CLOSE
            return True
        time.sleep(0.1)
    return False


def test_pipelined_answers_come_in_order_and_whole(device: ApplianceProcess) -> None:
    with siege(device), Talk(device.port) as talk:
        bodies = {}
        for stream in ("live/camera", "live/second"):
            target = _newest(talk, stream)
            bodies[target] = talk.ask(target)[2]
        assert len({len(body) for body in bodies.values()}) == 2
        dice = random.Random(3)
        for size in (1, 2, 3, 40):
            wanted = [dice.choice(list(bodies)) for _ in range(size)]
            talk.sock.sendall(b"".join(map(request, wanted)))
            for target in wanted:
                assert talk.read()[2] == bodies[target]
        for target in [*bodies] * 50:  # the short way, with and against its grain
            assert talk.ask(target)[2] == bodies[target]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes=0-", 206), ("bytes=0-0", 206), ("bytes=-1", 206), ("bytes=5-4", 200),
        ("bytes=999999999-", 416), ("bytes=-0", 416), ("bytes=0-1,5-6", 200),
        ("bytes=" + "9" * 40, 200),
        ("bytes=0-" + "9" * 40, 200), ("bytes=１-２", 200), ("items=0-1", 200), ("bytes=a-b", 200),
        ("bytes=--1", 200), ("bytes= 0-1", 200), ("bytes=" + "0-1," * 900, 200),
    ],
)  # fmt: skip
def test_range_is_served_or_ignored_the_short_way_too(
    device: ApplianceProcess, value: str, expected: int
) -> None:
    with Talk(device.port) as talk:
        segment = _newest(talk)
        field = f"Range: {value}"
        first, _, body = talk.ask(segment, field)
        again, _, same = talk.ask(segment, field)
        assert (first, body) == (again, same)
        assert first == expected


def test_vanishing_clients_leave_nothing(device: ApplianceProcess) -> None:
    with Talk(device.port) as talk:
        segment = _newest(talk)
    with siege(device):
        for n in range(300):
            sock = dial(device.port)
            sock.sendall(request(segment) * (n % 3 + 1))
            if n % 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif n % 5 == 0:
                sock.shutdown(socket.SHUT_WR)
            sock.close()


def test_crowd_at_the_door_is_told_and_leaves_room_again(device: ApplianceProcess) -> None:
    with siege(device), ExitStack() as crowd:
        socks = [crowd.enter_context(dial(device.port)) for _ in range(600)]
        answers = Counter(sock.recv(100)[:12] for sock in socks[550:])
        assert answers == {b"HTTP/1.1 503": 50}


def test_malformed_heads_with_secrets_keep_them_out_of_the_log(device: ApplianceProcess) -> None:
    secret = "S3CR3T" + os.urandom(8).hex()
    with siege(device, secret):
        for field in ("Cookie: porthole_hls", "Authorization: Basic", "X-Key", "Authorization"):
            for join in ("=", ": ", "\x01 "):
                send(device.port, request("/x", f"{field}{join}{secret}\x01", last=True))
                send(device.port, request(f"/x?k%65y={secret}", f"{field} {secret}", last=True))
        for target in ("/..?key={}", "/a%00.m3u8?t={}", "/live/camera.m3u8?key={}&format=x"):
            send(device.port, request(target.format(secret), last=True))
            send(device.port, request(target.format(secret), method="BREW", last=True))
            time.sleep(1.1)  # one line a second of each kind: let each of these have one


def test_many_connections_each_get_their_own_stream(device: ApplianceProcess) -> None:
    """A storm of reconnects must not show anybody another's camera."""
    inits: dict[str, str] = {}
    with Talk(device.port) as talk:
        for stream in ("live/camera", "live/second"):
            body = talk.ask(f"/{stream}.hls/fmp4.m3u8")[2].decode()
            match = re.search(r'MAP:URI="([^"]+)"', body)
            assert match is not None
            inits[stream] = match[1]
    wrong: list[str] = []

    def watch(stream: str, other: str) -> None:
        for _ in range(40):
            with Talk(device.port) as talk:
                body = talk.ask(f"/{stream}.hls/fmp4.m3u8")[2].decode()
                code = talk.ask(f"/{stream}.hls/{inits[other]}")[0]
                if inits[stream] not in body or inits[other] in body or code != 404:
                    wrong.append(stream)

    pairs = [("live/camera", "live/second"), ("live/second", "live/camera")] * 8
    threads = [threading.Thread(target=watch, args=pair) for pair in pairs]
    with siege(device):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong
