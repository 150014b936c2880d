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
WEBRTC = 'webrtc.listen=["127.0.0.1:0"]'


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApplianceProcess]:
    with appliance_process(tmp_path_factory.mktemp("device"), WEBRTC) as process:
        process.wait_line("live/camera is live")
        yield process


class Player:
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
def player(*kinds: str) -> Iterator[Player]:
    pipe = subprocess.PIPE
    command = ["timeout", "60", "/usr/bin/python3", str(PLAYER), *kinds]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield Player(process)
        finally:
            process.terminate()


def ask(device: ApplianceProcess, offer: str) -> str:
    headers = {"Content-Type": "application/sdp"}
    url = f"{device.url}live/camera/whep"
    with urlopen(Request(url, offer.encode(), headers), timeout=30) as reply:
        assert reply.status == 201
        return reply.read().decode()


@pytest.mark.parametrize("kinds", [("video", "audio"), ("video",)], ids="+".join)
def test_gstreamer_decodes_what_it_plays(device: ApplianceProcess, kinds: tuple[str, ...]) -> None:
    with player(*kinds) as peer:
        peer.say(ask(device, peer.hear()))
        decoded = {kind: 0 for kind in kinds}
        while min(decoded[kind] for kind in kinds) < 20:
            decoded = peer.hear()
