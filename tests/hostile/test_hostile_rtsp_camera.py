"""Cameras that fail in every way at once, while a good one is watched and comes and goes."""

from __future__ import annotations

import asyncio
import itertools
import re
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread
from urllib.request import Request, urlopen

from appliance_process import SMALL_PATTERN, ApplianceProcess, appliance_process
from camera_film import Wind
from camera_login import Login
from fault_camera import FaultCamera, black_hole, fault_camera, frames
from framehash import clip_units
from relay_site import place, pulled, until, watching
from rtp_vectors import PICTURES, RTCP, RTP
from siege import MAX_GROWTH_KB, eventually, siege

from appliance.services.contract import RtspSettings
from appliance.wire.rtp.packet import header, parse

SECRET = "cam3ra-Pa55"
FEW_BYTES = 9000  # of what comes behind every unit


def few(datas: list[bytes]) -> list[bytes]:
    return [data for data in datas if len(data) < FEW_BYTES]


def torn(track: int) -> Wind:
    """Now and then what makes no sense, in the camera's own sequence; and a hundred strangers."""
    nonsense = itertools.cycle(one for one in PICTURES if sum(len(p.data) for p in one) < FEW_BYTES)
    others = itertools.count(0xF0000)
    shift = units = 0

    def blow(packets: list[bytes]) -> list[bytes]:
        nonlocal shift, units
        units += 1
        sent: list[bytes] = []
        for data in packets:
            last = parse(data)
            head = header(96 + track, last.sequence + shift, last.timestamp, last.ssrc, last.marker)
            sent.append(head + bytes(last.payload))
        for payload in next(nonsense) if units % 40 == 39 and track == 0 else ():
            shift += 1
            number, stamp = last.sequence + shift & 0xFFFF, last.timestamp + 1
            sent.append(header(96, number, stamp, last.ssrc, payload.marker) + payload.data)
        sent += [header(96 + track, 1, 1, next(others), True) + b"e" for _ in range(100)]
        return sent

    return blow


FAULTS = {
    "mute": {"greets": False},
    "storm": {"login": Login(never=True, shifty=True)},
    "circle": {"redirect": "rtsp://127.0.0.1:{port}/live/main"},
    "file": {"redirect": "file:///etc/passwd"},
    "many": {"edit_sdp": lambda _: b"v=0\r\ns=-\r\nt=0 0\r\n" + b"m=video 0 RTP/AVP 96\r\n" * 1000},
    "huge": {"edit_sdp": lambda _: b"v=0\r\ns=" + bytes(1 << 20)},
    "blind": {"silent_tracks": {0}},
    "noise": {"between": bytes(65_536)},
    "vectors": {"between": frames(0, few(RTP)) + frames(1, few(RTCP))},
    "torn": {"weather": torn},
    "odd": {"between": b"$\xee\x00\x04abcdOPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n"},
}
WORDS = {
    "mute": "silent",
    "storm": "login: wrong user or password .*401",
    "circle": "redirected more than 3 times",
    "file": "no RTSP address",
    "many": "garbage",
    "huge": "garbage",
    "blind": "video track silent",
    "noise": "garbage|^$",
    "vectors": "^$",
    "torn": "^$",
    "odd": "^$",
    "hole": "unreachable|silent",
    "away": "unreachable",
}


class Cameras(Thread):
    """All of them in a loop of their own, while the block runs."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.ports: dict[str, int] = {}
        self.by_name: dict[str, FaultCamera] = {}
        self._ready, self._loop = Event(), asyncio.new_event_loop()
        self._over = asyncio.Event()

    def run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        async with AsyncExitStack() as stack:
            self.ports["hole"] = await stack.enter_async_context(black_hole())
            away = stack.enter_context(socket.socket())  # where nobody listens
            away.bind(("127.0.0.1", 0))
            self.ports["away"] = away.getsockname()[1]
            for name, switches in FAULTS.items():
                camera = await stack.enter_async_context(fault_camera(**switches))
                self.by_name[name], self.ports[name] = camera, camera.port
            self._ready.set()
            await self._over.wait()

    def __enter__(self) -> Cameras:
        self.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self.join(20)


@contextmanager
def besieged(folder: Path) -> Iterator[tuple[ApplianceProcess, Cameras]]:
    with Cameras() as cameras:
        config = SMALL_PATTERN + '[pull]\nsilence = "1s"\nopen = "2s"\n'
        for name, port in cameras.ports.items():
            source = f"rtsp://admin:{SECRET}@127.0.0.1:{port}/live/main"
            config += f'[[stream]]\nname = "cams/{name}"\nsource = "{source}"\n'
            config += 'rtsp = { transport = "tcp" }\n'
        with appliance_process(folder, config=config) as device:
            device.wait_line("live/camera is live")
            yield device, cameras


def told(device: ApplianceProcess, name: str) -> str:
    """What was wrong with that camera."""
    return " ".join(re.findall(rf"warning \S+ cams/{name} ([^;\n]*)", device.log))


def ask(device: ApplianceProcess, path: str) -> str:
    fields = {"Authorization": f"Bearer {device.owner_key}"}
    with urlopen(Request(device.url + path, headers=fields)) as reply:
        text: str = reply.read().decode()
    return text


def unexpected(device: ApplianceProcess) -> list[tuple[str, str]]:
    found = {name: told(device, name) for name in WORDS}
    return [(name, text) for name, text in found.items() if not re.search(WORDS[name], text)]


def test_bad_cameras_disturb_neither_the_good_ones_nor_who_watches(tmp_path: Path) -> None:
    """§3.6, the client's side, all of it at once."""
    with besieged(tmp_path) as (device, cameras):
        with siege(device, SECRET, max_growth_kb=MAX_GROWTH_KB) as canary:
            assert eventually(lambda: not unexpected(device)), unexpected(device)
            canary.wait_segments(2)
            for name in ("odd", "vectors", "torn"):
                device.wait_line(f"cams/{name} comes from")
        assert all(camera.most_playing <= 1 for camera in cameras.by_name.values())
        for name in ("odd", "vectors", "torn"):
            assert eventually(lambda name=name: cameras.by_name[name].playing == 1)  # type: ignore[misc]
            assert cameras.by_name[name].connections == 1, name
        for path in ("metrics", "api/v1/streams/?count=100", "api/v1/clients/?count=100"):
            assert SECRET not in ask(device, path), path
        assert "Traceback" not in device.log
        assert device.stop() == 0


async def test_nonsense_between_a_cameras_packets_costs_no_picture() -> None:
    """U9 and U13, behind every unit."""
    between = frames(0, few(RTP)) + frames(1, few(RTCP))
    order = [tuple(map(bytes, unit.parts)) for unit in clip_units("h264-small")[1]]
    async with fault_camera(film="h264-small", between=between, payload_bytes=300) as camera:
        source = pulled(camera.url(), rtsp=RtspSettings("tcp"))
        async with place(source, serves=False) as edge, watching(edge) as viewer:
            await until(lambda: len(viewer.units) > len(order) + 10)
            found = [tuple(map(bytes, unit.parts)) for unit in viewer.units]
            begin = order.index(found[0])
            assert found == [order[(begin + n) % len(order)] for n in range(len(found))]
            assert (camera.connections, viewer.cuts) == (1, 0)
