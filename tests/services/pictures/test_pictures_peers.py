"""Real programs on our pictures: ffmpeg and GStreamer decode every one of them."""

from __future__ import annotations

import asyncio
import json

import pytest
from pictures_site import KINDS, PicturesSite, pictures_site

COUNT = 12


async def run(*command: str) -> bytes:
    """What a tool writes; it must succeed without a word of complaint."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(60):
            output, complaints = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, complaints.decode()
    assert not complaints, complaints.decode()
    return output


def assert_sequence(site: PicturesSite, hashes: list[str]) -> None:
    """All decoded, none twice: each differs from those of the round it is in."""
    assert len(hashes) == COUNT
    for first in range(COUNT - KINDS // 2):
        assert len(set(hashes[first : first + KINDS // 2])) == KINDS // 2
    assert len(site.camera.asks) >= COUNT


@pytest.mark.parametrize("demuxer", ["mpjpeg", ""])
async def test_pictures_moving_are_decoded_by_ffmpeg(demuxer: str) -> None:
    async with pictures_site() as site:
        site.publish()
        command = ["ffmpeg", "-v", "warning", "-nostdin", *(["-f", demuxer] if demuxer else [])]
        command += ["-i", f"{site.base}/live/camera.mjpeg?fps=10", "-frames:v", str(COUNT)]
        output = await run(*command, "-fps_mode", "passthrough", "-f", "framehash", "-")
        lines = [line for line in output.decode().splitlines() if not line.startswith("#")]
        assert_sequence(site, [line.rpartition(",")[2].strip() for line in lines])


async def test_pictures_moving_are_decoded_by_gstreamer() -> None:
    async with pictures_site() as site:
        site.publish()
        pipeline = f"souphttpsrc location={site.base}/?action=stream&fps=10 ! multipartdemux"
        pipeline += " ! image/jpeg ! jpegdec ! video/x-raw,width=320,height=180"
        pipeline += f" ! fakesink num-buffers={COUNT} sync=false"
        await run("gst-launch-1.0", "-q", *pipeline.split())
        assert len(site.camera.asks) >= COUNT


async def test_pictures_still_is_read_by_ffprobe_and_curl() -> None:
    async with pictures_site() as site:
        site.publish()
        show = ("-show_entries", "stream=codec_name,width,height", "-of", "json")
        output = await run("ffprobe", "-v", "error", *show, f"{site.base}/snapshot.jpg?width=160")
        (stream,) = json.loads(output)["streams"]
        assert stream == {"codec_name": "mjpeg", "width": 160, "height": 90}
