"""The appliance, GStreamer's camera on the other side of a cable, and a player who stays."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance_process import ApplianceProcess, appliance_process
from gstreamer_camera import PICTURE, SOUND, GstreamerCamera, gstreamer_camera, start
from recording import running, wait_until
from two_networks import ELSEWHERE, HERE_6, THERE, THERE_6, TwoNetworks, main, name_host

PORT = "8554"
NAME = "camera.local"
MORE = 1000  # bytes of lines about packets
CONFIG = """
[auth]
play = "open"
[pull]
open = "2s"
silence = "1s"
[[stream]]
name = "live/camera"
source = "rtsp://{host}:{port}/camera"
[stream.rtsp]
transport = "{transport}"
"""
FFMPEG = ("ffmpeg", "-v", "error", "-nostdin", "-analyzeduration", "500000")
COPY = ("-map", "0:v", "-map", "0:a", "-c", "copy", "-flush_packets", "1", "-f", "framecrc")


def camera_there(
    networks: TwoNetworks, *options: str, host: str = "0.0.0.0"
) -> AbstractContextManager[GstreamerCamera]:
    def there(words: list[str]) -> subprocess.Popen[str]:
        return networks.there(start, words)

    own = ("--host", host, "--port", PORT)
    return gstreamer_camera(f"{PICTURE} {SOUND}", *own, *options, start=there)


@dataclass
class Site:
    folder: Path
    device: ApplianceProcess
    player: subprocess.Popen[bytes]
    seen: Path

    @contextmanager
    def comes_back(self) -> Iterator[Callable[[], object]]:
        """What is in the block takes the camera away, waits for that to be noticed, and brings it
        back; then the same player goes on."""
        known = len(self.device.lines)
        yield lambda: self.device.wait_line("live/camera (is lost|ended)", since=known)
        self.device.wait_line("live/camera comes from", since=known)
        goes_on(self.seen)
        assert self.player.poll() is None


def goes_on(file: Path) -> None:
    past = file.stat().st_size
    wait_until(lambda: file.stat().st_size > past + MORE, f"more in {file}")


@contextmanager
def watched(host: str, transport: str, folder: Path) -> Iterator[Site]:
    config = CONFIG.format(host=host, port=PORT, transport=transport)
    with appliance_process(folder, 'rtsp.listen=[":0"]', config=config) as device:
        device.wait_line("live/camera comes from")
        seen = folder / "seen"
        source = ("-i", f"{device.url}live/camera.flv")
        with running(*FFMPEG, *source, *COPY, "-", stdout=seen) as player:
            goes_on(seen)
            yield Site(folder, device, player, seen)
            player.kill()
        assert "Traceback" not in device.log


def moved(networks: TwoNetworks, folder: Path, transport: str) -> None:
    """The camera gets another address, which its name leads to from then on."""
    name_host(NAME, THERE, folder)
    with (
        camera_there(networks),
        watched(NAME, transport, folder) as site,
        site.comes_back() as is_lost,
    ):
        networks.move()
        is_lost()
        name_host(NAME, ELSEWHERE, folder)


def rebooted(networks: TwoNetworks, folder: Path, transport: str) -> None:
    """Its power fails, and that of the switch between; so nobody says goodbye."""
    with ExitStack() as stack:
        camera = stack.enter_context(camera_there(networks))
        site = stack.enter_context(watched(THERE, transport, folder))
        with site.comes_back() as is_lost:
            networks.unplug()
            camera.cut_power()
            is_lost()
            networks.plug()
            stack.enter_context(camera_there(networks))


def grouped(networks: TwoNetworks, folder: Path, transport: str) -> None:
    """It sends to a group, and knows no other way; there is no route for groups on our side."""
    options = ("--by", "multicast", "--interface", "there")
    with camera_there(networks, *options), watched(THERE, transport, folder):
        pass


def by_six(networks: TwoNetworks, folder: Path, transport: str) -> None:
    """IPv6 on both of our sides: the camera's, and a player's who is in its network."""
    networks.number_by_six()
    with (
        camera_there(networks, host=THERE_6),
        watched(f"[{THERE_6}]", transport, folder) as site,
    ):
        url = f"rtsp://[{HERE_6}]:{site.device.rtsp_port}/live/camera"
        words = [*FFMPEG, "-rtsp_transport", transport, "-i", url, "-t", "1", *COPY, "-"]
        done = networks.there(run, words)
        assert (done.returncode, done.stderr) == (0, "")
        rows = [line.split(",") for line in done.stdout.splitlines() if line[0] != "#"]
        assert {row[0] for row in rows} == {"0", "1"}


def run(words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=20)


async def play(what: Callable[[TwoNetworks, Path, str], None], networks: TwoNetworks) -> None:
    with tempfile.TemporaryDirectory() as folder:
        await asyncio.to_thread(what, networks, Path(folder), sys.argv[2])


if __name__ == "__main__":
    scenarios = {one.__name__: one for one in (moved, rebooted, grouped, by_six)}
    main({name: lambda n, one=one: play(one, n) for name, one in scenarios.items()})
