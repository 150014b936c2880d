"""Pictures of the running appliance, asked for by a crowd without manners."""

from __future__ import annotations

import random
import re
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from urllib.request import urlopen

import pytest
from appliance_process import ApplianceProcess
from siege import dial, eventually, request, send, siege, status

FLOODS = 3  # the crowd's own threads may hold up a frame, but not in every one
MOVING = "/live/camera.mjpeg?fps=30"


def viewers(device: ApplianceProcess) -> int:
    with urlopen(f"{device.url}metrics") as reply:
        found = re.search(r'porthole_sessions\{kind="mjpeg-play"\} (\d+)', reply.read().decode())
    return int(found[1]) if found else 0


def dropped(device: ApplianceProcess) -> int:
    with urlopen(f"{device.url}metrics") as reply:
        text = reply.read().decode()
    return sum(
        map(int, re.findall(r"^porthole_camera_dropped_frames_total\{.*\} (\d+)", text, re.M))
    )


def watch(device: ApplianceProcess, target: str = MOVING) -> socket.socket:
    sock = dial(device.port, receive_bytes=4096)
    sock.sendall(request(target))
    return sock


def test_pictures_stalled_viewers_are_ended_one_and_all(device: ApplianceProcess) -> None:
    with siege(device), ExitStack() as stack:
        for _ in range(40):
            sock = stack.enter_context(watch(device))
            assert status(sock.recv(64, socket.MSG_PEEK)) == 200
        assert eventually(lambda: viewers(device) == 0)


def test_pictures_viewers_who_leave_amid_a_picture_leave_nothing(device: ApplianceProcess) -> None:
    dice = random.Random(4)
    with siege(device):
        for number in range(150):
            with watch(device) as sock:
                sock.recv(dice.randrange(1, 6000))
                if number % 2:  # by a reset
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert eventually(lambda: viewers(device) == 0)


def test_pictures_viewer_who_reads_byte_by_byte_holds_up_nobody(device: ApplianceProcess) -> None:
    with siege(device) as canary, watch(device) as slow:
        for _ in range(3):
            canary.wait_segments(1)
            assert slow.recv(1)
        with watch(device, "/live/camera.mjpeg?fps=15") as quick:
            received = 0
            while received < 300_000:
                received += len(quick.recv(1 << 16))
    assert eventually(lambda: viewers(device) == 0)


def test_pictures_crowd_beyond_the_limit_is_told_to_come_back(device: ApplianceProcess) -> None:
    with siege(device), ExitStack() as stack:
        socks = [stack.enter_context(watch(device, "/stream?fps=1")) for _ in range(80)]
        codes = [status(sock.recv(64, socket.MSG_PEEK)) for sock in socks]
        assert sorted(set(codes)) == [200, 503]
        assert codes.count(200) <= 64
    assert eventually(lambda: viewers(device) == 0)


@pytest.mark.alone
def test_pictures_flood_of_ever_new_shapes_costs_the_video_nothing(
    device: ApplianceProcess,
) -> None:
    """Some are made, most are refused; the camera drops no frame for them."""
    dice = random.Random(3)

    def ask(_: int) -> int:
        query = f"width={dice.randrange(16, 4097)}&quality={dice.randrange(1, 101)}"
        return status(send(device.port, request(f"/live/camera.jpg?{query}", last=True)))

    for _ in range(FLOODS):
        before = dropped(device)
        with siege(device), ThreadPoolExecutor(24) as pool:
            codes = list(pool.map(ask, range(600)))
        assert set(codes) == {200, 503}
        if dropped(device) == before:
            return
    raise AssertionError(f"each of {FLOODS} floods cost the camera frames")


def test_pictures_query_of_nonsense_is_refused(device: ApplianceProcess) -> None:
    with siege(device):
        for field in ("width", "w", "quality", "fps"):
            for value in ("-1", "0", "1000000000", "1" * 3000, "%00", "nan", "1.5", "0x10", "%ff"):
                for path in ("/live/camera.mjpeg", "/?action=stream"):
                    join = "&" if "?" in path else "?"
                    answer = send(device.port, request(f"{path}{join}{field}={value}", last=True))
                    assert status(answer) == 400, (field, value, answer[:200])
        for name in ("../../etc/passwd", "%2fetc%2fpasswd", "a" * 200, "live//camera", "%0a"):
            answer = send(device.port, request(f"/api/frame.jpeg?src={name}", last=True))
            assert status(answer) in {400, 404}, name
