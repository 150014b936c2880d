"""What HLS has of a stream, as one file."""

from __future__ import annotations

import re
import time
from pathlib import Path
from urllib.parse import urljoin
from urllib.request import urlopen

from appliance_process import ApplianceProcess
from framehash import (
    DURATION_S,
    assert_same_times,
    clip_hashes,
    frame_hashes,
    make_clip,
    packet_times,
)
from recording import DEADLINE_S

RESOLUTION_US = 2_000  # of the protocol 1 ms, and of what is compared with half a millisecond
CONTAINERS = {"fmp4": "mp4", "ts": "mpegts"}


def record_hls(
    device: ApplianceProcess, name: str, form: str = "fmp4", seconds: float = DURATION_S - 1.5
) -> bytes:
    """All there is, once it is more than so many seconds: the last ones end with the stream."""
    url = urljoin(device.url, f"live/{name}.hls/{form}.m3u8")
    urlopen(urljoin(device.url, f"live/{name}.m3u8?format={form}")).close()
    end_s = time.monotonic() + DEADLINE_S
    while True:
        with urlopen(url) as answer:
            playlist = answer.read().decode()
        lengths = re.findall(r"#EXTINF:([\d.]+)", playlist)
        if sum(map(float, lengths)) > seconds:
            break
        assert time.monotonic() < end_s, playlist
        time.sleep(0.1)
    names = re.findall(r'#EXT-X-MAP:URI="(.*?)"', playlist)[:1]
    names += [line for line in playlist.splitlines() if line and line[0] != "#"]
    parts = []
    for part in names:
        with urlopen(urljoin(url, part)) as answer:
            parts.append(answer.read())
    return b"".join(parts)


def check_beginning(source: bytes | Path, kind: str, container: str = "mp4") -> None:
    """Of the clip, in its times and frames; as much as there is."""
    found = packet_times(source, container)
    expected = {
        name: times[: len(found[name])] for name, times in packet_times(make_clip(kind)).items()
    }
    assert len(found["video"]) >= 50
    assert_same_times(expected, found, resolution_us=RESOLUTION_US)
    for name, hashes in frame_hashes(source, container).items():
        assert hashes == clip_hashes(kind)[name][: len(hashes)], name
