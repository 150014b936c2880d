"""What a stream's life does to who plays and who records it, with both ends in this process."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from framehash import clip_units
from relay_site import CAM, Place, place, pulled, until

from appliance.hub.publisher import Publisher
from appliance.media.track import Kind, Track
from appliance.media.unit import AccessUnit
from appliance.services import rtsp
from appliance.wire.rtp.clock import unix_us_to_ntp
from appliance.wire.rtp.packet import header
from appliance.wire.rtp.rtcp import SenderReport
from appliance.wire.rtsp.interleaved import format_frames

CLIP = "h264-small+aac"


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Place, int]]:
    """A place with RTSP, and its port."""
    async with place() as here:
        service = rtsp.create(rtsp.Settings(listen=("127.0.0.1:0",), udp_port=0), here.context)
        await service.start()
        try:
            address = here.context.listening["rtsp"][0]
            yield here, int(address.rpartition(":")[2])
        finally:
            await service.stop()


async def film(publisher: Publisher, tracks: Sequence[Track], units: Sequence[AccessUnit]) -> None:
    """Round after round, as fast as a second of it is watched in one, until cancelled."""
    publisher.describe(tracks)
    began_us, shift_us = units[0].dts_us, publisher.stream.clock.monotonic_us()
    while True:
        for unit in units:
            due_us = unit.dts_us - began_us + shift_us
            pts_us = due_us + unit.pts_us - unit.dts_us
            publisher.write(AccessUnit(unit.track, due_us, pts_us, unit.key, unit.parts))
            left_us = due_us - publisher.stream.clock.monotonic_us()
            await asyncio.sleep(max(0, left_us) / 1_000_000)
        shift_us += units[-1].dts_us - began_us + 33_000


async def test_players_of_a_stream_with_other_tracks_come_again_and_learn_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    tracks, units = clip_units(CLIP)
    video = [track for track in tracks if track.kind is Kind.VIDEO]
    pictures = [unit for unit in units if unit.track.kind is Kind.VIDEO]
    async with (
        serving() as (origin, port),
        place(pulled(f"rtsp://127.0.0.1:{port}/{CAM}")) as edge,
        origin.hub.publish(CAM, "test#1") as publisher,
    ):
        filming = asyncio.create_task(film(publisher, video, pictures))
        await until(lambda: edge.stream.is_live)
        assert len(edge.stream.tracks) == 1
        filming.cancel()
        filming = asyncio.create_task(film(publisher, tracks, units))
        await until(lambda: len(edge.stream.tracks) == 2 and edge.stream.is_live)
        filming.cancel()
        await asyncio.gather(filming, return_exceptions=True)
    assert "rendition rtp ends: its tracks are others now" in caplog.text


def request(method: str, number: int, *lines: str, body: str = "") -> bytes:
    size = f"Content-Length: {len(body)}"
    head = [f"{method} rtsp://h/{CAM} RTSP/1.0", f"CSeq: {number}", size, *lines]
    return "\r\n".join([*head, "", body]).encode()


SDP = "v=0\r\no=- 0 0 IN IP4 0\r\ns=-\r\nt=0 0\r\nm=audio 0 RTP/AVP 8\r\na=control:one\r\n"


async def test_clock_of_who_records_dates_its_stream() -> None:
    """It is 20 s ahead of ours."""
    ahead_us = 20_000_000
    async with serving() as (origin, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        url = f"rtsp://h/{CAM}/one"
        setup = request("SETUP", 2, "Transport: RTP/AVP/TCP;interleaved=0-1;mode=record")
        writer.write(request("ANNOUNCE", 1, "Content-Type: application/sdp", body=SDP))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(setup.replace(f"rtsp://h/{CAM}".encode(), url.encode(), 1))
        answer = (await reader.readuntil(b"\r\n\r\n")).decode()
        session = next(line for line in answer.split("\r\n") if line.startswith("Session"))
        writer.write(request("RECORD", 3, session.partition(";")[0]))
        began_us = time.time_ns() // 1000
        for number in range(200):
            stamp = 160 * number
            ntp = unix_us_to_ntp(began_us + 20_000 * number + ahead_us)
            report = SenderReport(7, ntp, stamp, number, 160 * number)
            packet = header(8, number, stamp, 7, marker=False) + bytes(160)
            writer.write(format_frames([(1, report.pack()), (0, packet)]))
            await asyncio.sleep(0.005)
        stream = origin.hub.streams[CAM]

        def off_us() -> int:
            assert stream.anchor is not None and stream.newest_dts_us is not None
            return stream.anchor.unix_us_at(stream.newest_dts_us) - stream.clock.unix_us()

        await until(lambda: abs(off_us() - ahead_us) < 5_000_000)
        writer.close()
