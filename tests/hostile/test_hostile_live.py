"""Viewers of FLV, MPEG-TS and AAC without manners, by HTTP and by WebSocket."""

from __future__ import annotations

import random
import re
import socket
import struct
from contextlib import ExitStack, suppress
from urllib.request import urlopen

from appliance_process import ApplianceProcess
from siege import dial, eventually, request, send, siege, status

FORMS = ("flv", "ts", "aac")
RESET = struct.pack("ii", 1, 0)
UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


def viewers(device: ApplianceProcess) -> int:
    with urlopen(f"{device.url}metrics") as reply:
        found = re.search(r'porthole_sessions\{kind="flv-play"\} (\d+)', reply.read().decode())
    return int(found[1]) if found else 0


def watch(
    device: ApplianceProcess, target: str = "/live/camera.flv", *fields: str
) -> socket.socket:
    sock = dial(device.port, receive_bytes=4096)
    sock.sendall(request(target, *fields))
    return sock


def test_live_stalled_viewers_are_ended_one_and_all(device: ApplianceProcess) -> None:
    with siege(device), ExitStack() as stack:
        for number in range(60):
            fields = UPGRADE if number % 2 else ()
            form = "ts" if number % 3 else "flv"  # sound alone fits into any socket for long
            sock = stack.enter_context(watch(device, f"/live/camera.{form}", *fields))
            assert sock.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 " + (b"101" if fields else b"200")
        assert viewers(device) == 60
        assert eventually(lambda: viewers(device) == 0, 60)


def test_live_viewers_who_vanish_leave_nothing(device: ApplianceProcess) -> None:
    """200, one after the other: closed, reset, half closed, before and after the first bytes."""
    dice = random.Random(4)
    with siege(device):
        for number in range(200):
            fields = UPGRADE if dice.randrange(2) else ()
            with watch(device, f"/live/camera.{FORMS[number % 3]}", *fields) as sock:
                if dice.randrange(3):
                    sock.recv(dice.randrange(1, 6000))
                match number % 4:
                    case 0:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    case 1:
                        sock.shutdown(socket.SHUT_WR)
                    case 2:
                        sock.sendall(dice.randbytes(dice.randrange(1, 300)))
        assert eventually(lambda: viewers(device) == 0)


def test_live_viewers_of_streams_that_do_not_exist_leave_nothing(device: ApplianceProcess) -> None:
    """Each waits for a publisher of its own; none of them makes a stream."""
    with siege(device), ExitStack() as stack:
        for number in range(100):
            stack.enter_context(watch(device, f"/nobody/{number}.flv"))
        assert eventually(lambda: viewers(device) == 100)
        with urlopen(f"{device.url}web/streams.json") as reply:
            assert b"nobody" not in reply.read()
        stack.close()
        assert eventually(lambda: viewers(device) == 0)


def test_live_viewer_who_reads_byte_by_byte_holds_up_nobody(device: ApplianceProcess) -> None:
    with siege(device) as canary, watch(device) as slow, watch(device) as quick:
        received = 0
        for _ in range(3):
            canary.wait_segments(1)
            assert slow.recv(1)
        while received < 300_000:
            received += len(quick.recv(1 << 16))
    assert eventually(lambda: viewers(device) == 0)


def test_live_crowd_beyond_the_limit_is_told_to_come_back(device: ApplianceProcess) -> None:
    """One address may have so many connections; another one still gets in."""
    with siege(device), ExitStack() as stack:
        for _ in range(120):
            stack.enter_context(watch(device, "/live/second.aac"))
        with watch(device, "/live/second.flv") as last:
            assert status(last.recv(64)) == 200
    assert eventually(lambda: viewers(device) == 0)


def test_live_query_of_nonsense_is_refused(device: ApplianceProcess) -> None:
    with siege(device):
        for name, values in {
            "start": ("-1", "LIVE", "1" * 3000, "%00", "%ff"),
            "latency": ("", "0", "lowest", "%ff", "x" * 3000),
        }.items():
            for value in values:
                answer = send(device.port, request(f"/live/camera.flv?{name}={value}", last=True))
                assert status(answer) == 400, (name, value, answer[:200])
        for path in (
            "/..%2f..%2fetc%2fpasswd.flv",
            "/live/%0a.ts",
            f"/{'a' * 300}.aac",
            "/a//b.flv",
        ):
            assert status(send(device.port, request(path, last=True))) in {400, 404}, path


def test_live_websocket_viewers_who_talk_garbage_are_ended(device: ApplianceProcess) -> None:
    dice = random.Random(9)
    with siege(device):
        for _ in range(100):
            with watch(device, "/live/camera.flv", *UPGRADE) as sock:
                assert sock.recv(64, socket.MSG_PEEK).startswith(b"HTTP/1.1 101")
                with suppress(ConnectionError):
                    sock.sendall(dice.randbytes(dice.randrange(1, 4000)))
        assert eventually(lambda: viewers(device) == 0)


def test_live_websocket_flood_of_pings_ends_who_pings(device: ApplianceProcess) -> None:
    """Long ones, and so short ones that a read of the socket holds forty thousand."""
    with siege(device):
        for pings in ((b"\x89\xfd" + bytes(4) + b"p" * 125) * 1000, b"\x89\x80\0\0\0\0" * 40_000):
            with watch(device, "/live/camera.flv", *UPGRADE) as sock:
                with suppress(ConnectionError):
                    for _ in range(150):
                        sock.sendall(pings)
                assert eventually(lambda: viewers(device) == 0), "it is still there"


def test_live_websocket_of_a_foreign_page_is_refused(device: ApplianceProcess) -> None:
    fields = (*UPGRADE, "Origin: https://evil.example")
    with watch(device, "/live/camera.flv", *fields) as sock:
        assert status(sock.recv(64)) == 403
