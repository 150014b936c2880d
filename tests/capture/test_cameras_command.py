"""`porthole cameras`: what a person reads, and the document behind it."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from appliance import cli_cameras
from appliance.capture.cameras import describe_found, describe_module
from appliance.capture.v4l2.device import (
    CAP_CAPTURE,
    CAP_STREAMING,
    Capability,
    Mode,
    Offer,
    Wanted,
)
from appliance.capture.v4l2.places import Found, Place
from appliance.cli import main

ROOT = Path(__file__).parent.parent.parent
WANTED = Wanted()
LINK = "/dev/v4l/by-id/usb-046d_HD_Pro_Webcam_42-video-index0"
CAMERA = Capability("uvcvideo", "HD Pro Webcam", "usb-1.2", CAP_CAPTURE | CAP_STREAMING)
SIZES = ((640, 480), (1280, 720), (1920, 1080), (320, 240))
MODES = tuple(Mode(width, height, (Fraction(30), Fraction(15))) for width, height in SIZES)
OFFERS = (Offer("YUYV", "YUYV", MODES[:1]), Offer("ABCD", "odd"), Offer("MJPG", "MJPEG", MODES))


def found(**more: Any) -> Found:
    place = Place(LINK, "/dev/video0", (LINK,))
    return Found(place, **({"capability": CAMERA, "offers": OFFERS} | more))


def document(*cameras: Found, **more: Any) -> dict[str, Any]:
    wanted = {"width": WANTED.width, "height": WANTED.height, "fps": WANTED.fps}
    shown = [describe_found(each, WANTED) for each in cameras]
    base: dict[str, Any] = {
        "wanted": wanted, "cameras": shown, "modules": [], "microphones": [], "notes": [],
    }  # fmt: skip
    whole: dict[str, Any] = json.loads(json.dumps(base | more))
    return whole


def test_table_shows_what_a_camera_has_and_the_line_to_paste() -> None:
    text = cli_cameras.render(document(found()))
    lines = text.split("\n")
    assert lines[0].split() == ["DEVICE", "NAME", "FORMATS"]
    assert lines[1].startswith(f"{LINK}  HD Pro Webcam  MJPEG 1920x1080 30/s, 1280x720 30/s")
    assert lines[1].endswith("640x480 30/s and 1 more")
    assert lines[2].split() == ["YUYV", "4:2:2", "640x480", "30/s"]
    assert lines[3].strip() == "and 1 more"
    assert "MJPEG 1280x720 at 30/s: the camera gives no H.264, so it is encoded here" in text
    assert f'source = "v4l2:{LINK}"' in text


def test_table_leaves_out_what_is_no_camera() -> None:
    processor = Capability("bcm2835-isp", "bcm2835-isp", "p", CAP_CAPTURE | CAP_STREAMING)
    text = cli_cameras.render(document(found(capability=processor)))
    assert text.startswith("no camera is found")


@pytest.mark.parametrize("word", ["lsusb", "picamera2:0", "rtsp://", "pattern:"])
def test_nothing_found_says_what_to_check(word: str) -> None:
    assert word in cli_cameras.render(document())


def test_camera_that_may_not_be_opened_is_shown_with_what_to_do() -> None:
    error = PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/dev/video0")
    text = cli_cameras.render(document(found(capability=None, offers=(), error=error)))
    assert "group video" in text
    assert "source =" not in text


def test_sensor_without_its_processor_points_to_picamera2() -> None:
    text = cli_cameras.render(document(found(offers=(Offer("RG10", "Bayer"),))))
    assert "picamera2:0" in text
    assert "source =" not in text


def test_camera_modules_and_microphones_are_listed() -> None:
    modules = [
        describe_module(0, {"Model": "imx708", "Id": "/base/soc/i2c0mux/i2c@1/imx708@1a"}),
        describe_module(1, {"Model": "HD Webcam", "Id": "\\_SB_.PCI0-usb-1.2:1.0-046d:0825"}),
    ]
    microphones = [{"device": "plughw:CARD=Webcam,DEV=0", "name": "HD Webcam"}]
    text = cli_cameras.render(document(modules=modules, microphones=microphones))
    assert 'source = "picamera2:0"' in text
    assert "picamera2:1" not in text
    assert "plughw:CARD=Webcam,DEV=0  HD Webcam" in text


def test_name_of_a_device_cannot_write_on_the_terminal() -> None:
    evil = Capability("uvcvideo", "\x1b[2Jevil\nline", "u", CAP_CAPTURE | CAP_STREAMING)
    text = cli_cameras.render(document(found(capability=evil)))
    assert "\x1b" not in text
    assert "evil\\nline" in text


def test_command_prints_one_document_of_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cameras", "--json"]) == os.EX_OK
    shown = json.loads(capsys.readouterr().out)
    assert shown["wanted"] == {"width": 1280, "height": 720, "fps": 30}
    assert {"cameras", "auto", "modules", "microphones", "notes"} <= set(shown)


def test_driver_that_hangs_ends_the_command_not_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    hanging = tmp_path / "hang"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n")
    hanging.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(hanging))
    monkeypatch.setattr(cli_cameras, "PATIENCE_S", 0.1)
    assert main(["cameras"]) == os.EX_UNAVAILABLE
    assert "no answer within" in capsys.readouterr().err


@pytest.mark.parametrize("script", ["exit 3", "echo nonsense", "echo '[1]'", ":"])
def test_child_that_fails_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    script: str,
) -> None:
    failing = tmp_path / "fail"
    failing.write_text(f"#!/bin/sh\n{script}\n")
    failing.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(failing))
    assert main(["cameras"]) == os.EX_SOFTWARE
    assert capsys.readouterr().err.count("\n") == 1


def test_server_side_of_the_command_loads_no_libav() -> None:
    code = "import sys, appliance.cli_cameras; print('av' in sys.modules, 'fcntl' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, check=True)
    assert shown.stdout.split()[0] == b"False"


def test_worker_for_a_camera_that_encodes_loads_no_libav() -> None:
    code = (
        "import sys, appliance.capture.sources.v4l2, appliance.capture.cameras;"
        "print(sorted({'av', 'numpy', 'picamera2'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, check=True)
    assert shown.stdout == b"[]\n"
