"""How soon a camera is seen again that was away: from when it listens to a viewer's first picture.

Cameras (tests/fault_camera.py) play at once, are killed, and come back after outages of different
lengths, by TCP and by UDP; viewers of HTTP-FLV stay connected all the time. Then what it costs to
look for cameras that stay away: CPU of the server with sixteen of them, beside none.

    python bench/rtsp_reconnect.py [--outages 1,20,90] [--runs 3] [--dead 16] [--seconds 20]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from measure import ROOT, cpu_s, process, spread
from rtmp_servers import free_port, wait_port

sys.path.insert(0, str(ROOT / "tests"))

from fault_camera import FaultCamera, fault_camera  # noqa: E402

TRANSPORTS = ("tcp", "udp")
SETTLE_S = 3.0
LIMIT_S = 60.0
HEAD = """
[http]
listen = ["127.0.0.1:{http}"]
[rtmp]
listen = []
[rtsp]
listen = []
[device]
state = "{folder}/state"
"""
STREAM = """
[[stream]]
name = "live/cam{number}"
source = "{url}"
rtsp = {{ transport = "{transport}" }}
"""


@contextlib.contextmanager
def porthole(folder: Path, sources: list[tuple[str, str]]) -> Iterator[tuple[int, int]]:
    """sources: URL and transport of each. Its pid and port."""
    http = free_port()
    conf = folder / "porthole.toml"
    streams = (
        STREAM.format(number=number, url=url, transport=transport)
        for number, (url, transport) in enumerate(sources)
    )
    conf.write_text(HEAD.format(http=http, folder=folder) + "".join(streams))
    words = (sys.executable, "-m", "appliance", "run", "-c", str(conf))
    with process(*words, cwd=ROOT, stderr=subprocess.DEVNULL) as child:
        wait_port(http)
        yield child.pid, http


class Viewer:
    """One of HTTP-FLV that waits for what comes after it has asked."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def join(cls, port: int, number: int) -> Viewer:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET /live/cam{number}.flv HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        return cls(reader, writer)

    async def read_all(self) -> None:
        """Until nothing more comes."""
        with contextlib.suppress(TimeoutError):
            while await asyncio.wait_for(self._reader.read(1 << 20), 0.3):
                pass

    async def first(self) -> None:
        if not await asyncio.wait_for(self._reader.read(1), LIMIT_S):
            raise SystemExit("a viewer was sent away")

    def leave(self) -> None:
        self._writer.close()


async def reconnect(camera: FaultCamera, viewer: Viewer, outage_s: float) -> float:
    """Seconds from listening to the first picture."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(SETTLE_S)
    await camera.power_off()
    off_s = loop.time()
    await viewer.read_all()
    await asyncio.sleep(off_s + outage_s - loop.time())
    await camera.power_on()
    on_s = loop.time()
    await viewer.first()
    return loop.time() - on_s


async def measure_outages(folder: Path, outages: list[float]) -> dict[tuple[str, float], float]:
    """All at once; each camera is another one."""
    cases = [(transport, outage_s) for transport in TRANSPORTS for outage_s in outages]
    async with contextlib.AsyncExitStack() as stack:
        cameras = [await stack.enter_async_context(fault_camera()) for _ in cases]
        sources = [
            (camera.url(), transport) for camera, (transport, _) in zip(cameras, cases, strict=True)
        ]
        _, port = stack.enter_context(porthole(folder, sources))
        viewers = [await Viewer.join(port, number) for number in range(len(cases))]
        found = await asyncio.gather(
            *(
                reconnect(camera, viewer, outage_s)
                for camera, viewer, (_, outage_s) in zip(cameras, viewers, cases, strict=True)
            )
        )
        for viewer in viewers:
            viewer.leave()
    return dict(zip(cases, found, strict=True))


async def measure_absence(folder: Path, count: int, seconds: float) -> float:
    """Per cent of a core."""
    absent = free_port()
    sources = [(f"rtsp://127.0.0.1:{absent}/cam{number}", "tcp") for number in range(count)]
    with porthole(folder, sources) as (pid, _):
        await asyncio.sleep(SETTLE_S)
        before_s = cpu_s(pid)
        await asyncio.sleep(seconds)
        return 100 * (cpu_s(pid) - before_s) / seconds


async def run(outages: list[float], runs: int, dead: int, seconds: float) -> None:
    seen: dict[tuple[str, float], list[float]] = {}
    cost: dict[int, list[float]] = {0: [], dead: []}
    with tempfile.TemporaryDirectory() as name:
        for _ in range(runs):
            for case, took_s in (await measure_outages(Path(name), outages)).items():
                seen.setdefault(case, []).append(took_s)
            for count, found in cost.items():
                found.append(await measure_absence(Path(name), count, seconds))
    for (transport, outage_s), found in seen.items():
        print(f"away for {outage_s:4g} s, {transport}: seen {spread(found)} s after it listens")
    for count, found in cost.items():
        print(f"{count:2} cameras that stay away: {spread(found)} % of a core")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--outages", default="1,20,90")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--dead", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=20)
    given = parser.parse_args()
    outages = [float(one) for one in given.outages.split(",")]
    asyncio.run(run(outages, given.runs, given.dead, given.seconds))


if __name__ == "__main__":
    main()
