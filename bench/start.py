"""From process start to a playable playlist with the test pattern, at 2 s segments.

Playable: the media playlist lists a segment and that segment is fetched. Peer: ffmpeg encoding the
same size with x264 and writing 2 s HLS segments to a tmpfs. Five alternating runs, medians.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import tempfile
import time
import urllib.parse
from pathlib import Path

from idle import media_playlist_url
from measure import fetch, porthole, process, spread

RUNS = 5
SEGMENT_S = 2.0


def ours() -> tuple[float, float]:
    """Seconds until the socket answers, and until a segment is in hand."""
    began = time.monotonic()
    with porthole("stream.0.source=pattern:") as (_, base):
        listening = time.monotonic() - began
        url = media_playlist_url(f"{base}/live/camera.m3u8")
        while not (names := re.findall(r"^[^#\s].*$", fetch(url).decode(), re.MULTILINE)):
            time.sleep(0.02)
        fetch(urllib.parse.urljoin(url, names[0]))
        return listening, time.monotonic() - began


def theirs() -> float:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        playlist = Path(folder) / "camera.m3u8"
        began = time.monotonic()
        command = (
            "ffmpeg -v error -re -f lavfi -i testsrc2=s=1280x720:r=30 -f lavfi -i sine=r=48000"
            " -c:v libx264 -preset ultrafast -tune zerolatency -g 60 -b:v 2M -c:a aac -f hls"
            f" -hls_time {SEGMENT_S} {playlist}"
        ).split()
        with process(*command, stderr=subprocess.DEVNULL):
            while not playlist.exists() or "#EXTINF" not in playlist.read_text():
                time.sleep(0.02)
            return time.monotonic() - began


def main() -> None:
    listening, playable, peer = [], [], []
    for _ in range(RUNS):
        heard, played = ours()
        listening.append(heard)
        playable.append(played)
        peer.append(theirs())
    ratio = statistics.median(playable) / statistics.median(peer)
    print(f"porthole listens after      {spread(listening)} s")
    print(f"porthole is playable after  {spread(playable)} s (goal {SEGMENT_S + 2} s)")
    print(f"ffmpeg's hls muxer after    {spread(peer)} s")
    print(f"ratio to ffmpeg: {ratio:.2f}")


if __name__ == "__main__":
    main()
