"""G.711 by RTMP as ffmpeg publishes it, and what ffmpeg hears of it in every container."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
from appliance_process import ApplianceProcess, appliance_process
from clapper import BEEP, FLASH, VIDEO, check_claps, claps

CONFIG = """
[auth]
publish = "open"
[hls]
segment = "1s"
"""
SECONDS = 2.5


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApplianceProcess]:
    with appliance_process(tmp_path_factory.mktemp("device"), config=CONFIG) as running:
        yield running


@contextmanager
def publishing(device: ApplianceProcess, name: str, *codec: str) -> Iterator[None]:
    command = [
        *("ffmpeg", "-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i", FLASH),
        *("-re", "-f", "lavfi", "-i", BEEP, *VIDEO, *codec, "-f", "flv"),
        f"rtmp://127.0.0.1:{device.rtmp_port}/live/{name}",
    ]
    with subprocess.Popen(command) as publisher:
        try:
            device.wait_line(f"live/{name} publishes")
            yield
        finally:
            publisher.kill()


def codecs(url: str) -> list[str]:
    command = [
        "ffprobe",
        "-v",
        "error",
        "-analyzeduration",
        "500000",
        "-show_entries",
        "stream=codec_name",
        "-of",
        "csv=p=0",
    ]
    done = subprocess.run([*command, url], check=True, timeout=30, capture_output=True, text=True)
    return list(dict.fromkeys(line.strip(",") for line in done.stdout.split()))


def test_g711_by_rtmp_is_aac_in_hls_with_the_picture(
    device: ApplianceProcess, tmp_path: Path
) -> None:
    with publishing(device, "alaw", "-c:a", "pcm_alaw"):
        assert codecs(f"rtmp://127.0.0.1:{device.rtmp_port}/live/alaw") == ["h264", "pcm_alaw"]
        assert not device.children()  # nobody needed another form so far
        with urlopen(f"{device.url}live/alaw.aac", timeout=10) as sound:
            assert sound.read(2) == b"\xff\xf1"  # ADTS
        assert codecs(f"{device.url}live/alaw.m3u8") == ["h264", "aac"]
        flashes, beeps = claps(f"{device.url}live/alaw.m3u8", tmp_path, SECONDS)
        assert len(device.children()) == 1  # for HLS and the sound alone
    check_claps(flashes, beeps)


def test_mp3_by_rtmp_is_aac_by_rtsp_with_the_picture(
    device: ApplianceProcess, tmp_path: Path
) -> None:
    """RTP has a payload for MP3, which hardly anybody plays any more; we have none."""
    url = f"rtsp://127.0.0.1:{device.rtsp_port}/live/mp3"
    with publishing(device, "mp3", "-c:a", "libmp3lame", "-ar", "44100"):
        assert codecs(f"{url}?video") == ["h264"]
        assert codecs(url) == ["h264", "aac"]
        flashes, beeps = claps(url, tmp_path, SECONDS + 1)
    check_claps(flashes, beeps)
