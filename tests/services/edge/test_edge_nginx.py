"""The product as an edge of nginx and of itself: real origins, real publishers and players."""

from __future__ import annotations

import io
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import urlopen

import av
from appliance_process import ApplianceProcess, appliance_process
from framehash import clip_hashes, frame_hashes, make_clip
from nginx_rtmp import Nginx, nginx

DEADLINE_S = 30.0
EDGE = '[edge]\norigins = [{origins}]\non_demand_close = "500ms"\nsilence = "2s"\n'


def edge_of(*origins: str) -> str:
    return EDGE.format(origins=", ".join(f'"{one}"' for one in origins))


def wait_until(check: Callable[[], object], what: str) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not check():
        assert time.monotonic() < end_s, what
        time.sleep(0.05)


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

    def stamps_s(self) -> list[float]:
        """When the pictures that have come are to be shown."""
        with av.open(io.BytesIO(bytes(self.data)), format="flv") as found:
            packets = found.demux(video=0)
            return [float(one.pts * one.time_base) for one in packets if one.pts is not None]


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


def test_edge_goes_on_within_five_seconds_when_one_of_two_nginx_is_killed(tmp_path: Path) -> None:
    with nginx(tmp_path / "a", "cam") as one, nginx(tmp_path / "b", "cam") as two:
        config = edge_of(one.origin, two.origin)
        with appliance_process(tmp_path, config=config) as edge, playing(edge, 3) as players:
            wait_until(lambda: all(len(one.data) > 20_000 for one in players), "all see it")
            assert (one.clients(), two.clients()) == (2, 1)
            one.kill()
            wait_until(lambda: two.clients() == 2, "the edge turns to the other one")
            before = [len(player.data) for player in players]
            wait_until(
                lambda: all(len(p.data) > n + 20_000 for p, n in zip(players, before, strict=True)),
                "the same viewers see more",
            )
            assert not any(player.is_over for player in players)
            for player in players:
                stamps = player.stamps_s()
                steps = [b - a for a, b in zip(stamps, stamps[1:], strict=False)]
                assert 0 < max(steps) < 5


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
