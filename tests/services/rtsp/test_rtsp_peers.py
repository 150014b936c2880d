"""GStreamer plays from us and publishes to us; what players choose, and how they are ended."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from urllib.request import Request, urlopen

import pytest
from appliance_process import ApplianceProcess, appliance_process
from gstreamer_words import is_well
from recording import connections_to, running, wait_until

CONFIG = """
[auth]
publish = "open"
[[stream]]
name = "live/camera"
source = "pattern:"
[stream.video]
width = 640
height = 360
fps = 15
bitrate = "400k"
keyframe = "1s"
"""


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApplianceProcess]:
    with appliance_process(tmp_path_factory.mktemp("peers"), config=CONFIG) as process:
        process.wait_line("is live")
        yield process
        assert "Traceback" not in process.log


def url_of(device: ApplianceProcess, name: str = "camera") -> str:
    return f"rtsp://127.0.0.1:{device.rtsp_port}/live/{name}"


def run(*words: object, timeout_s: float = 20) -> str:
    command = [str(word) for word in words]
    result = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    assert is_well(result.returncode, result.stderr), result.stderr
    return result.stdout + result.stderr


@pytest.mark.parametrize("protocols", ["tcp", "udp"])
def test_gstreamer_plays_both_tracks(device: ApplianceProcess, protocols: str) -> None:
    source = f"rtspsrc name=s latency=100 protocols={protocols} location={url_of(device)}"
    video = "s. ! rtph264depay ! avdec_h264 ! fakesink num-buffers=20"
    audio = "s. ! rtpmp4gdepay ! avdec_aac ! fakesink num-buffers=20"
    run("gst-launch-1.0", "-q", *f"{source} {video} {audio}".split())


@pytest.mark.parametrize("protocols", ["tcp", "udp"])
def test_gstreamer_publishes(device: ApplianceProcess, protocols: str) -> None:
    picture = "videotestsrc is-live=true ! video/x-raw,width=160,height=128"
    coder = "openh264enc gop-size=15 ! h264parse"
    url = url_of(device, f"by-{protocols}")
    sink = f"rtspclientsink protocols={protocols} latency=0 location={url}"
    with running("gst-launch-1.0", "-q", *f"{picture} ! {coder} ! {sink}".split()):
        words = ("-rtsp_transport", "tcp", "-show_entries", "stream=codec_name,width")
        told = run("ffprobe", "-v", "error", *words, "-of", "csv", url)
    assert "h264,160" in told


def test_gstreamer_waits_for_who_publishes_later(device: ApplianceProcess) -> None:
    others, url = connections_to(device.rtsp_port), url_of(device, "later")
    play = f"rtspsrc latency=0 protocols=tcp location={url} ! rtph264depay ! fakesink num-buffers=9"
    words = ["gst-launch-1.0", "-q", *play.split()]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as player:
        wait_until(lambda: connections_to(device.rtsp_port) > others, "the player is there")
        publish = "-re -f lavfi -i testsrc2=size=160x128:rate=30 -c:v libx264 -preset ultrafast"
        words = [*publish.split(), "-g", "15", "-f", "rtsp", "-rtsp_transport", "tcp", url]
        with running("ffmpeg", "-v", "error", "-nostdin", *words):
            _, said = player.communicate(timeout=30)
    assert is_well(player.returncode, said), said


@pytest.mark.parametrize(("word", "depay"), [("video", "rtph264depay"), ("audio", "rtpmp4gdepay")])
def test_gstreamer_gets_what_it_selects_and_nothing_else(
    device: ApplianceProcess, word: str, depay: str
) -> None:
    source = f"rtspsrc latency=0 protocols=udp location={url_of(device)}?{word}"
    told = run("gst-launch-1.0", "-v", *f"{source} ! {depay} ! fakesink num-buffers=9".split())
    assert set(re.findall(r"media=\(string\)(\w+)", told)) == {word}


def test_selection_leaves_out_what_is_not_wanted(device: ApplianceProcess) -> None:
    words = ("-rtsp_transport", "tcp", "-show_entries", "stream=codec_type", "-of", "csv=p=0")
    for query, kind in (("video", "video"), ("audio", "audio"), ("audio=0", "video")):
        told = run("ffprobe", "-v", "error", *words, f"{url_of(device)}?{query}")
        assert told.split() == [kind]


def test_player_is_listed_and_kicked(device: ApplianceProcess) -> None:
    fields = {"Authorization": f"Bearer {device.owner_key}"}

    def rows() -> list[dict[str, object]]:
        with urlopen(Request(device.url + "api/v1/clients/", headers=fields)) as reply:
            clients = json.load(reply)["clients"]
        return [row for row in clients if row["type"] == "rtsp-play"]

    with running("ffmpeg", "-v", "error", "-i", url_of(device), "-f", "null", "-") as player:
        wait_until(lambda: bool(rows()), "the player is listed")
        [row] = rows()
        assert re.fullmatch(r"rtsp-\d+", str(row["id"]))
        url = f"{device.url}api/v1/clients/{row['id']}"
        urlopen(Request(url, headers=fields, method="DELETE")).close()
        wait_until(lambda: not rows(), "the player is gone")
        player.wait(10)
