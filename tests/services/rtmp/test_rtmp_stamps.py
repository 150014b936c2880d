"""Publishers whose clocks wrap, step back and leap: who watches goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from urllib.request import urlopen

import pytest
from appliance_process import ApplianceProcess
from framehash import clip_hashes, frame_hashes, packet_times
from hls_recording import CONTAINERS, record_hls
from recording import end_players, running, sessions_of, wait_packets, wait_until
from rtmp_peer import RtmpPeer, Tag, clip_tags

from appliance.wire.rtmp.message import MessageType

TAGS = clip_tags("h264+aac")
HEADS = [tag for tag in TAGS if tag[2][1:2] == b"\0"]
MEDIA = [tag for tag in TAGS if tag[2][1:2] != b"\0"]
SECONDS = 3
PACE_S = 0.3  # per second: players keep up, and the test is short
FILLER = (70_000).to_bytes(4, "big") + b"\x0c" + b"\xff" * 69_998 + b"\x80"  # a NAL of type 12
FFMPEG = ("ffmpeg", "-v", "error", "-nostdin", "-y", "-analyzeduration", "500000")
FORMS = {".flv": "flv", ".ts": "mpegts", ".mp4": "mp4"}
SUFFIXES = {"mp4": "mp4", "mpegts": "ts"}
PICTURES = 175  # of 180 that were sent
SEAMLESS_US = {"video": 34_000, "audio": 22_000}
MENDED_US = {"video": 100_000, "audio": 100_000}
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
    """By RTMP, by ffmpeg and by rtmpdump; and by HTTP as FLV and as MPEG-TS."""
    url, http = f"rtmp://127.0.0.1:{device.rtmp_port}/live/{name}", f"{device.url}live/{name}"
    files = [folder / each for each in ("ffmpeg.flv", "rtmpdump.flv", "http.flv", "http.ts")]
    there = sessions_of(device) + len(files)
    with (
        running(*FFMPEG, "-i", url, *COPY, files[0]),
        running("rtmpdump", "-q", "-v", "-r", url, "-o", files[1]),
        running("curl", "-sN", f"{http}.flv", stdout=files[2]),
        running("curl", "-sN", f"{http}.ts", stdout=files[3]),
    ):
        wait_until(lambda: sessions_of(device) >= there, "all are there")
        yield files


def finish(device: ApplianceProcess, files: list[Path]) -> None:
    """Returns when all that was sent is in the files."""
    for file in files:
        if file.stem == "ffmpeg":
            wait_packets(file, PICTURES * 2)
    end_players(device)
    for file in files:
        wait_packets(file, PICTURES, FORMS[file.suffix])


def check_times(file: Path, pictures: int, longest_us: dict[str, int]) -> None:
    """Stamps of either kind grow, and by how much at most."""
    found = packet_times(file, FORMS[file.suffix])
    assert found.keys() == {"video", "audio"}
    assert len(found["video"]) >= pictures
    for kind, packets in found.items():
        times = [packet.dts_us for packet in packets]
        steps = [b - a for a, b in zip(times, times[1:], strict=False)]
        assert min(steps) > 0 and max(steps) <= longest_us[kind], (kind, max(steps), min(steps))


def check_frames(file: Path) -> None:
    """Those of the clip, twice; as many as there are."""
    pictures = frame_hashes(file, FORMS[file.suffix])["video"]
    assert pictures == (clip_hashes("h264+aac")["video"] * 2)[: len(pictures)]


def has_begun(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 4096


LEAPS = {
    "24-bits": (0xFF_FFFF - 2000, 0),
    "32-bits": (0xFFFF_FFFF - 2000, 0),
    "back": (60_000, -10_000),
    "ahead": (60_000, 3_600_000),
}


def play_out(device: ApplianceProcess, peers: dict[str, RtmpPeer], files: list[Path]) -> None:
    """Six seconds of all of them, and the leaps after two."""
    for leap, peer in peers.items():
        assert peer.publish(f"leap-{leap}") == "NetStream.Publish.Start"
        peer.send_tags(HEADS)
    for number in range(6):
        for leap, peer in peers.items():
            start_ms, leap_ms = LEAPS[leap]
            peer.send_tags(second(number, start_ms + (leap_ms if number >= 2 else 0)))
        wait_until(lambda: all(map(has_begun, files)), "all have begun")
        for leap, form in product(LEAPS, CONTAINERS) if number == 1 else ():
            # There is a segment, so it is made into segments from now on.
            urlopen(f"{device.url}live/leap-{leap}.m3u8?format={form}").close()
        time.sleep(PACE_S)


@pytest.fixture(scope="module")
def recordings(device: ApplianceProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a folder for each leap."""
    folder = tmp_path_factory.mktemp("leaps")
    files: list[Path] = []
    with ExitStack() as stack:
        peers = {}
        for leap in LEAPS:
            (folder / leap).mkdir()
            files += stack.enter_context(recorded(device, f"leap-{leap}", folder / leap))
            peers[leap] = stack.enter_context(RtmpPeer(device.rtmp_port))
        play_out(device, peers, files)
        for leap, (form, container) in product(LEAPS, CONTAINERS.items()):
            hls = record_hls(device, f"leap-{leap}", form, seconds=4.0)
            (folder / leap / f"hls.{SUFFIXES[container]}").write_bytes(hls)
        finish(device, files)
    return folder


@pytest.mark.parametrize("leap", LEAPS)
def test_viewers_go_on_when_the_publisher_s_clock_leaps(recordings: Path, leap: str) -> None:
    """Whatever they play by: all pictures are there, and nobody waits for one; a clock that only
    wraps is not even noticed."""
    files = sorted((recordings / leap).iterdir())
    assert len(files) == 6
    for file in files:
        pictures = 120 if file.stem == "hls" else PICTURES
        check_times(file, pictures, MENDED_US if LEAPS[leap][1] else SEAMLESS_US)
        check_frames(file)


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
                wait_until(lambda: all(map(has_begun, files)), "all have begun")
                time.sleep(PACE_S)
            finish(device, files)
            for file in files:
                check_times(file, PICTURES, MENDED_US)
            times = packet_times(files[0], "flv")["video"]
            assert times[0].dts_us < 0xFF_FFFF * 1000 < times[-1].dts_us
