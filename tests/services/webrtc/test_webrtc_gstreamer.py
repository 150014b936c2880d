"""GStreamer plays by WHEP, picture and sound decoded: its ICE is libnice's, and it has no RTX."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from appliance_process import ApplianceProcess, appliance_process

PLAYER = Path(__file__).parent / "gst_player.py"
PUBLISHER = Path(__file__).parent.parent.parent / "wire" / "ice" / "gst_webrtc.py"
WEBRTC = 'webrtc.listen=["127.0.0.1:0"]'


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApplianceProcess]:
    with appliance_process(tmp_path_factory.mktemp("device"), WEBRTC) as process:
        process.wait_line("live/camera is live")
        yield process


class Peer:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def hear(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def say(self, value: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps(value)}\n")
        self._process.stdin.flush()


@contextmanager
def gstreamer(program: Path, *words: str) -> Iterator[Peer]:
    pipe = subprocess.PIPE
    command = ["timeout", "100", "/usr/bin/python3", str(program), *words]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield Peer(process)
        finally:
            process.terminate()


def ask(device: ApplianceProcess, path: str, offer: str, key: str = "") -> str:
    headers = {"Content-Type": "application/sdp", "Authorization": f"Bearer {key}"}
    with urlopen(Request(device.url + path, offer.encode(), headers), timeout=30) as reply:
        assert reply.status == 201
        return reply.read().decode()


@pytest.mark.parametrize("kinds", [("video", "audio"), ("video",)], ids="+".join)
def test_gstreamer_decodes_what_it_plays(device: ApplianceProcess, kinds: tuple[str, ...]) -> None:
    with gstreamer(PLAYER, *kinds) as peer:
        peer.say(ask(device, "live/camera/whep", peer.hear()))
        decoded = {kind: 0 for kind in kinds}
        while min(decoded[kind] for kind in kinds) < 20:
            decoded = peer.hear()


def test_gstreamer_publishes_what_others_play(device: ApplianceProcess) -> None:
    with gstreamer(PUBLISHER, "publish") as peer:
        peer.say(ask(device, "live/studio/whip", peer.hear(), device.owner_key))
        device.wait_line("live/studio connected by udp")
        url = f"rtsp://127.0.0.1:{device.rtsp_port}/live/studio"
        command = ["timeout", "60", "ffmpeg", "-v", "error", "-rtsp_transport", "tcp", "-i", url]
        counted = [*command, "-frames:v", "20", "-f", "framemd5", "-"]
        done = subprocess.run(counted, check=True, capture_output=True, text=True, timeout=80)
        lines = [line for line in done.stdout.splitlines() if not line.startswith("#")]
        assert len(lines) == 20
        assert done.stderr == ""
