"""nginx-rtmp as the destination, seen by ffmpeg, which plays from there."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest
from forward_site import Camera, filming, forward_site, rule
from framehash import (
    assert_same_times,
    clip_hashes,
    frame_hashes,
    make_clip,
    packet_times,
)
from nginx_destination import Nginx, nginx_destination


async def play(server: Nginx, target: Path, *options: str) -> bytes:
    """What ffmpeg complains of; until the stream ends there."""
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-rtmp_live", "live"]
    command += ["-i", server.url(), *options, "-c", "copy", "-f", "flv", str(target)]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    try:
        _, complaints = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    return complaints


def coded_sound(path: Path) -> list[str]:
    """MD5 of each frame as it is coded: what is decoded depends on the frames before."""
    command = ["ffmpeg", "-v", "error", "-i", path, "-map", "0:a?", "-c", "copy", "-f", "framemd5"]
    run = subprocess.run([*command, "-"], capture_output=True, text=True, check=True, timeout=60)
    return [line.split(",")[5].strip() for line in run.stdout.splitlines() if line[0] != "#"]


def assert_same_frames(file: Path, kind: str) -> None:
    """All pictures, and all sound from the first picture on."""
    assert frame_hashes(file, "flv")["video"] == clip_hashes(kind)["video"]
    if "aac" in kind:
        sound, whole = coded_sound(file), coded_sound(make_clip(kind))
        assert sound == whole[-len(sound) :] and len(whole) - len(sound) <= 3


@pytest.mark.parametrize("kind", ["h264+aac", "h264-b"])
async def test_frames_arrive_as_they_were(tmp_path: Path, kind: str) -> None:
    more = f"record all; record_path {tmp_path}; record_unique off;"
    async with (
        nginx_destination(tmp_path, more) as server,
        forward_site(rule(server.url())) as site,
    ):
        played = tmp_path / "played.flv"
        playing = asyncio.create_task(play(server, played))
        await server.until_told("play: name='cam'")
        camera = Camera(site.hub, kind)
        camera.gate.clear()
        async with filming(camera, rounds=1):
            await site.until_state("live")
            camera.gate.set()
            await site.until(lambda: camera.is_over)
            await site.until_state("waiting")
        assert await playing == b""
        assert site.row()["attempts"] == 1 and site.row()["dropped_units"] == 0
    recorded = tmp_path / "cam.flv"
    for file in (recorded, played):
        assert_same_frames(file, kind)
    clip, there = packet_times(make_clip(kind)), packet_times(recorded, "flv")
    for name, packets in clip.items():
        clip[name] = packets[-len(there[name]) :]
    assert_same_times(clip, there, resolution_us=1000)


async def test_destination_that_crashes_and_comes_back_is_served_again(tmp_path: Path) -> None:
    async with (
        nginx_destination(tmp_path) as server,
        forward_site(rule(server.url())) as site,
        filming(Camera(site.hub)) as camera,
    ):
        await site.until_state("live")
        assert await play(server, tmp_path / "before.flv", "-t", "1") == b""
        server.kill()
        await site.until(lambda: site.row()["state"] != "live")
        before = len(camera.units)
        await site.until(lambda: len(camera.units) > before + 30)
        await server.start()
        await site.until_state("live")
        assert await play(server, tmp_path / "after.flv", "-t", "1") == b""
        assert site.row()["attempts"] >= 2
    found = frame_hashes(tmp_path / "after.flv", "flv")
    assert len(found["video"]) >= 25
    clip = clip_hashes("h264+aac")["video"] * 2
    start = clip.index(found["video"][0])
    assert clip[start : start + len(found["video"])] == found["video"]
