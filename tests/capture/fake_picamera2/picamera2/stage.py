"""The folder by which a test and the stand-in talk to each other.

settings.json, read once: `cameras` (list of {Model, Id}), `hardware` (bool, whether H264Encoder is
the hardware's), `pad` (bytes that a row of luma is longer than it is wide), `max_fps`,
`stamp_ahead_ns` (of CLOCK_MONOTONIC), `parameter_sets_alone`, `no_encoder`, `no_force` (an older
version without force_key_frame), `taken` (by another program).
Files that switch something on while they are there: `stall` (no pictures), `encoder-stall` (no
chunks any more of the encoders that run), `hang` (stop never returns), `hang-encoder` (an encoder's
stop never returns), `gone` (no camera is found), `noise` (pictures that no encoder makes small).
journal: a line of JSON for each call that matters.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ["FAKE_PICAMERA2"])
DEFAULTS: dict[str, Any] = {
    "cameras": [{"Model": "imx708", "Id": "/base/soc/i2c0mux/i2c@1/imx708@1a"}],
    "hardware": True,
    "pad": 64,
    "max_fps": 60,
    "stamp_ahead_ns": 0,
    "parameter_sets_alone": False,
    "no_encoder": False,
    "no_force": False,
    "taken": False,
}
_file = FOLDER / "settings.json"
settings = DEFAULTS | (json.loads(_file.read_text()) if _file.exists() else {})
_lock = threading.Lock()


def note(what: str, **about: Any) -> None:
    with _lock, (FOLDER / "journal").open("a") as journal:
        journal.write(json.dumps({"what": what} | about, default=str) + "\n")


def is_on(switch: str) -> bool:
    return (FOLDER / switch).exists()


def block_while(switch: str) -> None:
    """As a driver that hangs does: until the process ends."""
    if is_on(switch):
        note(f"blocked by {switch}")
        threading.Event().wait()
