"""One clip in by RTSP, the same frames at the same times out by RTSP and HLS, to real players."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from appliance_process import ApplianceProcess
from framehash import make_clip
from hls_recording import check_beginning, record_hls
from recording import end_players, running, wait_until
from rtsp_frames import FFMPEG, check_frames, has_all, player

WAYS = ("tcp", "udp", "http")


@pytest.mark.parametrize(("kind", "pushed"), [("h264-b+aac", "tcp"), ("h265+aac", "udp")])
def test_clip_published_by_ffmpeg_comes_out_as_it_went_in(
    device: ApplianceProcess, tmp_path: Path, kind: str, pushed: str
) -> None:
    """Players come first, and wait for somebody to publish."""
    name = f"{pushed}-clip"
    url = f"rtsp://127.0.0.1:{device.rtsp_port}/live/{name}"
    folders = [tmp_path / way for way in WAYS]
    with ExitStack() as stack:
        for folder in folders:
            folder.mkdir()
            stack.enter_context(running(*player(folder.name, url, folder)))
        publish = (*FFMPEG, "-re", "-i", make_clip(kind), "-c", "copy", "-f", "rtsp")
        words = (*publish, "-rtsp_transport", pushed, url)
        subprocess.run([str(word) for word in words], check=True, timeout=60)
        device.wait_line(f"live/{name} ended")
        hls = record_hls(device, name)
        for folder in folders:
            wait_until(lambda folder=folder: has_all(folder, kind), f"all frames in {folder}")
        end_players(device)
    check_beginning(hls, kind)
    for folder in folders:
        check_frames(folder, kind)
