"""The clap test: by how much sound and picture of the test pattern differ after HLS and ffmpeg.

The pattern flashes and beeps at the start of each second of wall time, as one event. ffmpeg plays
the stream; for each second it is told when the bar turned white and when the sound turned loud.

    python bench/clap.py [--seconds 12] [--url http://board:8080/live/camera.m3u8]
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from measure import porthole, spread, wait_for

LIMIT_MS = 40
WHITE_LUMA = 180  # of the bar: dark or blue before, white for the first tenth of a second
LOUD_DB = -25  # the tone is at -34 dBFS, the beep at -12
NEAR_S = 0.5  # a flash and a beep this near to each other are of the same second
BAR = "crop=iw/8:ih/72:iw-iw/8:ih*0.1+2"  # the right end of the bar that fills each second
FILTERS = (
    f"[0:v]{BAR},signalstats,metadata=print:file={{folder}}/picture[v];"
    f"[0:a]silencedetect=noise={LOUD_DB}dB:d=0.3,ametadata=print:file={{folder}}/sound[a]"
)


@dataclass(frozen=True, slots=True)
class Clap:
    """Seconds of the stream at which the two parts of one event began."""

    flash_s: float
    beep_s: float

    @property
    def offset_ms(self) -> float:
        """Positive: the sound is late."""
        return (self.beep_s - self.flash_s) * 1000


def claps(url: str, seconds: float) -> list[Clap]:
    """Those of so many seconds of the stream."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["ffmpeg", "-v", "error", "-nostdin", "-t", str(seconds), "-i", url,
                   "-filter_complex", FILTERS.format(folder=folder),
                   "-map", "[v]", "-map", "[a]", "-f", "null", "-"]  # fmt: skip
        subprocess.run(command, check=True, timeout=60 + 4 * seconds)
        flashes = flash_starts_s(Path(folder, "picture").read_text())
        beeps = beep_starts_s(Path(folder, "sound").read_text())
    pairs = [(flash, min(beeps, key=lambda beep: abs(beep - flash))) for flash in flashes if beeps]
    return [Clap(flash, beep) for flash, beep in pairs if abs(beep - flash) < NEAR_S]


def flash_starts_s(printed: str) -> list[float]:
    """From what ffmpeg's `metadata` filter prints of `signalstats`.

    A flash after a picture that was left out began at an unknown moment: it does not count.
    """
    found = re.findall(r"pts_time:(\S+)(?:(?!pts_time)[\s\S])*?YAVG=(\S+)", printed)
    pictures = [(float(time), float(luma) > WHITE_LUMA) for time, luma in found]
    steps = list(pairwise(pictures))
    usual_s = statistics.median(after[0] - before[0] for before, after in steps) if steps else 0
    return [
        time
        for (before, was_white), (time, is_white) in steps
        if is_white and not was_white and time - before < 1.5 * usual_s
    ]


def beep_starts_s(printed: str) -> list[float]:
    """From what it prints of `silencedetect`; the first silence has no known beginning."""
    return [float(time) for time in re.findall(r"silence_end=(\S+)", printed)]


def report(url: str, seconds: float) -> bool:
    found = claps(url, seconds)
    if len(found) < 2:
        raise SystemExit(f"only {len(found)} claps in {seconds} s of {url}")
    offsets = [clap.offset_ms for clap in found]
    worst = max(offsets, key=abs)
    drift = offsets[-1] - offsets[0]
    print(f"claps       {len(found)} in {found[-1].flash_s - found[0].flash_s:.1f} s")
    print(f"sound late  {spread(offsets, 1)} ms, worst {worst:.1f} (limit {LIMIT_MS})")
    print(f"spread      {statistics.pstdev(offsets):.1f} ms, last - first {drift:.1f} ms")
    return abs(worst) < LIMIT_MS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--url", help="of a test pattern that is already being served")
    asked = parser.parse_args()
    if asked.url:
        is_good = report(asked.url, asked.seconds)
    else:
        with (
            tempfile.TemporaryDirectory() as state,
            porthole("stream.0.source=pattern:", f"device.state={state}") as (_, base),
        ):
            url = f"{base}/live/camera.m3u8"
            wait_for(url)
            is_good = report(url, asked.seconds)
    raise SystemExit(0 if is_good else 1)


if __name__ == "__main__":
    main()
