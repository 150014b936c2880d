"""G.711 by RTMP as ffmpeg publishes it, and what ffmpeg hears of it in every container."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from urllib.request import urlopen

import pytest
from appliance_process import ApplianceProcess, appliance_process

CONFIG = """
[auth]
publish = "open"
[hls]
segment = "1s"
"""
SECONDS = 2.5
# A flash and a beep of a tenth of a second, together, at each second but the first.
FLASH = (
    "color=black:size=192x108:rate=25,"
    "drawbox=color=white:t=fill:enable='gte(t\\,1)*lt(mod(t\\,1)\\,0.1)'"
)
BEEP = "aevalsrc=0.5*sin(2*PI*440*t)*gte(t\\,1)*lt(mod(t\\,1)\\,0.1):s=8000"
MAX_OFFSET_S = 0.040


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApplianceProcess]:
    with appliance_process(tmp_path_factory.mktemp("device"), config=CONFIG) as running:
        yield running


@contextmanager
def publishing(device: ApplianceProcess, name: str, *codec: str) -> Iterator[None]:
    command = [
        *("ffmpeg", "-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i", FLASH),
        *("-re", "-f", "lavfi", "-i", BEEP, "-c:v", "libx264", "-preset", "ultrafast", "-g", "25"),
        *("-bf", "0", "-pix_fmt", "yuv420p", *codec, "-f", "flv"),
        f"rtmp://127.0.0.1:{device.rtmp_port}/live/{name}",
    ]
    with subprocess.Popen(command) as publisher:
        try:
            device.wait_line(f"live/{name} publishes")
            yield
        finally:
            publisher.kill()


def ffmpeg(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", *arguments], check=True, timeout=30)


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


def claps(url: str, folder: Path) -> tuple[list[float], list[float]]:
    """When flashes and beeps begin."""
    ffmpeg(
        "-live_start_index", "0", "-t", str(SECONDS), "-i", url, "-filter_complex",
        f"[0:v]signalstats,metadata=print:file={folder}/picture[v];"
        f"[0:a]silencedetect=noise=-20dB:d=0.3,ametadata=print:file={folder}/sound[a]",
        "-map", "[v]", "-map", "[a]", "-f", "null", "-",
    )  # fmt: skip
    pictures = [
        (float(at), float(luma) > 128)
        for at, luma in re.findall(
            r"pts_time:(\S+)(?:(?!pts_time)[\s\S])*?YAVG=(\S+)", (folder / "picture").read_text()
        )
    ]
    flashes = [at for (_, was), (at, now) in pairwise(pictures) if now and not was]
    beeps = re.findall(r"silence_end=(\S+)", (folder / "sound").read_text())
    return flashes, [float(at) for at in beeps]


def test_g711_by_rtmp_is_aac_in_hls_with_the_picture(
    device: ApplianceProcess, tmp_path: Path
) -> None:
    with publishing(device, "alaw", "-c:a", "pcm_alaw"):
        assert codecs(f"rtmp://127.0.0.1:{device.rtmp_port}/live/alaw") == ["h264", "pcm_alaw"]
        assert not device.children()  # nobody needed another form so far
        with urlopen(f"{device.url}live/alaw.aac", timeout=10) as sound:
            assert sound.read(2) == b"\xff\xf1"  # ADTS
        assert codecs(f"{device.url}live/alaw.m3u8") == ["h264", "aac"]
        flashes, beeps = claps(f"{device.url}live/alaw.m3u8", tmp_path)
        assert len(device.children()) == 1  # for HLS and the sound alone
    assert len(flashes) >= 2 and len(beeps) >= 2
    offsets = [min(beeps, key=lambda beep: abs(beep - flash)) - flash for flash in flashes]
    assert max(map(abs, offsets)) <= MAX_OFFSET_S, offsets
