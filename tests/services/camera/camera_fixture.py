"""A camera service on a hub of its own, with real workers."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from appliance.hub.access import Access
from appliance.hub.clock import SYSTEM_CLOCK, Clock
from appliance.hub.hub import Hub
from appliance.hub.sessions import Sessions
from appliance.hub.stats import Counters, Faults
from appliance.hub.stream import Stream
from appliance.media.track import Kind
from appliance.media.unit import AccessUnit
from appliance.net.http import Router
from appliance.net.supervisor import Supervisor
from appliance.services.camera import Settings, create
from appliance.services.camera.camera import LocalCamera
from appliance.services.camera.service import CameraService
from appliance.services.contract import AudioSettings, Context, StreamSettings, VideoSettings

NAME = "live/camera"
DEADLINE_S = 30
SMALL = VideoSettings(width=320, height=180, fps=25, bitrate_bps=300_000, keyframe_us=400_000)
PATIENT = Settings(nice=0)  # a busy machine is no fault of the worker
QUICK = Settings(open_us=1_500_000, stall_us=1_000_000, nice=0)


class Camera:
    """The service of one stream, seen as a viewer and as the system see it."""

    def __init__(self, context: Context, service: CameraService) -> None:
        self.context = context
        self.service = service

    @property
    def stream(self) -> Stream:
        return self.context.hub.find(NAME)

    @property
    def workers(self) -> list[int]:
        """Process ids of the workers that live, as the kernel tells them; no slate's."""
        return [pid for pid in self.children if b"slate_text" not in command_of(pid)]

    @property
    def children(self) -> list[int]:
        """The same with those that make slates."""
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        return [int(pid) for pid in children if b"appliance.capture" in command_of(int(pid))]

    def units(self, kind: Kind = Kind.VIDEO) -> list[AccessUnit]:
        return [unit for unit in self.stream.units.items if unit.track.kind is kind]

    async def wait(self, condition: Callable[[], Any]) -> None:
        """Until it holds, looked at whenever a unit comes or the stream changes."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                waits = [
                    asyncio.ensure_future(signal.wait())
                    for signal in (self.stream.units.signal, self.stream.changed)
                ]
                await asyncio.wait(waits, timeout=0.1, return_when=asyncio.FIRST_COMPLETED)
                for task in waits:
                    task.cancel()

    async def wait_units(self, more: int) -> list[AccessUnit]:
        """The next `more` pictures from now on."""
        start = self.stream.units.next
        await self.wait(lambda: len(self._since(start)) >= more)
        return self._since(start)

    def _since(self, start: int) -> list[AccessUnit]:
        units = self.stream.units.since(max(start, self.stream.units.first))
        return [unit for unit in units if unit.track.kind is Kind.VIDEO]

    @property
    def camera(self) -> LocalCamera:
        """As the API finds it."""
        found = self.context.cameras.find(NAME)
        assert isinstance(found, LocalCamera)
        return found

    def recoveries(self, rung: str, stream: str = NAME) -> int:
        labels = (("rung", rung), ("stream", stream))
        return self.context.counters.values["camera_recoveries_total", labels]

    def restarts(self, reason: str) -> int:
        labels = (("reason", reason), ("stream", NAME))
        return self.context.counters.values["camera_restarts_total", labels]


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


def stream_settings(source: str = "pattern:", **more: Any) -> StreamSettings:
    more.setdefault("video", SMALL)
    more.setdefault("audio", AudioSettings())
    return StreamSettings(NAME, source, **more)


@asynccontextmanager
async def camera(
    *streams: StreamSettings,
    settings: Settings = PATIENT,
    router: Router | None = None,
    state_dir: Path | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> AsyncIterator[Camera]:
    supervisor = Supervisor()
    context = Context(
        hub=Hub(clock=clock),
        router=router or Router(),
        access=Access(None, state_dir, clock),
        sessions=Sessions(),
        faults=Faults(),
        counters=Counters(),
        supervisor=supervisor,
        device_name="front-door",
        streams=streams,
        state_dir=state_dir,
    )
    service = create(settings, context)
    shown = Camera(context, service)
    await service.start()
    try:
        yield shown
    finally:
        await service.stop()
        await supervisor.close()
        context.hub.close()
        assert shown.children == []


def make_clip(folder: Path, name: str, *arguments: str) -> Path:
    """A second of H.264 as small as it gets, by ffmpeg."""
    ffmpeg = shutil.which("ffmpeg")
    assert ffmpeg
    path = folder / name
    picture = "testsrc2=size=192x128:rate=25:duration=1"
    command = [ffmpeg, "-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", picture]
    command += [*arguments, "-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "25", str(path)]
    subprocess.run(command, check=True, timeout=60)
    return path
