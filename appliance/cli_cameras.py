"""`porthole cameras`: what is plugged in, as a table, with the line to paste for each camera.

A child process asks the drivers (`appliance.capture.cameras`), within bounded time: a driver may
hang, and then only the child does.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from appliance.cli import complain, say
from appliance.errors import PeerError
from appliance.log import escape
from appliance.net.http_json import parse_json

PATIENCE_S, END_S = 60.0, 1.0  # a small board takes ten seconds to load it all
MAX_DOCUMENT_BYTES = 8 << 20
MAX_FORMATS, MAX_SIZES = 4, 3  # in the table; --json has all

NOTHING = """\
no camera is found. What to check:
  USB camera      is it plugged in, and does `lsusb` show it? /dev/video0 should appear.
                  In a container or virtual machine the device must be passed through.
  camera module   is its cable seated, and python3-picamera2 installed? It should appear in
                  `rpicam-hello --list-cameras`; its source is picamera2:0
  network camera  needs no driver: its source is its address, rtsp://…
  nothing yet     source = "pattern:" shows a test picture"""


def run_cameras_command(*, as_json: bool) -> int:
    """Prints the table or the document; the exit code."""
    try:
        document = ask()
    except subprocess.TimeoutExpired:
        complain(
            f"no answer within {PATIENCE_S:.0f} s: a camera's driver may hang; unplug the cameras, "
            "then plug in one after the other"
        )
        return os.EX_UNAVAILABLE
    except (PeerError, ValueError) as error:
        complain(f"the process that asks for cameras failed: {error}")
        return os.EX_SOFTWARE
    say(json.dumps(document, indent=1) if as_json else render(document))
    return os.EX_OK


def ask() -> dict[str, Any]:
    """Raises: subprocess.TimeoutExpired, PeerError, ValueError."""
    command = [sys.executable, "-P", "-m", "appliance.capture.cameras"]
    command += ["--parent", str(os.getpid())]
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        output, _ = child.communicate(timeout=PATIENCE_S)
    finally:
        _end(child)
    if child.returncode:
        raise ValueError(f"it ended with status {child.returncode}")
    if len(output) > MAX_DOCUMENT_BYTES:
        raise ValueError("it wrote too much")
    document = parse_json(output)
    if not isinstance(document, dict):
        raise PeerError("it wrote no JSON object")
    return document


def _end(child: subprocess.Popen[bytes]) -> None:
    """A driver may hold it for good, so nobody waits for long."""
    child.kill()
    if child.stdout is not None:
        child.stdout.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(END_S)


def render(document: dict[str, Any]) -> str:
    """The whole text, without a final newline. Names are the devices' own: nothing to trust."""
    cameras = [camera for camera in document["cameras"] if camera["is_camera"]]
    modules = [module for module in document["modules"] if not module["is_usb"]]
    microphones = document["microphones"]
    parts = []
    if cameras or modules:
        parts.append(_table([*_camera_rows(cameras), *_module_rows(modules)]))
        parts.append(_used(cameras, document))
        parts.append(_advice(cameras, modules))
    else:
        parts.append(NOTHING)
    if microphones:
        named = [(device["device"], device["name"]) for device in microphones]
        parts.append(_align([("MICROPHONE", "NAME"), *named]))
    parts += [f"note: {escape(str(note))}" for note in document["notes"] if cameras or modules]
    return "\n\n".join(part for part in parts if part)


def _table(rows: list[tuple[str, ...]]) -> str:
    return _align([("DEVICE", "NAME", "FORMATS"), *rows])


def _camera_rows(cameras: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for camera in cameras:
        formats = [_format(offer) for offer in camera["formats"][:MAX_FORMATS]]
        if rest := len(camera["formats"]) + len(camera["others"]) - len(formats):
            formats.append(f"and {rest} more")
        rows.append((camera["device"], camera["name"], formats[0] if formats else "-"))
        rows += [("", "", line) for line in formats[1:]]
    return rows


def _format(offer: dict[str, Any]) -> str:
    """``MJPEG 1920x1080 30/s, 1280x720 60/s and 4 more``: the largest first."""
    sizes = sorted(offer["sizes"], key=lambda s: s["width"] * s["height"], reverse=True)
    shown = [
        f"{size['width']}x{size['height']}"
        + (f" {max(size['rates']):g}/s" if size["rates"] else "")
        for size in sizes[:MAX_SIZES]
    ]
    more = f" and {len(sizes) - MAX_SIZES} more" if len(sizes) > MAX_SIZES else ""
    return f"{offer['name']} {', '.join(shown)}{more}"


def _module_rows(modules: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    return [(module["source"], module["name"], "through picamera2") for module in modules]


def _used(cameras: list[dict[str, Any]], document: dict[str, Any]) -> str:
    """What would be taken of each for the usual settings, and why."""
    wanted = document["wanted"]
    lines = [f"used for {wanted['width']}x{wanted['height']} at {wanted['fps']}/s:"]
    lines += [f"  {escape(camera['device'])}: {escape(camera['why'])}" for camera in cameras]
    return "\n".join(lines) if cameras else ""


def _advice(cameras: list[dict[str, Any]], modules: list[dict[str, Any]]) -> str:
    sources = [camera["source"] for camera in cameras if camera["source"]]
    sources += [module["source"] for module in modules]
    if not sources:
        return ""
    lines = ["to stream one of them, below [[stream]]:"]
    return "\n".join([*lines, *(f'  source = "{escape(source)}"' for source in sources)])


def _align(rows: Sequence[tuple[str, ...]]) -> str:
    cells = [tuple(escape(cell) for cell in row) for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )
