"""Ways to play that need a place of their own: multicast, and RTSPS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from appliance_process import ROOT, SMALL_PATTERN, appliance_process

PROBE = ("ffprobe", "-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0")


def test_multicast_is_sent_once_for_two_players(tmp_path: Path) -> None:
    program = Path(__file__).with_name("multicast_scene.py")
    paths = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    result = subprocess.run(
        ["unshare", "--map-root-user", "--net", sys.executable, program, tmp_path],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    *players, sent_bytes = json.loads(result.stdout)
    assert [tracks for tracks, _ in players] == [2, 2]
    assert min(seen_bytes for _, seen_bytes in players) > 50_000
    assert sent_bytes < sum(seen_bytes for _, seen_bytes in players)


def test_rtsps_plays_both_tracks(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "9", "-subj", "/CN=localhost", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    settings = (f'rtsp.tls.{name}="{path}"' for name, path in (("cert", cert), ("key", key)))
    listen = 'rtsp.tls.listen=["127.0.0.1:0"]'
    with appliance_process(tmp_path, listen, *settings, config=SMALL_PATTERN) as device:
        port = device.wait_line(r"listening on rtsps://\S+:(\d+)/")[1]
        device.wait_line("is live")
        url = f"rtsps://127.0.0.1:{port}/live/camera"
        told = subprocess.run([*PROBE, url], capture_output=True, text=True, timeout=20)
        assert told.stdout.split() == ["h264", "aac"]
        device.stop()
        assert "Traceback" not in device.log
