"""How late Porthole's event loop is while it pulls sixteen cameras of 1080p30 4 Mbit/s into HLS.

The cameras are those of bench/rtsp_pull.py; a viewer of each asks for its playlist and every
segment. The figures are the product's own, of the last minute of a run (`porthole_loop_lag_seconds`
in /metrics). What else runs on its core makes it late, too, so the same timer runs in a process
that does nothing, on that core.

    python bench/rtsp_lag.py [--cameras 16] [--runs 1]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import ROOT, SERVER_CORE, fetch, process
from rtsp_pull import FPS, SETTLE_S, cameras, make_clip, pulling

from appliance.services.api.loop_lag import LoopLag

WINDOW_S = 65.0  # a minute is looked back
QUANTILES = {"median": "0.5", "p99": "0.99", "worst": "1"}


async def be_idle() -> None:
    """Until its standard input ends; then it tells its own lag."""
    lag = LoopLag()
    lag.start()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    sys.stdout.write(json.dumps(lag.quantiles_s()))


def idle_lag_ms(child: subprocess.Popen[str]) -> dict[str, float]:
    told, _ = child.communicate()
    return {part: 1000 * seconds for part, seconds in json.loads(told).items()}


def lag_ms(url: str) -> dict[str, float]:
    text = fetch(f"{url}/metrics").decode()
    found = re.findall(r'^porthole_loop_lag_seconds\{quantile="(.+?)"\} (\S+)', text, re.MULTILINE)
    return {part: 1000 * float(seconds) for part, seconds in found}


def watch(playlists: list[str], seconds: float) -> None:
    """Every segment of all of them once, and no burst of them."""
    seen: set[str] = set()
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        for playlist in playlists:
            lines = fetch(playlist).decode().splitlines()
            for name in [line for line in lines if line and not line.startswith("#")][-2:]:
                if (segment := f"{playlist.rpartition('/')[0]}/{name}") not in seen:
                    seen.add(segment)
                    fetch(segment)
            time.sleep(1.0 / len(playlists))


def measure(count: int, folder: Path) -> dict[str, dict[str, float]]:
    words = (sys.executable, "-c", "import asyncio, rtsp_lag; asyncio.run(rtsp_lag.be_idle())")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (
        cameras(folder / "clip.h264") as port,
        pulling(port, count, folder) as (_, url, playlists),
    ):
        time.sleep(SETTLE_S)
        with process(*words, core=SERVER_CORE, cwd=ROOT / "bench", text=True, **pipes) as beside:
            watch(playlists, WINDOW_S)
            return {"porthole": lag_ms(url), "a process that does nothing": idle_lag_ms(beside)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cameras", type=int, default=16)
    parser.add_argument("--runs", type=int, default=1)
    given = parser.parse_args()
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=place)))
        make_clip(folder / "clip.h264")
        for _ in range(given.runs):
            print(f"{given.cameras} cameras, 1080p{FPS}: ms that the loop is late")
            for who, found in measure(given.cameras, folder).items():
                figures = (f"{name} {found[part]:.1f}" for name, part in QUANTILES.items())
                print(f"  {who:28} {', '.join(figures)}", flush=True)


if __name__ == "__main__":
    main()
