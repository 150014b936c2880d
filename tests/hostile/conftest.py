"""One appliance for all attacks of a module's kind; that it outlives them is the point."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

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


def _rtmps(folder: Path) -> tuple[str, ...]:
    """Settings of a listener with a certificate of its own."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "9", "-subj", "/CN=localhost", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    return (
        'rtmp.tls.listen=["127.0.0.1:0"]',
        f'rtmp.tls.cert="{cert}"',
        f'rtmp.tls.key="{key}"',
    )


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApplianceProcess]:
    """Believes X-Forwarded-For, so that one may come from anywhere."""
    folder = tmp_path_factory.mktemp("hostile")
    settings = HASTY + _rtmps(folder)
    with appliance_process(folder, *settings, config=SMALL_PATTERN + SECOND) as process:
        process.wait_line("live/camera is live")
        process.wait_line("live/second is live")
        yield process
        assert "Traceback" not in process.log


@pytest.fixture(scope="module")
def owner_key(device: ApplianceProcess) -> str:
    match = re.search(r"^ +([\w-]{22})$", device.log, re.MULTILINE)
    assert match is not None
    return match[1]
