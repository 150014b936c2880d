"""When a camera says that it filmed something is what HLS says of it, if that can be true."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import datetime
from urllib.request import urlopen

import pytest
from camera_film import film
from fault_camera import fault_camera
from relay_site import CAM, Place, place, until
from rtsp_source import from_camera

from appliance.wire.rtp.clock import unix_us_to_ntp

KIND = "h264-small+aac"
NEAR_US = 10_000  # what a camera's clock may drift before it is followed
MINUTE_US = 60_000_000
DAY_US = 86_400_000_000


async def hls_dates_us(at: Place, count: int) -> list[int]:
    """When segments begin, once there are so many."""
    url = f"http://127.0.0.1:{at.http_port}/{CAM}.hls/fmp4.m3u8"
    found: list[str] = []

    def read(address: str) -> str:
        with urlopen(address, timeout=30) as answer:
            return str(answer.read().decode())

    await asyncio.to_thread(read, f"http://127.0.0.1:{at.http_port}/{CAM}.m3u8?format=fmp4")
    while len(found) < count:
        await asyncio.sleep(0.1)
        text = await asyncio.to_thread(read, url)
        found = re.findall(r"#EXT-X-PROGRAM-DATE-TIME:(\S+)", text)
    return [round(datetime.fromisoformat(one).timestamp() * 1_000_000) for one in found]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_hls_is_dated_by_the_clock_of_the_camera(transport: str) -> None:
    """Of which we know to the microsecond what it said; it is some seconds ahead of ours."""
    begun_us = time.time_ns() // 1000 + 20_345_678
    async with (
        fault_camera(film=KIND, filmed_at_us=begun_us, reports_s=0.2, rounds=2) as camera,
        place(from_camera(camera, transport)) as edge,
    ):
        await until(lambda: CAM in edge.hub.streams and edge.stream.tracks)
        dates_us = await hls_dates_us(edge, 3)
    keys_us = [take.pts_us for take in film(KIND).run(2) if take.key and take.track == 0]
    for date_us in dates_us:
        assert min(abs(begun_us + key_us - date_us) for key_us in keys_us) <= NEAR_US, dates_us


@pytest.mark.parametrize(
    "ntp_of",
    [
        lambda unix_us: 1 << 40,
        lambda unix_us: unix_us_to_ntp(unix_us % DAY_US),
        lambda unix_us: unix_us_to_ntp(unix_us + DAY_US),
        lambda unix_us: 0,
    ],
    ids=["1900", "1970", "tomorrow", "none"],
)
async def test_hls_is_dated_by_our_clock_if_the_camera_s_is_nonsense(ntp_of: object) -> None:
    began_us = time.time_ns() // 1000
    async with (
        fault_camera(film=KIND, ntp_of=ntp_of, reports_s=0.2) as camera,
        place(from_camera(camera)) as edge,
    ):
        await until(lambda: CAM in edge.hub.streams and edge.stream.tracks)
        dates_us = await hls_dates_us(edge, 2)
    assert began_us - MINUTE_US < dates_us[0] < time.time_ns() // 1000
