"""Publishers whose clocks wrap, step back and leap: who watches goes on."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urljoin
from urllib.request import urlopen

import pytest
from appliance_process import ApplianceProcess
from framehash import packet_times
from recording import count_packets, end_players, running, sessions_of, wait_until
from rtmp_peer import RtmpPeer, Tag, clip_tags

from appliance.wire.rtmp.message import MessageType

TAGS = clip_tags("h264+aac")
HEADS = [tag for tag in TAGS if tag[2][1:2] == b"\0"]
MEDIA = [tag for tag in TAGS if tag[2][1:2] != b"\0"]
SECONDS = 3
PACE_S = 0.3  # per second: players keep up, and the test is short
FILLER = (70_000).to_bytes(4, "big") + b"\x0c" + b"\xff" * 69_998 + b"\x80"  # a NAL of type 12
FFMPEG = ("ffmpeg", "-v", "error", "-nostdin", "-y", "-analyzeduration", "500000")
COPY = ("-map", "0:v", "-map", "0:a", "-c", "copy", "-copyts", "-flush_packets", "1", "-f", "flv")


def second(number: int, start_ms: int) -> list[Tag]:
    """The clip's media of that second, as if the clip had begun at start_ms and went on."""
    low_ms = number % SECONDS * 1000
    shift_ms = start_ms + number // SECONDS * SECONDS * 1000
    return [
        (kind, stamp_ms + shift_ms, body)
        for kind, stamp_ms, body in MEDIA
        if low_ms <= stamp_ms < low_ms + 1000
    ]


@contextmanager
def recorded(device: ApplianceProcess, name: str, folder: Path) -> Iterator[list[Path]]:
    """By ffmpeg and by rtmpdump."""
    url = f"rtmp://127.0.0.1:{device.rtmp_port}/live/{name}"
    files = [folder / "ffmpeg.flv", folder / "rtmpdump.flv"]
    with (
        running(*FFMPEG, "-i", url, *COPY, files[0]),
        running("rtmpdump", "-q", "-v", "-r", url, "-o", files[1]),
    ):
        wait_until(lambda: sessions_of(device) >= 2, "both are there")
        yield files


def check(files: list[Path], device: ApplianceProcess, pictures: int, max_step_us: int) -> None:
    """All pictures are there, in order, and nobody has to wait for one."""
    wait_until(lambda: count_packets(files[0]) >= pictures * 2, "what ffmpeg got")
    end_players(device)
    for file in files:
        wait_until(lambda file=file: count_packets(file) >= pictures, str(file))
        times = [packet.dts_us for packet in packet_times(file, "flv")["video"]]
        assert len(times) >= pictures
        steps = [b - a for a, b in zip(times, times[1:], strict=False)]
        assert min(steps) > 0 and max(steps) <= max_step_us, (file, max(steps), min(steps))


def has_begun(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 4096


def durations(device: ApplianceProcess, name: str) -> list[float]:
    playlist = urlopen(urljoin(device.url, f"live/{name}.hls/fmp4.m3u8")).read().decode()
    return [float(text) for text in re.findall(r"#EXTINF:([\d.]+)", playlist)]


LEAPS = {
    "24 bits": (0xFF_FFFF - 2000, 0),
    "32 bits": (0xFFFF_FFFF - 2000, 0),
    "back": (60_000, -10_000),
    "ahead": (60_000, 3_600_000),
}


@pytest.mark.parametrize("leap", LEAPS)
def test_viewers_go_on_when_the_publisher_s_clock_leaps(
    device: ApplianceProcess, tmp_path: Path, leap: str
) -> None:
    """After 2 s of 6."""
    name = "leap-" + leap.replace(" ", "-")
    start_ms, leap_ms = LEAPS[leap]
    with recorded(device, name, tmp_path) as files, RtmpPeer(device.rtmp_port) as peer:
        assert peer.publish(name) == "NetStream.Publish.Start"
        peer.send_tags(HEADS)
        for number in range(6):
            tags = second(number, start_ms + (leap_ms if number >= 2 else 0))
            peer.send_tags(tags)
            wait_until(lambda: all(map(has_begun, files)), "both have begun")
            time.sleep(PACE_S)
        urlopen(urljoin(device.url, f"live/{name}.m3u8")).close()
        wait_until(lambda: sum(durations(device, name)) >= 4.0, "segments")
        assert max(durations(device, name)) < 2.1
        check(files, device, pictures=175, max_step_us=40_000 if not leap_ms else 1_100_000)


def test_players_go_on_where_our_own_stamps_need_more_than_24_bits(
    device: ApplianceProcess, tmp_path: Path
) -> None:
    """With pictures of several chunks, each with an extended stamp in its header."""
    key = next(body for kind, _, body in MEDIA if kind is MessageType.VIDEO)
    with RtmpPeer(device.rtmp_port) as peer, RtmpPeer(device.rtmp_port) as first:
        assert peer.publish("long-lived") == "NetStream.Publish.Start"
        peer.send_tags(HEADS)
        peer.send_tags(MEDIA[:4])  # a keyframe is among them
        first.play("long-lived")
        first.wait_media(MessageType.VIDEO)  # players' stamps count from when there was the first
        near_ms = 0xFF_FFFF - 1000 - 2000  # ours begin at 1 s
        steps = range(near_ms % 9_000, near_ms + 1, 9_000)
        peer.send_tags([(MessageType.VIDEO, stamp_ms, key) for stamp_ms in steps])
        peer.call(0, "getStreamLength", 9.0, None, "x")
        peer.wait_answer(9.0)
        with recorded(device, "long-lived", tmp_path) as files:
            for number in range(6):
                tags = second(number, steps[-1] + 40)
                tags = [(k, t, b + FILLER if b[0] == 0x17 else b) for k, t, b in tags]
                peer.send_tags(tags)
                wait_until(lambda: all(map(has_begun, files)), "both have begun")
                time.sleep(PACE_S)
            check(files, device, pictures=175, max_step_us=70_000)
            times = packet_times(files[0], "flv")["video"]
            assert times[0].dts_us < 0xFF_FFFF * 1000 < times[-1].dts_us
