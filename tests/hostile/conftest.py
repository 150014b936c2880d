"""One appliance for all attacks of a module's kind; that it outlives them is the point."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from appliance_process import SMALL_PATTERN, ApplianceProcess, appliance_process

SECOND = """
[[stream]]
name = "live/second"
source = "pattern:"
[stream.video]
width = 160
height = 96
fps = 10
bitrate = "60k"
keyframe = "1s"
"""
HASTY = (
    'http.request_deadline="2s"',
    'http.stall="2s"',
    'http.trusted_proxies=["127.0.0.1"]',
    'camera.stall="2s"',
    'pictures.stall="2s"',
    'live.stall="2s"',
    'rtmp.stall="2s"',
)


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApplianceProcess]:
    """Believes X-Forwarded-For, so that one may come from anywhere."""
    folder = tmp_path_factory.mktemp("hostile")
    with appliance_process(folder, *HASTY, config=SMALL_PATTERN + SECOND) as process:
        process.wait_line("live/camera is live")
        process.wait_line("live/second is live")
        yield process
        assert "Traceback" not in process.log


@pytest.fixture(scope="module")
def owner_key(device: ApplianceProcess) -> str:
    match = re.search(r"^ +([\w-]{22})$", device.log, re.MULTILINE)
    assert match is not None
    return match[1]
