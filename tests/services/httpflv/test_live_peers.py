"""One clip in, the same frames out; and players that we did not write."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from appliance_process import ApplianceProcess, appliance_process
from framehash import (
    assert_same_times,
    clip_hashes,
    clip_units,
    frame_hashes,
    make_clip,
    packet_times,
)
from live_site import NAME, live_site, until

from appliance.services.httpflv import Settings

PATIENT = Settings(max_lag_us=60_000_000)
HASTY = ("-analyzeduration", "1000000")
# Stamps as they come: ffmpeg guesses a rate from the first pictures, and one that is too low makes
# it complain of its own stamps.
NOTHING = ("-enc_time_base", "-1", "-f", "null", "-")
FORMATS = {"flv": "flv", "ts": "mpegts", "aac": "aac"}


async def record(kind: str, form: str, *, query: str = "", by_socket: bool = False) -> bytes:
    """The whole clip as a viewer gets it who was there before its first frame.

    Viewers begin with a picture, so a kind whose sound begins before its pictures loses that.
    """
    tracks, units = clip_units(kind)
    async with live_site(PATIENT) as site:
        target = f"/{NAME}.{form}{query}"
        if by_socket:
            async with site.socket(target) as socket:
                reading = asyncio.create_task(_messages(socket))
                await _publish(site, tracks, units)
                return await reading
        viewer = await site.get(target)
        reading = asyncio.create_task(viewer.rest())
        await _publish(site, tracks, units)
        return await reading


async def _messages(socket) -> bytes:  # type: ignore[no-untyped-def]
    return b"".join([message.data async for message in socket])


async def _publish(site, tracks, units) -> None:  # type: ignore[no-untyped-def]
    publisher = site.hub.publish(NAME, "test#1")
    publisher.describe(tracks)
    for unit in units:
        publisher.write(unit)
    await until(lambda: site.live._watching)
    publisher.close()
    site.hub.remove(NAME)


@pytest.mark.parametrize("by_socket", [False, True])
@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("h264-b+aac", "flv"),
        ("h264-b+aac", "ts"),
        ("h265-b+opus", "flv"),
        ("h265-b+aac", "ts"),
        ("h264", "flv"),
        ("aac", "flv"),
        ("aac", "aac"),
    ],
)
async def test_clip_comes_out_as_it_went_in(kind: str, form: str, by_socket: bool) -> None:
    body = await record(kind, form, by_socket=by_socket)
    hashes = await asyncio.to_thread(frame_hashes, body, FORMATS[form])
    assert hashes == clip_hashes(kind)
    if form != "aac":
        times = await asyncio.to_thread(packet_times, body, FORMATS[form])
        assert_same_times(packet_times(make_clip(kind)), times, resolution_us=1_000)


@pytest.mark.parametrize("form", ["flv", "ts"])
@pytest.mark.parametrize(("query", "kind"), [("?audio=0", "video"), ("?video=0", "audio")])
async def test_clip_with_something_left_out_is_otherwise_the_same(
    form: str, query: str, kind: str
) -> None:
    body = await record("h264+aac", form, query=query)
    hashes = await asyncio.to_thread(frame_hashes, body, FORMATS[form])
    assert hashes == {kind: clip_hashes("h264+aac")[kind]}


PUBLISHED = {"sound": "aac", "pictures": "h264", "mp3": "h264+mp3"}


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApplianceProcess]:
    """With a camera, and what ffmpeg publishes again and again."""
    with (
        appliance_process(tmp_path_factory.mktemp("live")) as process,
        ExitStack() as stack,
    ):
        for name, kind in PUBLISHED.items():
            url = f"rtmp://127.0.0.1:{process.rtmp_port}/live/{name}?key={process.owner_key}"
            command = ["ffmpeg", "-v", "error", "-nostdin", "-re", "-stream_loop", "-1"]
            command += ["-i", str(make_clip(kind)), "-c", "copy", "-f", "flv", url]
            publisher = stack.enter_context(subprocess.Popen(command, stderr=subprocess.DEVNULL))
            stack.callback(publisher.kill)
        for name in PUBLISHED:
            process.wait_line(f"live/{name} publishes")
        process.wait_line("live/camera is live")
        yield process


def run(*command: str, timeout_s: float = 40) -> str:
    """It must succeed and complain about nothing."""
    result = subprocess.run(command, capture_output=True, timeout=timeout_s, text=True)
    assert result.returncode == 0, result.stderr
    assert not result.stderr, result.stderr
    return result.stdout


SHOWN = {
    "live/camera.flv": {"h264", "aac"},
    "live/camera.flv?start=live": {"h264", "aac"},
    "live/camera.flv?audio=0&latency=low": {"h264"},
    "live/camera.flv?video=0": {"aac"},
    "live/camera.ts?start=live": {"h264", "aac"},
    "live/camera.ts?video=0": {"aac"},
    "live/camera.aac": {"aac"},
    "live/sound.flv": {"aac"},
    "live/pictures.flv": {"h264"},
    "live/pictures.ts": {"h264"},
    "live/mp3.mp3": {"mp3"},
    "live/mp3.flv?video=0&start=live": {"mp3"},
    "live/mp3": {"h264", "mp3"},  # by RTMP
    "live/sound": {"aac"},
}


def play(url: str) -> set[str]:
    """The codecs that ffmpeg finds; it plays them for a second, without a complaint."""
    probe = ("ffprobe", "-v", "error", *HASTY, "-show_entries", "stream=codec_name", "-of", "json")
    found = json.loads(run(*probe, url))["streams"]
    run("ffmpeg", "-v", "error", "-nostdin", "-xerror", *HASTY, "-i", url, "-t", "1", *NOTHING)
    return {stream["codec_name"] for stream in found}


def test_ffmpeg_plays_without_a_complaint(device: ApplianceProcess) -> None:
    rtmp = f"rtmp://127.0.0.1:{device.rtmp_port}/"
    urls = [(device.url if "." in target else rtmp) + target for target in SHOWN]
    with ThreadPoolExecutor(len(urls)) as pool:
        found = dict(zip(SHOWN, pool.map(play, urls), strict=True))
    assert found == SHOWN


@pytest.mark.parametrize(
    ("target", "chain"),
    [
        ("live/camera.flv", "flvdemux ! h264parse ! avdec_h264"),
        ("live/camera.ts", "tsdemux ! h264parse ! avdec_h264"),
        ("live/camera.aac", "aacparse ! avdec_aac"),
        ("live/mp3.mp3", "mpegaudioparse ! avdec_mp3"),
    ],
)
def test_gstreamer_decodes_it(device: ApplianceProcess, target: str, chain: str) -> None:
    source = f"souphttpsrc location={device.url}{target} is-live=true"
    sink = "fakesink num-buffers=25 sync=false"
    pipeline = f"{source} ! {chain} ! {sink}"
    result = subprocess.run(
        ["gst-launch-1.0", "-q", *pipeline.split()], capture_output=True, timeout=40, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "ERROR" not in result.stderr


def test_curl_records_what_ffmpeg_decodes(device: ApplianceProcess) -> None:
    command = ["curl", "-sS", "-m", "3", f"{device.url}live/camera.flv"]
    result = subprocess.run(command, capture_output=True, timeout=20)
    assert result.returncode == 28, result.stderr  # its own time was up
    assert len(frame_hashes(result.stdout, "flv")["video"]) >= 15


def test_on_demand_stream_starts_for_its_viewer(device: ApplianceProcess, tmp_path) -> None:  # type: ignore[no-untyped-def]
    with appliance_process(
        tmp_path, "stream.live/camera.on_demand=true", 'stream.live/camera.on_demand_close="1s"'
    ) as sleeper:
        assert sleeper.children() == []
        played = ("ffmpeg", "-v", "error", "-nostdin", *HASTY)
        run(*played, "-i", f"{sleeper.url}live/camera.flv", "-t", "1", *NOTHING)
        sleeper.wait_line("nobody watches|stops")
