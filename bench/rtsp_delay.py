"""What the way through Porthole adds to a camera's picture: to who plays RTSP, and to HLS.

A scripted camera (bench/rtsp_replay.py) sends 1080p30 at 4 Mbit/s over TCP, with its clock in
every picture. Printed is how old that is when it has reached

  a player of RTSP (bench/rtsp_load.c) over TCP and over UDP, beside one that plays the camera
  itself and one behind a relay that hands on what it reads and no more (asyncio, without RTSP);

  a segment of HLS that can be fetched, beside `ffmpeg -c copy -f hls`. A segment is over when the
  keyframe behind it comes, which is what is counted from: that it is long is no delay.

The camera, the players and who looks for segments have the last core; all others the first. All
take turns.

    python bench/rtsp_delay.py [--players 1] [--runs 3] [--seconds 8]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from measure import LOAD_CORE, ROOT, SERVER_CORE, pin, process, spread
from rtmp_publish import MARK
from rtmp_servers import free_port, wait_port
from rtsp_pull import FPS, make_clip
from rtsp_replay import Clip, serve

from appliance.wire.rtp.formats.contract import Payload

SEGMENT_S = 2  # as far apart as the clip's keyframes
DELIMITER = re.compile(rb"\x00\x00\x00\x01\x09.", re.DOTALL)  # before each picture
CLOCK_BYTES = 8
SETTLE_S = 2.0
POLL_S = 0.001
CONFIG = """
[http]
listen = ["127.0.0.1:{http}"]
[rtmp]
listen = []
[rtsp]
listen = ["127.0.0.1:{rtsp}"]
[device]
state = "{state}"
[hls]
segment = "{segment}s"
[[stream]]
name = "live/bench"
source = "rtsp://127.0.0.1:{camera}/live/bench"
rtsp = {{ transport = "tcp" }}
"""


# -- the camera ------------------------------------------------------------------------------------


class Pictures:
    """Payloads, with the clock written into them as they are asked for, which is when they go.

    It is in an SEI message, "user data unregistered", whose UUID is the mark (H.264 §D.1.7).
    """

    def __init__(self, pictures: list[list[Payload]]) -> None:
        self._pictures = pictures
        self._marked = [_find_mark(payloads) for payloads in pictures]

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, number: int) -> list[Payload]:
        payloads, (at, place) = self._pictures[number], self._marked[number]
        data = bytearray(payloads[at].data)
        now_us = time.monotonic_ns() // 1000
        data[place : place + CLOCK_BYTES] = now_us.to_bytes(CLOCK_BYTES, "big")
        payloads[at] = replace(payloads[at], data=bytes(data))
        return payloads


def _find_mark(payloads: list[Payload]) -> tuple[int, int]:
    """The payload that has it, and where its clock is there."""
    for at, payload in enumerate(payloads):
        if (place := bytes(payload.data).find(MARK)) >= 0:
            return at, place + len(MARK)
    raise SystemExit("a picture lost its mark")


class StampedClip(Clip):
    """What `rtsp_replay.serve` plays."""

    def __init__(self, data: bytes) -> None:
        sei = b"\0\0\1\x06\x05" + bytes([len(MARK) + CLOCK_BYTES]) + MARK + bytes(CLOCK_BYTES)
        super().__init__(DELIMITER.sub(lambda found: found[0] + sei + b"\x80", data))
        self.pictures = Pictures(self.pictures)  # type: ignore[assignment]


async def be_camera(path: str) -> None:
    clip = StampedClip(Path(path).read_bytes())  # noqa: ASYNC240 - nobody is served yet
    server = await asyncio.start_server(
        lambda reader, writer: serve(clip, FPS, reader, writer), "127.0.0.1", 0
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


# -- the relay -------------------------------------------------------------------------------------


class End(asyncio.Protocol):
    """Hands on what it reads to its other end."""

    other: asyncio.Transport

    def __init__(self, other: asyncio.Transport | None = None) -> None:
        if other is not None:
            self.other = other

    def data_received(self, data: bytes) -> None:
        self.other.write(data)

    def connection_lost(self, _: Exception | None) -> None:
        self.other.close()


async def be_relay(camera: int) -> None:
    loop = asyncio.get_running_loop()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The transports go on without the streams that asyncio made for them."""
        near = writer.transport
        far, _ = await loop.create_connection(lambda: End(near), "127.0.0.1", camera)
        end = End(far)
        near.set_protocol(end)
        if early := reader._buffer:  # type: ignore[attr-defined]
            far.write(bytes(early))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


@contextlib.contextmanager
def role(call: str, core: int) -> Iterator[int]:
    """Another process of this program; the port that it listens on."""
    words = (sys.executable, "-c", f"import asyncio, rtsp_delay; asyncio.run(rtsp_delay.{call})")
    with process(*words, core=core, cwd=ROOT / "bench", stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        yield int(child.stdout.readline())


# -- what is measured ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bench:
    """camera: its port. program: the players."""

    camera: int
    folder: Path
    program: str
    players: int
    seconds: float

    def play(self, mode: str, port: int) -> tuple[float, float]:
        """Median and 99th percentile, in ms."""
        words = (self.program, mode, port, "live/bench", self.players, SETTLE_S, self.seconds)
        told = subprocess.run(
            [*pin(LOAD_CORE), *map(str, words)],
            input="", capture_output=True, text=True, check=True, timeout=self.seconds + 60,
        ).stdout.splitlines()[-1]  # fmt: skip
        found = json.loads(told)
        return found["delay_us"] / 1e3, found["delay_p99_us"] / 1e3

    @contextlib.contextmanager
    def porthole(self) -> Iterator[tuple[int, int]]:
        """Its ports of HTTP and RTSP."""
        http_port, rtsp = free_port(), free_port()
        conf = self.folder / "porthole.toml"
        conf.write_text(
            CONFIG.format(
                http=http_port, rtsp=rtsp, camera=self.camera,
                state=self.folder / "state", segment=SEGMENT_S,
            )
        )  # fmt: skip
        words = (sys.executable, "-m", "appliance", "run", "-c", str(conf))
        with process(*words, cwd=ROOT, stderr=subprocess.DEVNULL):
            wait_port(rtsp)
            yield http_port, rtsp

    def direct(self) -> tuple[float, float]:
        return self.play("tcp", self.camera)

    def relayed(self) -> tuple[float, float]:
        with role(f"be_relay({self.camera})", SERVER_CORE) as port:
            return self.play("tcp", port)

    def by_tcp(self) -> tuple[float, float]:
        with self.porthole() as (_, rtsp):
            return self.play("tcp", rtsp)

    def by_udp(self) -> tuple[float, float]:
        with self.porthole() as (_, rtsp):
            return self.play("udp", rtsp)

    def by_hls(self) -> tuple[float, float]:
        with self.porthole() as (port, _), contextlib.closing(Browser(port)) as browser:
            return self.look_for_segments(browser.playlist, browser.get)

    def by_ffmpeg(self) -> tuple[float, float]:
        command = (
            f"ffmpeg -v error -nostdin -rtsp_transport tcp -i rtsp://127.0.0.1:{self.camera}/x"
        )
        command += f" -c copy -f hls -hls_time {SEGMENT_S} -hls_list_size 10 -hls_segment_type fmp4"
        place = self.folder / "ffmpeg"
        place.mkdir(exist_ok=True)
        index = place / "index.m3u8"
        index.unlink(missing_ok=True)
        with process(*command.split(), str(index), cwd=place):
            return self.look_for_segments(
                lambda: index.read_text() if index.exists() else "",
                lambda name: (place / name).read_bytes(),
            )

    def look_for_segments(
        self, playlist: Callable[[], str], get: Callable[[str], bytes]
    ) -> tuple[float, float]:
        """Often around the time when one is due, as looking costs the server too."""
        seen: dict[str, float] = {}  # when each was there first, in seconds
        end_s = time.monotonic() + SETTLE_S + self.seconds
        while (now_s := time.monotonic()) < end_s:
            names = [line for line in playlist().splitlines() if line and not line.startswith("#")]
            now_s = time.monotonic()
            if names and names[-1] not in seen:
                seen |= {name: now_s for name in names if name not in seen}
                time.sleep(0.7 * SEGMENT_S)
            time.sleep(POLL_S)
        return delays(seen, get)


def delays(seen: dict[str, float], get: Callable[[str], bytes]) -> tuple[float, float]:
    """From the keyframe that begins the next segment. Those seen at once were there before."""
    found_ms: list[float] = []
    names = list(seen)
    for before, name in zip(names, names[1:], strict=False):
        first = get(name).find(MARK)
        data = get(name)[first + len(MARK) :][:CLOCK_BYTES]
        if seen[before] != seen[name]:
            found_ms.append(seen[before] * 1e3 - int.from_bytes(data, "big") / 1e3)
    found_ms.sort()
    return statistics.median(found_ms), found_ms[round(0.99 * (len(found_ms) - 1))]


class Browser:
    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)

    def get(self, name: str) -> bytes:
        self._connection.request("GET", f"/live/bench.hls/{name}")
        return self._connection.getresponse().read()

    def playlist(self) -> str:
        self._connection.request("GET", "/live/bench.hls/fmp4.m3u8")
        answer = self._connection.getresponse()
        body = answer.read()
        return body.decode() if answer.status == 200 else ""

    def close(self) -> None:
        self._connection.close()


WAYS: dict[str, Callable[[Bench], tuple[float, float]]] = {
    "the camera itself, TCP": Bench.direct,
    "asyncio relay, TCP": Bench.relayed,
    "porthole, TCP": Bench.by_tcp,
    "porthole, UDP": Bench.by_udp,
    "porthole, HLS segment": Bench.by_hls,
    "ffmpeg, HLS segment": Bench.by_ffmpeg,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--players", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8)
    given = parser.parse_args()
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as name:
        program = f"{name}/rtsp_load"
        source = Path(__file__).with_name("rtsp_load.c")
        subprocess.run(["cc", "-O2", "-o", program, str(source)], check=True)
        clip = f"{name}/clip.h264"
        make_clip(Path(clip))
        for _ in range(given.runs):
            with role(f"be_camera({clip!r})", LOAD_CORE) as port:
                bench = Bench(port, Path(name), program, given.players, given.seconds)
                for way, run in WAYS.items():
                    results[way].append(run(bench))
    print(f"{f'ms, {given.players} player(s)':26} median                99th percentile")
    for way, found in results.items():
        columns = (spread([one[at] for one in found]) for at in (0, 1))
        print(f"{way:26} " + " ".join(f"{text:21}" for text in columns))


if __name__ == "__main__":
    main()
