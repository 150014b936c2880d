"""GStreamer's RTSP server as a camera, in a process of its own, until the end of the block.

with gstreamer_camera(launch, "--by", "udp") as camera:
    ...camera.url...
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

PICTURE = (
    "videotestsrc is-live=true ! video/x-raw,format=I420,width=192,height=128,framerate=30/1 "
    "! openh264enc gop-size=15 ! h264parse ! rtph264pay name=pay0 config-interval=-1"
)
SOUND = "audiotestsrc is-live=true ! voaacenc ! aacparse ! rtpmp4gpay name=pay1"
PROGRAM = Path(__file__).parent / "wire" / "rtsp" / "gst_camera.py"


@dataclass
class GstreamerCamera:
    port: int
    process: subprocess.Popen[str] = field(repr=False)

    @property
    def url(self) -> str:
        """On this machine."""
        return f"rtsp://127.0.0.1:{self.port}/camera"

    def release(self) -> None:
        """Of one that was started with --hold: it answers from now on."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def cut_power(self) -> None:
        self.process.kill()
        self.process.communicate()


def start(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@contextmanager
def gstreamer_camera(
    launch: str, *options: str, start: Callable[[list[str]], subprocess.Popen[str]] = start
) -> Iterator[GstreamerCamera]:
    """options: of `gst_camera.py`. It listens when the block begins."""
    process = start(["/usr/bin/python3", str(PROGRAM), launch, *options])
    assert process.stdout is not None
    camera = GstreamerCamera(0, process)
    try:
        camera.port = int(process.stdout.readline())
        yield camera
    finally:
        camera.cut_power()
