"""Real programs publish to us and play from us; all find the very frames that went in."""

from __future__ import annotations

import itertools
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import pytest
from appliance_process import ApplianceProcess
from framehash import (
    assert_same_times,
    clip_hashes,
    frame_hashes,
    make_clip,
    packet_times,
    packet_times_of_new_libav,
)
from hls_recording import RESOLUTION_US, check_beginning, record_hls
from recording import DEADLINE_S, end_players, running, sessions_of, wait_packets, wait_until

FFMPEG = ("ffmpeg", "-v", "error", "-nostdin", "-y")


def publish(url: str, kind: str) -> None:
    """By ffmpeg, in real time."""
    command = (*FFMPEG, "-re", "-i", make_clip(kind), "-c", "copy", "-f", "flv", url)
    subprocess.run([str(word) for word in command], check=True, timeout=60)


def publish_by_new_libav(url: str, kind: str, begin_s: float = 0.0) -> None:
    """In real time; writes HEVC and Opus as enhanced RTMP does. begin_s: of its stamps."""
    began_s = time.monotonic()
    options = {"output_ts_offset": str(begin_s)}
    with (
        av.open(make_clip(kind)) as demuxer,
        av.open(url, "w", format="flv", options=options) as muxer,
    ):
        streams = {s.index: muxer.add_stream_from_template(s) for s in demuxer.streams}
        for packet in demuxer.demux():
            if packet.dts is not None:
                due_s = began_s + float(packet.dts * packet.time_base)
                time.sleep(max(0.0, due_s - time.monotonic()))  # the pace of a live encoder
                packet.stream = streams[packet.stream.index]
                muxer.mux(packet)


@pytest.mark.parametrize(
    ("kind", "begin_s"),
    [
        ("h265-b+aac", 0.0),
        ("h264-b+opus", 0.0),
        ("h265-b+opus", 0xFF_FFFF / 1000 - 2),
    ],
)
def test_clip_of_newer_codecs_comes_out_as_it_went_in(
    device: ApplianceProcess, tmp_path: Path, kind: str, begin_s: float
) -> None:
    """hvc1 and Opus, which enhanced RTMP has; the newer libav writes and reads them, also where
    its stamps become longer than 24 bits."""
    name = kind.replace("+", "-")
    url = f"rtmp://127.0.0.1:{device.rtmp_port}/live/{name}"
    file = tmp_path / "dump.flv"
    with running("rtmpdump", "-q", "-v", "-r", url, "-o", file):
        wait_until(lambda: sessions_of(device) >= 1, "the player is there")
        publish_by_new_libav(url, kind, begin_s)
        device.wait_line(f"live/{re.escape(name)} ended")
        expected = packet_times(make_clip(kind))
        total = sum(map(len, expected.values()))
        hls = record_hls(device, name)
        end_players(device)
        wait_packets(file, total)
    assert frame_hashes(file, "flv") == clip_hashes(kind)
    times = packet_times_of_new_libav(file, "flv")
    assert_same_times(expected, times, resolution_us=RESOLUTION_US)
    check_beginning(hls, kind)


def test_newer_libav_plays_hevc_and_opus(device: ApplianceProcess) -> None:
    url = f"rtmp://127.0.0.1:{device.rtmp_port}/live/newer"
    with published_by_new_libav(url, "h265-b+opus"), av.open(url, timeout=DEADLINE_S) as player:
        names = {stream.codec_context.codec.canonical_name for stream in player.streams}
        pictures = itertools.islice(player.decode(video=0), 20)
        assert {frame.width for frame in pictures} == {192}
    assert names == {"hevc", "opus"}


@contextmanager
def published_by_new_libav(url: str, kind: str) -> Iterator[None]:
    thread = threading.Thread(target=publish_by_new_libav, args=(url, kind))
    thread.start()
    try:
        yield
    finally:
        thread.join(DEADLINE_S)


def test_gstreamer_publishes(device: ApplianceProcess) -> None:
    url = f"rtmp://127.0.0.1:{device.rtmp_port}/live/gst"
    clip = make_clip("h264+aac")
    with running(
        "gst-launch-1.0", "-q", "filesrc", f"location={clip}", "!", "qtdemux", "name=d",
        "flvmux", "name=m", "streamable=true", "!", "rtmp2sink", f"location={url}",
        "d.video_0", "!", "queue", "!", "h264parse", "!", "m.video",
        "d.audio_0", "!", "queue", "!", "aacparse", "!", "m.audio",
    ):  # fmt: skip
        device.wait_line("live/gst publishes")
        found = frame_hashes(record_hls(device, "gst"))
    pictures = clip_hashes("h264+aac")["video"]
    assert len(found["video"]) >= 50
    assert found["video"] == pictures[: len(found["video"])]
