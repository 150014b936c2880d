"""Real players on our HLS: ffmpeg finds the very frames that went in, GStreamer plays them."""

from __future__ import annotations

import asyncio
import re

import pytest
from framehash import (
    assert_same_times,
    clip_units,
    frame_hashes,
    make_clip,
    packet_times,
    unit_times,
)
from hls_site import HlsSite, hls_site, turns

from appliance.media.unit import AccessUnit

KINDS = ["h264+aac", "h264-b+aac", "h265-b+aac", "h264+opus", "aac"]


async def publish_clip(site: HlsSite, kind: str) -> list[AccessUnit]:
    """The whole clip and its end: what a player then gets is the clip as video on demand."""
    tracks, units = clip_units(kind)
    async with site.hub.publish("live/clip", "test#1") as publisher:
        publisher.describe(tracks)
        for unit in units:
            publisher.write(unit)
    return units


async def run(*command: str) -> str:
    """A tool's output; it must succeed."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(60):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, output.decode()
    return output.decode()


async def end_stream(site: HlsSite, format: str) -> str:
    """The address of the media playlist, with ENDLIST."""
    assert (await site.get(f"/live/clip.m3u8?format={format}")).status == 200
    site.hub.remove("live/clip")
    await turns()
    url = f"/live/clip.hls/{format}.m3u8"
    assert "#EXT-X-ENDLIST" in (await site.get(url)).text
    return site.base + url


@pytest.mark.parametrize("kind", KINDS)
async def test_hls_fmp4_of_a_clip_has_its_frames_and_times(kind: str) -> None:
    async with hls_site() as site:
        expected = unit_times(await publish_clip(site, kind))
        url = await end_stream(site, "fmp4")
        playlist = (await site.get(url.removeprefix(site.base))).text
        files = await site.files(playlist, "/live/clip.hls/")
        joined = b"".join(files[name] for name in sorted(files, key=lambda n: "init" not in n))
        assert_same_times(expected, packet_times(joined), resolution_us=23)
        assert frame_hashes(joined) == frame_hashes(make_clip(kind))


@pytest.mark.parametrize("kind", ["h264+aac", "h264-b+aac", "h265-b+aac", "aac"])
async def test_hls_ts_of_a_clip_has_its_frames(kind: str) -> None:
    async with hls_site() as site:
        expected = unit_times(await publish_clip(site, kind))
        url = await end_stream(site, "ts")
        playlist = (await site.get(url.removeprefix(site.base))).text
        files = await site.files(playlist, "/live/clip.hls/")
        joined = b"".join(files[name] for name in sorted(files))
        assert_same_times(expected, packet_times(joined, "mpegts"), resolution_us=2_000)
        assert frame_hashes(joined, "mpegts") == frame_hashes(make_clip(kind))


@pytest.mark.parametrize("format", ["fmp4", "ts"])
@pytest.mark.parametrize("kind", ["h264-b+aac", "h264"])
async def test_ffmpeg_plays_the_playlist_to_its_end(kind: str, format: str) -> None:
    async with hls_site() as site:
        units = await publish_clip(site, kind)
        url = await end_stream(site, format)
        counts = await run(
            "ffprobe", "-v", "error", "-count_packets", "-show_entries",
            "stream=codec_type,nb_read_packets", "-of", "csv=p=0", url,
        )  # fmt: skip
        found = dict(line.split(",")[:2] for line in counts.split())
        for track_kind in {str(unit.track.kind) for unit in units}:
            sent = sum(unit.track.kind == track_kind for unit in units)
            assert int(found[track_kind]) == sent


@pytest.mark.parametrize(
    ("format", "kind"),
    [("fmp4", "h264-b+aac"), ("ts", "h264-b+aac"), ("fmp4", "h265+aac")],
)
async def test_gstreamer_plays_every_picture(format: str, kind: str) -> None:
    """souphttpsrc and hlsdemux, then decoded: identity tells each buffer that leaves."""
    async with hls_site() as site:
        units = await publish_clip(site, kind)
        url = await end_stream(site, format)
        multivariant = url.replace(f".hls/{format}.m3u8", f".m3u8?format={format}")
        demuxer = "qtdemux" if format == "fmp4" else "tsdemux"
        parser = "h265parse" if "h265" in kind else "h264parse"
        decoder = "avdec_h265" if "h265" in kind else "avdec_h264"
        output = await run(
            "gst-launch-1.0", "-v", "souphttpsrc", f"location={multivariant}", "!", "hlsdemux", "!",
            demuxer, "!", parser, "!", decoder, "!", "identity", "silent=false", "!", "fakesink",
            "sync=false",
        )  # fmt: skip
        pictures = len(re.findall(r"identity0: last-message = chain", output))
        assert pictures == sum(unit.track.kind == "video" for unit in units)
