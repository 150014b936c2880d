"""Cameras that fail in every way at once, while a good one is watched and comes and goes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread
from urllib.request import Request, urlopen

from appliance_process import SMALL_PATTERN, ApplianceProcess, appliance_process
from camera_login import Login
from fault_camera import FaultCamera, black_hole, fault_camera
from siege import MAX_GROWTH_KB, eventually, siege

SECRET = "cam3ra-Pa55"
FAULTS = {
    "mute": {"greets": False},
    "storm": {"login": Login(never=True, shifty=True)},
    "circle": {"redirect": "rtsp://127.0.0.1:{port}/live/main"},
    "file": {"redirect": "file:///etc/passwd"},
    "many": {"edit_sdp": lambda _: b"v=0\r\ns=-\r\nt=0 0\r\n" + b"m=video 0 RTP/AVP 96\r\n" * 1000},
    "huge": {"edit_sdp": lambda _: b"v=0\r\ns=" + bytes(1 << 20)},
    "blind": {"silent_tracks": {0}},
    "noise": {"between": bytes(65_536)},
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
    "odd": "^$",
    "hole": "unreachable|silent",
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
        assert eventually(lambda: cameras.by_name["odd"].playing == 1)
        assert all(camera.most_playing <= 1 for camera in cameras.by_name.values())
        assert cameras.by_name["odd"].connections == 1
        for path in ("metrics", "api/v1/streams/?count=100", "api/v1/clients/?count=100"):
            assert SECRET not in ask(device, path), path
        assert "Traceback" not in device.log
        assert device.stop() == 0
