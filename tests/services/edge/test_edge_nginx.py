"""The product as an edge of nginx and of itself: real origins, real publishers and players."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import urlopen

import av
import pytest
from appliance_process import ApplianceProcess, appliance_process
from framehash import clip_hashes, frame_hashes, make_clip
from nginx_rtmp import Nginx, nginx

DEADLINE_S = 30.0
KIND = "h264-small+aac"
MORE_BYTES = 6_000
HASTY = ("ffmpeg", "-v", "error", "-nostdin", "-analyzeduration", "300000")
CLOCKED = (*HASTY, "-use_wallclock_as_timestamps", "1")
UNCHANGED = ("-c", "copy", "-copyts", "-flush_packets", "1", "-f", "nut")
EDGE = '[edge]\norigins = [{origins}]\non_demand_close = "500ms"\nsilence = "2s"\n'


def edge_of(*origins: str) -> str:
    return EDGE.format(origins=", ".join(f'"{one}"' for one in origins))


def wait_until(check: Callable[[], object], what: str) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not check():
        assert time.monotonic() < end_s, what
        time.sleep(0.05)


def size_of(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def wait_growth(*files: Path) -> None:
    """Until each of them has some pictures more."""
    before = [size_of(file) for file in files]
    wait_until(
        lambda: all(size_of(f) > n + MORE_BYTES for f, n in zip(files, before, strict=True)),
        "the same viewers see more",
    )


class Player:
    """Reads a .flv as it comes; `data` is all of it so far."""

    def __init__(self, url: str) -> None:
        self.data = bytearray()
        self.is_over = False
        self._answer = urlopen(url, timeout=DEADLINE_S)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            while data := self._answer.read1(1 << 16):
                self.data += data
        except (OSError, ValueError):
            pass
        self.is_over = True

    def close(self) -> None:
        self._answer.fp.raw._sock.shutdown(2)
        self._thread.join(10)
        self._answer.close()


@contextmanager
def playing(device: ApplianceProcess, count: int) -> Iterator[list[Player]]:
    with ExitStack() as stack:
        players = []
        for _ in range(count):
            players.append(Player(f"{device.url}live/cam.flv"))
            stack.callback(players[-1].close)
        yield players


def test_edge_of_nginx_holds_one_connection_for_twenty_viewers(tmp_path: Path) -> None:
    with (
        nginx(tmp_path / "nginx", "cam") as origin,
        appliance_process(tmp_path, config=edge_of(origin.origin)) as edge,
    ):
        wait_until(lambda: origin.clients() == 1, "ffmpeg publishes")
        with playing(edge, 20) as players:
            wait_until(lambda: all(len(one.data) > 10_000 for one in players), "all see it")
            assert origin.clients() == 2, "the publisher and the edge"
        wait_until(lambda: origin.clients() == 1, "the edge leaves after its last viewer")


def longest_wait_s(file: Path) -> float:
    """Between two packets, as ffmpeg stamped them when they came."""
    with av.open(str(file)) as found:
        stamps = sorted(float(p.dts * p.time_base) for p in found.demux() if p.dts is not None)
    return max(b - a for a, b in zip(stamps, stamps[1:], strict=False))


@contextmanager
def recording(*command: object) -> Iterator[subprocess.Popen[bytes]]:
    words = [str(word) for word in command]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)


@pytest.mark.alone  # it is about seconds
def test_edge_goes_on_within_five_seconds_when_an_origin_is_killed_and_the_other_goes_silent(
    tmp_path: Path,
) -> None:
    """To ffmpeg and rtmpdump, who do not notice; ffmpeg tells how long nothing came."""
    clocked, dump = tmp_path / "clocked.nut", tmp_path / "dump.flv"
    with nginx(tmp_path / "a", "cam") as one, nginx(tmp_path / "b", "cam") as two:
        config = f'[edge]\norigins = ["{one.origin}", "{two.origin}"]\n'
        with appliance_process(tmp_path, config=config) as edge:
            url = f"rtmp://127.0.0.1:{edge.rtmp_port}/live/cam"
            with (
                recording(*CLOCKED, "-i", url, *UNCHANGED, clocked) as ffmpeg,
                recording("rtmpdump", "-q", "-v", "-r", url, "-o", dump) as rtmpdump,
            ):
                wait_growth(clocked, dump)
                assert (one.clients(), two.clients()) == (2, 1)
                one.kill()
                wait_until(lambda: two.clients() == 2, "the edge turns to the other one")
                wait_growth(clocked, dump)
                one.start()
                one.publish()
                wait_until(lambda: one.clients() == 1, "the first one is back")
                two.freeze()
                wait_until(lambda: one.clients() == 2, "the edge turns back")
                wait_growth(clocked, dump)
                assert ffmpeg.poll() is rtmpdump.poll() is None
    assert 0 < longest_wait_s(clocked) < 5
    with av.open(str(dump), format="flv") as found:
        stamps = [packet.dts for packet in found.demux(video=0) if packet.dts is not None]
    steps_ms = [b - a for a, b in zip(stamps, stamps[1:], strict=False)]
    assert min(steps_ms) > 0 and max(steps_ms) < 5_000
    assert set(frame_hashes(dump, "flv")["video"]) <= set(clip_hashes(KIND)["video"])


def test_pull_of_nginx_that_dies_and_comes_back_goes_on(tmp_path: Path) -> None:
    origin = Nginx(tmp_path / "nginx")
    config = f'[[stream]]\nname = "live/cam"\nsource = "{origin.origin}live/cam"\n'
    try:
        origin.start()
        origin.publish()
        with appliance_process(tmp_path, config=config) as edge, playing(edge, 1) as players:
            wait_until(lambda: len(players[0].data) > 20_000, "it is seen")
            origin.kill()
            edge.wait_line(r"pull#\d+ live/cam .*(ended|unreachable)")
            origin.start()
            origin.publish()
            before = len(players[0].data)
            wait_until(lambda: len(players[0].data) > before + 20_000, "it is seen again")
            assert not players[0].is_over
            faults = [line for line in edge.lines if "warning" in line and "unreachable" in line]
            assert len(faults) <= 1, "the same fault is told once"
    finally:
        origin.kill()


def test_edge_of_another_porthole_shows_the_frames_that_ffmpeg_published(tmp_path: Path) -> None:
    for name in ("origin", "edge"):
        (tmp_path / name).mkdir()
    open_to_all = '[auth]\npublish = "lan"\n'
    with appliance_process(tmp_path / "origin", config=open_to_all) as origin:
        config = edge_of(f"rtmp://127.0.0.1:{origin.rtmp_port}/") + open_to_all
        with appliance_process(tmp_path / "edge", config=config) as edge:
            # Published to the edge, handed on to the origin, and played there.
            url = f"rtmp://127.0.0.1:{edge.rtmp_port}/live/cam"
            out = tmp_path / "seen.flv"
            clip = str(make_clip("h264-b+aac"))
            play = ("ffmpeg", "-v", "error", "-nostdin", "-i", f"{origin.url}live/cam.flv")
            player = subprocess.Popen(
                [*play, "-c", "copy", "-frames:v", "80", "-f", "flv", str(out)]
            )
            publish = ("ffmpeg", "-v", "error", "-nostdin", "-re", "-i", clip, "-c", "copy")
            subprocess.run([*publish, "-f", "flv", url], check=True, timeout=60)
            player.wait(DEADLINE_S)
            assert re.search(r"publishes", origin.log)
    found, sent = frame_hashes(out, "flv")["video"], clip_hashes("h264-b+aac")["video"]
    assert found[:75] == sent[:75]  # of those after, some were cut off what they refer to
