"""nginx-rtmp pushes to the appliance, pulls from it and is forwarded to; and comes back after it
was killed, with all of that at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from appliance_process import ApplianceProcess, appliance_process
from framehash import clip_hashes, frame_hashes, packet_times
from nginx_rtmp import Nginx, free_port
from recording import count_packets, running, wait_packets

KIND = "h264+aac"
APPLICATIONS = """
  application push {{ live on; push rtmp://127.0.0.1:{ours}/live; push_reconnect 200ms; }}
  application pull {{ live on; pull rtmp://127.0.0.1:{ours}/live; pull_reconnect 200ms; }}
  application forwarded {{ live on; wait_key on; }}
"""
CONFIG = """
[auth]
publish = "open"
[[forward]]
stream = "live/cam"
to = ["{origin}forwarded/{{stream}}"]
"""
ENOUGH = 90  # packets, of which a third or so are pictures


@contextmanager
def recorded(url: str, file: Path) -> Iterator[None]:
    with running("rtmpdump", "-q", "-v", "-r", url, "-o", file):
        yield


def record_there(there: Nginx, folder: Path) -> dict[str, Path]:
    """What nginx shows of what it pulls from us and of what we forward to it."""
    files = {name: folder / f"{name}.flv" for name in ("pull", "forwarded")}
    folder.mkdir()
    with (
        recorded(f"{there.origin}pull/cam", files["pull"]),
        recorded(f"{there.origin}forwarded/cam", files["forwarded"]),
    ):
        for file in files.values():
            wait_packets(file, ENOUGH)
    return files


def check(file: Path) -> None:
    """Pictures of the clip one after the other, which ffmpeg decodes without a complaint."""
    found, clip = frame_hashes(file, "flv")["video"], clip_hashes(KIND)["video"]
    begin = clip.index(found[0])
    assert len(found) >= 20
    assert found == (clip * (len(found) // len(clip) + 2))[begin : begin + len(found)]


@pytest.fixture
def there(tmp_path: Path) -> Iterator[tuple[Nginx, int]]:
    """And the port where it looks for us."""
    ours = free_port()
    server = Nginx(tmp_path / "nginx", APPLICATIONS.format(ours=ours))
    try:
        yield server, ours
    finally:
        server.kill()


def begin(device: ApplianceProcess, nginx: Nginx) -> None:
    told = len(device.lines)
    nginx.start()
    nginx.publish("cam", KIND, "push")
    device.wait_line("live/cam publishes", since=told)


def test_nginx_pushes_pulls_and_is_forwarded_to_and_again_after_it_was_killed(
    there: tuple[Nginx, int], tmp_path: Path
) -> None:
    nginx, ours = there
    config = CONFIG.format(origin=nginx.origin)
    listen = f'rtmp.listen=["127.0.0.1:{ours}"]'
    seen = tmp_path / "seen.flv"
    with (
        appliance_process(tmp_path, listen, config=config) as device,
        recorded(f"rtmp://127.0.0.1:{ours}/live/cam", seen),
    ):
        begin(device, nginx)
        before = record_there(nginx, tmp_path / "before")
        nginx.kill()
        device.wait_line("live/cam ended")
        count = count_packets(seen)
        begin(device, nginx)
        after = record_there(nginx, tmp_path / "after")
        wait_packets(seen, count + ENOUGH)  # who watches here goes on
        assert "Traceback" not in device.log
    for file in (*before.values(), *after.values()):
        check(file)
    stamps = [packet.dts_us for packet in packet_times(seen, "flv")["video"]]
    assert stamps == sorted(set(stamps))
    assert set(frame_hashes(seen, "flv")["video"]) <= set(clip_hashes(KIND)["video"])
