"""What the players of a stream see that ran, sleeps, and wakes for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from framehash import clip_units
from relay_site import CAM, Place, place, pulled, until

from appliance.media.track import Kind
from appliance.media.unit import AccessUnit
from appliance.services import rtsp

CLIP = "h264-small+aac"


@asynccontextmanager
async def serving(form: str) -> AsyncIterator[tuple[Place, str]]:
    """A place, and where its stream is by RTMP or RTSP."""
    async with place() as here:
        if form == "rtmp":
            yield here, here.url()
            return
        service = rtsp.create(rtsp.Settings(listen=("127.0.0.1:0",), udp_port=0), here.context)
        await service.start()
        try:
            yield here, f"rtsp://{here.context.listening['rtsp'][0]}/{CAM}"
        finally:
            await service.stop()


def is_key_picture(unit: AccessUnit) -> bool:
    return unit.key and unit.track.kind is Kind.VIDEO


@pytest.mark.parametrize("form", ["rtmp", "rtsp"])
async def test_player_of_a_stream_that_sleeps_sees_nothing_of_its_last_time(form: str) -> None:
    tracks, units = clip_units(CLIP)
    first_key, second_key = [n for n, unit in enumerate(units) if is_key_picture(unit)][:2]
    async with serving(form) as (origin, url):
        async with origin.hub.publish(CAM, "test#1") as publisher:
            publisher.describe(tracks)
            for unit in units[first_key:second_key]:
                publisher.write(unit)
        async with place(pulled(url)) as edge:
            await until(lambda: origin.stream.demand.viewers)
            async with origin.hub.publish(CAM, "test#2") as publisher:
                publisher.describe(tracks)
                for unit in units[second_key:]:
                    publisher.write(unit)
                    await asyncio.sleep(0)
                await until(lambda: CAM in edge.hub.streams and edge.stream.units.items)
            first = next(one for one in edge.stream.units.items if one.track.kind is Kind.VIDEO)
    assert first.parts[-1] == units[second_key].parts[-1]
