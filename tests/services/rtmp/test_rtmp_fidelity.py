"""One clip in by RTMP, the same frames at the same times out by every protocol, to real players."""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from appliance_process import ApplianceProcess
from framehash import assert_same_times, clip_hashes, frame_hashes, make_clip, packet_times
from hls_recording import CONTAINERS, RESOLUTION_US, check_beginning, record_hls
from recording import end_players, running, sessions_of, wait_packets, wait_until

KIND = "h264-b+aac"
FFMPEG = ("ffmpeg", "-v", "error", "-nostdin", "-y")
COPY = ("-map", "0:v", "-map", "0:a", "-c", "copy", "-flush_packets", "1", "-f", "flv")
VLC = ("cvlc", "-q", "--no-media-library", "--play-and-exit")
VLC_SOUT = ("--sout", "#std{access=file,mux=mkv,dst=-}", "--sout-mux-caching", "0")
VLC_USER = "nobody" if os.geteuid() == 0 else None  # it will not run as root
FORMATS = {
    "ffmpeg": "flv",
    "rtmpdump": "flv",
    "gstreamer": "flv",
    "http-flv": "flv",
    "http-ts": "mpegts",
    "vlc-rtmp": "matroska",
    "vlc-flv": "matroska",
}


def commands(rtmp: str, http: str, folder: Path) -> dict[str, tuple[object, ...]]:
    """Those that write to their standard output have no folder in them."""
    gst = ("gst-launch-1.0", "-q", "rtmp2src", f"location={rtmp}", "!", "filesink")
    return {
        "ffmpeg": (*FFMPEG, "-i", rtmp, *COPY, folder / "ffmpeg"),
        "rtmpdump": ("rtmpdump", "-q", "-v", "-r", rtmp, "-o", folder / "rtmpdump"),
        "gstreamer": (*gst, "buffer-mode=unbuffered", f"location={folder / 'gstreamer'}"),
        "http-flv": ("curl", "-sN", f"{http}.flv"),
        "http-ts": ("curl", "-sN", f"{http}.ts"),
        "vlc-rtmp": (*VLC, *VLC_SOUT, rtmp, "vlc://quit"),
        "vlc-flv": (*VLC, *VLC_SOUT, f"{http}.flv", "vlc://quit"),
    }


@pytest.fixture(scope="module")
def recordings(
    device: ApplianceProcess, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Of the clip, which ffmpeg publishes when all are there; by who recorded it."""
    folder = tmp_path_factory.mktemp("recordings")
    files = {name: folder / name for name in (*FORMATS, *CONTAINERS)}
    rtmp, http = f"rtmp://127.0.0.1:{device.rtmp_port}/live/clip", f"{device.url}live/clip"
    with ExitStack() as stack:
        processes = {}
        for name, command in commands(rtmp, http, folder).items():
            user = VLC_USER if command[0] == "cvlc" else None
            stdout = files[name] if command[0] in {"cvlc", "curl"} else None
            processes[name] = stack.enter_context(running(*command, stdout=stdout, user=user))
        wait_until(lambda: sessions_of(device) >= len(FORMATS), "all are there")
        publish = (*FFMPEG, "-re", "-i", make_clip(KIND), "-c", "copy", "-f", "flv", rtmp)
        subprocess.run([str(word) for word in publish], check=True, timeout=60)
        device.wait_line("live/clip ended")
        for form in CONTAINERS:
            files[form].write_bytes(record_hls(device, "clip", form))
        end_players(device)
        total = sum(map(len, packet_times(make_clip(KIND)).values()))
        for name, format in FORMATS.items():
            if "vlc" in name:
                processes[name].wait(20)
            else:
                wait_packets(files[name], total, format)
    return files


@pytest.mark.parametrize("name", [name for name in FORMATS if "vlc" not in name])
def test_clip_published_by_ffmpeg_comes_out_as_it_went_in(
    recordings: dict[str, Path], name: str
) -> None:
    file, format = recordings[name], FORMATS[name]
    assert frame_hashes(file, format) == clip_hashes(KIND)
    times = packet_times(file, format)
    assert_same_times(packet_times(make_clip(KIND)), times, resolution_us=RESOLUTION_US)


@pytest.mark.parametrize("form", CONTAINERS)
def test_clip_published_by_ffmpeg_is_the_same_by_hls(
    recordings: dict[str, Path], form: str
) -> None:
    check_beginning(recordings[form], KIND, CONTAINERS[form])


@pytest.mark.parametrize("name", ["vlc-rtmp", "vlc-flv"])
def test_clip_published_by_ffmpeg_is_played_by_vlc(recordings: dict[str, Path], name: str) -> None:
    """All its pictures; of the sound it keeps the last frames to itself when a stream ends."""
    found, expected = frame_hashes(recordings[name], FORMATS[name]), clip_hashes(KIND)
    assert found["video"] == expected["video"]
    assert " ".join(found["audio"]) in " ".join(expected["audio"])
    assert len(found["audio"]) > len(expected["audio"]) - 10
