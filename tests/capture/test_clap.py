"""Sound and picture of the pattern, as a player of the real product's HLS sees and hears them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from appliance_process import ROOT, appliance_process

LIMIT_MS = 40  # what viewers notice
SECONDS = 10


def measure(url: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "bench/clap.py"), "--url", url, "--seconds", str(SECONDS)]
    return subprocess.run(command, capture_output=True, text=True, timeout=90)


def test_clap_of_a_clip_with_late_sound_is_told(tmp_path: Path) -> None:
    late_s, clip = 0.120, tmp_path / "late.mkv"
    picture = "color=black:s=320x180:r=25,drawbox=c=white:t=fill:enable='lt(mod(t,1),0.1)'"
    beep = f"aevalsrc='0.25*sin(6283*t)*lt(mod(t+1-{late_s},1),0.1)':s=48000"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", beep,
               "-t", "5", "-c:v", "libx264", "-c:a", "flac", clip]  # fmt: skip
    subprocess.run(command, check=True, timeout=60)
    done = measure(str(clip))
    assert done.returncode == 1
    late = re.search(r"sound late +(-?[\d.]+)", done.stdout)
    assert late and abs(float(late[1]) - 1000 * late_s) < 5, done.stdout + done.stderr


def test_clap_flash_and_beep_are_one_event_after_hls(tmp_path: Path) -> None:
    with appliance_process(tmp_path) as device:
        device.wait_line("is live")
        done = measure(device.url + "live/camera.m3u8")
    assert done.returncode == 0, done.stdout + done.stderr
    claps = re.search(r"claps +(\d+) in ([\d.]+) s", done.stdout)
    late = re.search(r"sound late +(-?[\d.]+) \(.*worst (-?[\d.]+)", done.stdout)
    assert claps and late, done.stdout
    assert int(claps[1]) >= SECONDS // 2
    assert abs(float(late[1])) < LIMIT_MS / 2
    assert abs(float(late[2])) < LIMIT_MS
