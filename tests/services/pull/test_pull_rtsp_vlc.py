"""VLC as the camera: its server of RTSP sends by UDP alone."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance_process import appliance_process
from framehash import clip_hashes, frame_hashes, make_clip
from recording import running, wait_packets

KIND = "h264-b+aac"
CUT_FRAMES = 3  # at the end of what was recorded some may be missing that were to be shown before
VLC_USER = "nobody" if os.geteuid() == 0 else None  # it will not run as root
CONFIG = """
[auth]
play = "open"
[[stream]]
name = "live/vlc"
source = "rtsp://127.0.0.1:{port}/camera"
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def vlc_camera(port: int) -> Iterator[None]:
    """Shows a clip again and again."""
    sink = f"#rtp{{sdp=rtsp://127.0.0.1:{port}/camera}}"
    words = ("cvlc", "-q", "--no-media-library", "--input-repeat=1000", "fd://0", "--sout", sink)
    with make_clip(KIND).open("rb") as clip:
        process = subprocess.Popen(words, stdin=clip, stderr=subprocess.DEVNULL, user=VLC_USER)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_camera_of_vlc_comes_out_as_it_went_in(tmp_path: Path) -> None:
    """Found without being told how, and picture by picture, though they come out of order."""
    port, file = free_port(), tmp_path / "seen.flv"
    with (
        vlc_camera(port),
        appliance_process(tmp_path, config=CONFIG.format(port=port)) as device,
        running("curl", "-sN", f"{device.url}live/vlc.flv", stdout=file),
    ):
        wait_packets(file, 200)
        assert "Traceback" not in device.log
    pictures = clip_hashes(KIND)["video"]
    shown = frame_hashes(file, "flv")["video"][:-CUT_FRAMES]
    first = pictures.index(shown[0])
    expected = [pictures[(first + number) % len(pictures)] for number in range(len(shown))]
    assert shown == expected
    assert len(shown) > 50
