"""A camera that says goodbye by RTCP is left at once, if it means it."""

from __future__ import annotations

import pytest
from fault_camera import fault_camera
from relay_site import place, until, watching
from rtsp_source import from_camera, last_error

from appliance.services.pull import Settings

PATIENT = Settings(open_us=60_000_000, silence_us=3_600_000_000)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_camera_that_said_goodbye_is_asked_anew_long_before_it_counts_as_silent(
    transport: str,
) -> None:
    async with (
        fault_camera() as camera,
        place(from_camera(camera, transport), serves=False, pulls=PATIENT) as edge,
        watching(edge) as viewer,
    ):
        await until(lambda: len(viewer.units) > 60)
        camera.silent_tracks = {0, 1}
        camera.say_goodbye()
        await until(lambda: camera.connections == 2)
        assert last_error(edge) == "ended: the camera said goodbye"
        camera.silent_tracks = set()
        wanted = len(viewer.units) + 60
        await until(lambda: len(viewer.units) > wanted)
        assert viewer.cuts == 1


async def test_camera_that_says_goodbye_and_goes_on_is_not_left() -> None:
    async with (
        fault_camera() as camera,
        place(from_camera(camera), serves=False, pulls=PATIENT) as edge,
        watching(edge) as viewer,
    ):
        await until(lambda: len(viewer.units) > 60)
        camera.say_goodbye()
        wanted = len(viewer.units) + 150
        await until(lambda: len(viewer.units) > wanted)
        assert (camera.connections, viewer.cuts) == (1, 0)
