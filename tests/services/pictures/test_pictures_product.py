"""The product with its real worker: what pictures cost the video, and when a camera starts."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from appliance_process import SMALL_PATTERN, ApplianceProcess, appliance_process

FPS = tomllib.loads(SMALL_PATTERN)["stream"][0]["video"]["fps"]
SPAN_S = 10.0
RATE_HZ = 10

OTHERS = """
[[stream]]
name = "live/asleep"
source = "pattern:"
on_demand = true
on_demand_close = "1s"
audio.device = "none"
[stream.video]
width = 320
height = 180
fps = 10
[[stream]]
name = "live/lost"
source = "file:/nowhere/at-all.mp4"
[[stream]]
name = "live/small"
source = "camera:camera/sub"
[stream.video]
width = 160
height = 90
fps = 5
"""


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApplianceProcess]:
    """Its playlist lists more than the span that is looked at."""
    folder = tmp_path_factory.mktemp("pictures")
    settings = ('hls.window="30s"', "camera.nice=0")
    with appliance_process(folder, *settings, config=SMALL_PATTERN + OTHERS) as process:
        process.wait_line("live/camera is live")
        yield process
        assert "Traceback" not in process.log


def get(device: ApplianceProcess, path: str) -> tuple[int, dict[str, str], bytes]:
    try:
        with urlopen(device.url + path, timeout=30) as reply:
            return reply.status, dict(reply.headers), reply.read()
    except HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


def metric(device: ApplianceProcess, name: str, stream: str = "live/camera") -> int:
    text = get(device, "metrics")[2].decode()
    found = re.search(rf'^porthole_{name}{{[^}}]*stream="{stream}"[^}}]*}} (\d+)', text, re.M)
    return int(found[1]) if found else 0


def probe(path: Path, *entries: str) -> dict[str, list[dict[str, str]]]:
    command = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", *entries]
    done = subprocess.run([*command, "-of", "json", path], capture_output=True, check=True)
    return json.loads(done.stdout)


def recorded_us(device: ApplianceProcess, folder: Path) -> list[int]:
    """When each frame in the playlist's window was taken."""
    playlist = get(device, "live/camera.hls/fmp4.m3u8")[2].decode()
    names = re.findall(r'URI="([^"]+)"', playlist)
    names += [line for line in playlist.splitlines() if line and line[0] != "#"]
    clip = folder / "clip.mp4"
    clip.write_bytes(b"".join(get(device, f"live/camera.hls/{name}")[2] for name in names))
    packets = probe(clip, "packet=pts_time")["packets"]
    return sorted(round(float(packet["pts_time"]) * 1e6) for packet in packets)


@pytest.mark.alone  # no frame may be late
def test_pictures_ten_a_second_for_ten_seconds_drop_no_frame(
    device: ApplianceProcess, tmp_path: Path
) -> None:
    """A machine busy with other things may drop some; pictures that cost frames cost some in
    every span."""
    get(device, "live/camera.m3u8")
    deadline_s = time.monotonic() + 20
    while len(recorded_us(device, tmp_path)) < 2 * FPS:  # the last second is not listed at once
        assert time.monotonic() < deadline_s, "the playlist does not grow"
        time.sleep(0.1)
    longest_us = [ask_for_pictures(device, tmp_path)]
    while longest_us[-1] > 1.5 * 1e6 / FPS and len(longest_us) < 4:
        longest_us.append(ask_for_pictures(device, tmp_path))
    assert longest_us[-1] < 1.5 * 1e6 / FPS, longest_us


def ask_for_pictures(device: ApplianceProcess, folder: Path) -> int:
    """The longest time between two frames of the video while pictures are taken."""
    made, stamps = metric(device, "pictures_total"), set()
    began_s = time.monotonic()
    for number in range(int(SPAN_S * RATE_HZ)):
        time.sleep(max(0.0, began_s + number / RATE_HZ - time.monotonic()))  # the pace is the test
        code, headers, body = get(device, f"live/camera.jpg?width=320&quality={50 + number % 4}")
        assert (code, body[:2], body[-2:]) == (200, b"\xff\xd8", b"\xff\xd9")
        stamps.add(headers["X-Timestamp"])
    assert len(stamps) > 0.9 * SPAN_S * RATE_HZ
    assert metric(device, "pictures_total") - made == SPAN_S * RATE_HZ
    taken_us = recorded_us(device, folder)[-int(SPAN_S * FPS) :]
    gaps = [after - before for before, after in zip(taken_us, taken_us[1:], strict=False)]
    assert len(gaps) == SPAN_S * FPS - 1
    return max(gaps)


def test_pictures_fifty_viewers_cost_one_encoding(device: ApplianceProcess) -> None:
    with ExitStack() as stack:
        socks = []
        for _ in range(50):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", device.port), 20))
            sock.sendall(b"GET /live/camera.mjpeg?fps=5&width=160 HTTP/1.1\r\nHost: a\r\n\r\n")
            socks.append(sock)
        received = [bytearray() for _ in socks]
        before = metric(device, "pictures_total")
        while min(got.count(b"X-Timestamp") for got in received) < 15:
            for sock, got in zip(socks, received, strict=True):
                got += sock.recv(1 << 20)
        made = metric(device, "pictures_total") - before
        assert 10 <= made <= 40  # of 750 that were seen
        firsts = [set(re.findall(rb"X-Timestamp: ([\d.]+)", got)) for got in received]
        assert len(set.intersection(*firsts)) >= 10
        document = get(device, "metrics")[2].decode()
        assert 'porthole_sessions{kind="mjpeg-play"} 50' in document


def test_pictures_start_a_sleeping_camera_and_let_it_sleep_again(device: ApplianceProcess) -> None:
    told = len(device.lines)
    code, _, body = get(device, "live/asleep.jpg")
    assert code == 200, body
    device.wait_line("live/asleep nobody watches any more", since=told)


def test_pictures_of_a_lost_camera_are_refused_with_the_reason(device: ApplianceProcess) -> None:
    for suffix in ("jpg", "mjpeg"):
        code, headers, body = get(device, f"live/lost.{suffix}")
        assert code == 503, body
        assert headers["Retry-After"]
        assert b"live/lost: " in body


def test_pictures_of_the_second_stream_are_as_small_as_it(
    device: ApplianceProcess, tmp_path: Path
) -> None:
    code, _, body = get(device, "live/small.jpg")
    assert code == 200, body
    (tmp_path / "a.jpg").write_bytes(body)
    (stream,) = probe(tmp_path / "a.jpg", "stream=width,height")["streams"]
    assert (stream["width"], stream["height"]) == (160, 90)


def test_pictures_share_the_root_with_the_page(device: ApplianceProcess) -> None:
    assert get(device, "")[1]["Content-Type"].startswith("text/html")
    _, headers, _ = get(device, "?action=snapshot&quality=33")
    assert headers["Content-Type"] == "image/jpeg"
    assert abs(time.time() - float(headers["X-Timestamp"])) < 5
