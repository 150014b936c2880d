"""A film of flashes and beeps, and when they are seen and heard elsewhere."""

from __future__ import annotations

import re
import subprocess
from itertools import pairwise
from pathlib import Path

# A flash and a beep of a tenth of a second, together, at each second but the first.
FLASH = (
    "color=black:size=192x108:rate=25,"
    "drawbox=color=white:t=fill:enable='gte(t\\,1)*lt(mod(t\\,1)\\,0.1)'"
)
BEEP = "aevalsrc=0.5*sin(2*PI*440*t)*gte(t\\,1)*lt(mod(t\\,1)\\,0.1):s=8000"
VIDEO = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-bf", "0", "-pix_fmt", "yuv420p")
MAX_OFFSET_S = 0.040


def claps(url: str, folder: Path, seconds: float) -> tuple[list[float], list[float]]:
    """When flashes and beeps begin, of an HLS stream from the first segment that is there, or of
    one by RTSP from now on."""
    way = ("-rtsp_transport", "tcp") if url.startswith("rtsp:") else ("-live_start_index", "0")
    command = [
        *("ffmpeg", "-v", "error", "-nostdin"),
        *(*way, "-t", str(seconds), "-i", url, "-filter_complex"),
        f"[0:v]signalstats,metadata=print:file={folder}/picture[v];"
        f"[0:a]silencedetect=noise=-20dB:d=0.3,ametadata=print:file={folder}/sound[a]",
        *("-map", "[v]", "-map", "[a]", "-f", "null", "-"),
    ]
    subprocess.run(command, check=True, timeout=30)
    pictures = [
        (float(at), float(luma) > 128)
        for at, luma in re.findall(
            r"pts_time:(\S+)(?:(?!pts_time)[\s\S])*?YAVG=(\S+)", (folder / "picture").read_text()
        )
    ]
    flashes = [at for (_, was), (at, now) in pairwise(pictures) if now and not was]
    beeps = re.findall(r"silence_end=(\S+)", (folder / "sound").read_text())
    return flashes, [float(at) for at in beeps]


def check_claps(flashes: list[float], beeps: list[float]) -> None:
    """There are some of both, and together."""
    assert len(flashes) >= 2 and len(beeps) >= 2, (flashes, beeps)
    offsets = [min(beeps, key=lambda beep: abs(beep - flash)) - flash for flash in flashes]
    assert max(map(abs, offsets)) <= MAX_OFFSET_S, offsets
