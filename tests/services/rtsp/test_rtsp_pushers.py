"""What GStreamer and ffmpeg push by RTSP, of all codecs they share with us."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest
from appliance_process import ApplianceProcess
from recording import running

GST_CODERS = {
    "h264": "openh264enc gop-size=15 ! h264parse",
    "hevc": "x265enc speed-preset=ultrafast tune=zerolatency key-int-max=15 ! h265parse",
    "aac": "audio/x-raw,rate=48000 ! voaacenc ! aacparse",
    "opus": "audio/x-raw,rate=48000 ! opusenc",
    "pcm_alaw": "audio/x-raw,rate=8000,channels=1 ! alawenc",
}
FFMPEG_CODERS = {
    "h264": "-c:v libx264 -preset ultrafast -g 15",
    "hevc": "-c:v libx265 -preset ultrafast -x265-params log-level=error:keyint=15:pools=1",
    "aac": "-c:a aac",
    "opus": "-c:a libopus -ar 48000",
    "pcm_mulaw": "-c:a pcm_mulaw -ar 8000",
}


@dataclass(frozen=True)
class Push:
    program: str
    video: str
    audio: str
    way: str

    @property
    def name(self) -> str:
        return f"{self.program}-{self.video}-{self.audio}-{self.way}"

    def command(self, url: str) -> list[str]:
        if self.program == "gst":
            picture = "videotestsrc is-live=true ! video/x-raw,format=I420,width=160,height=128"
            sink = f"rtspclientsink name=sink protocols={self.way} latency=0 location={url}"
            words = f"{picture} ! {GST_CODERS[self.video]} ! sink. "
            words += f"audiotestsrc is-live=true ! {GST_CODERS[self.audio]} ! sink. {sink}"
            return ["gst-launch-1.0", "-q", *words.split()]
        words = "-re -f lavfi -i testsrc2=size=160x128:rate=30 -re -f lavfi -i sine "
        words += f"{FFMPEG_CODERS[self.video]} -pix_fmt yuv420p -threads 1 "
        words += f"{FFMPEG_CODERS[self.audio]} -f rtsp -rtsp_transport {self.way} {url}"
        return ["ffmpeg", "-v", "error", "-nostdin", *words.split()]


PUSHES = [
    Push("gst", "h264", "aac", "tcp"),
    Push("gst", "h264", "aac", "udp"),
    Push("gst", "hevc", "opus", "tcp"),
    Push("gst", "h264", "pcm_alaw", "udp"),
    Push("ffmpeg", "hevc", "opus", "udp"),
    Push("ffmpeg", "h264", "pcm_mulaw", "tcp"),
]


@contextmanager
def pushing(device: ApplianceProcess) -> Iterator[None]:
    """All of them at once, and all that is needed of them has come."""
    with ExitStack() as stack:
        for push in PUSHES:
            url = f"rtsp://127.0.0.1:{device.rtsp_port}/live/{push.name}"
            stack.enter_context(running(*push.command(url)))
        for push in PUSHES:
            device.wait_line(f"live/{push.name} publishes")
        yield


def codecs(url: str, *options: str) -> list[str]:
    words = ("ffprobe", "-v", "error", *options, "-show_entries", "stream=codec_name")
    done = subprocess.run(
        [*words, "-of", "csv=p=0", url], check=True, timeout=40, capture_output=True, text=True
    )
    assert not done.stderr
    return list(dict.fromkeys(line.strip(",") for line in done.stdout.split()))


@pytest.fixture(scope="module")
def seen(device: ApplianceProcess) -> dict[str, list[str]]:
    """What ffprobe finds by RTSP, and in HLS of what has no place there."""

    def look(push: Push) -> list[str]:
        url = f"rtsp://127.0.0.1:{device.rtsp_port}/live/{push.name}"
        found = codecs(url, "-rtsp_transport", push.way)
        if push.audio.startswith("pcm"):
            found += codecs(f"{device.url}live/{push.name}.m3u8")
        return sorted(found)

    with pushing(device), ThreadPoolExecutor() as threads:
        return dict(zip([one.name for one in PUSHES], threads.map(look, PUSHES), strict=True))


@pytest.mark.parametrize("push", PUSHES, ids=[one.name for one in PUSHES])
def test_what_is_pushed_is_played(seen: dict[str, list[str]], push: Push) -> None:
    expected = [push.video, push.audio]
    if push.audio.startswith("pcm"):
        expected += [push.video, "aac"]
    assert seen[push.name] == sorted(expected)
