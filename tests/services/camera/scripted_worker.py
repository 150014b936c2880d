"""Scripts in a worker's place: they speak the same pipe, and break whatever rule a test likes.

play(SCRIPT) puts one in place of every capture worker; slates are still made by the real one. What
a script can say is in `PRELUDE`; it finds the worker's options in `OPTIONS`, and in `RUN` how many
workers there were before it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from appliance.net import worker_process as process

ROOT = Path(__file__).parent.parent.parent.parent

PRELUDE = f"""
import itertools, json, os, signal, subprocess, sys, threading, time
from pathlib import Path
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests" / "wire")!r}]
from pipe_fixture import AUDIO, VIDEO, audio_unit, video_unit
from appliance.media.track import Track
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.connection import Pipe, Role
from appliance.wire.pipe.frames import frame, Type
from appliance.wire.pipe.messages import *
pipe = Pipe(Role.WORKER)
OPTIONS = json.loads(sys.argv[2])
RUNS = Path(__file__).with_name(OPTIONS["stream"].replace("/", "-") + ".runs")
RUN = len(RUNS.read_text()) if RUNS.exists() else 0
RUNS.write_text("x" * (RUN + 1))
COMMANDS = []  # all that came so far
LOCK = threading.Lock()
SUB = Track(SUB_VIDEO_ID, VIDEO.config)

def now_us():
    return time.monotonic_ns() // 1000

def say(*events):
    with LOCK:
        for event in events:
            pipe.send(event)
        write(pipe.take_output())

def write(data):
    while data:
        data = data[os.write(1, data):]

def listen(on_command=lambda command: None):
    def read():
        while data := os.read(0, 65536):
            for command in pipe.receive(data):
                COMMANDS.append(command)
                on_command(command)
        os._exit(0)
    threading.Thread(target=read, daemon=True).start()

def saw(kind):
    return [command for command in COMMANDS if isinstance(command, kind)]

def picture(at_us, number, every=7, track=VIDEO):
    key = number % every == 0
    nal = b"\\x65" if key else b"\\x41"
    return AccessUnit(track, at_us, at_us, key, (nal + bytes(300),))

def film(while_=lambda: True, fps=25, sound=True, every=7, start=0, tracks=lambda: (VIDEO,)):
    '''Pictures of these tracks, and sound with them, for as long as the condition holds.'''
    begin, heard = now_us(), 0
    for number in itertools.count(start):
        if not while_():
            return
        due = begin + (number - start) * 1_000_000 // fps
        time.sleep(max(0, due - now_us()) / 1e6)
        units = [picture(due, number, every, track) for track in tracks()]
        while sound and begin + heard * 1024 * 1_000_000 // 48_000 <= due:
            units.append(audio_unit(begin + heard * 1024 * 1_000_000 // 48_000))
            heard += 1
        say(*units)
"""

Play = Callable[[str], None]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Let every worker be this script."""
    real = process.command

    def put(script: str) -> None:
        path = tmp_path / "worker.py"
        path.write_text(PRELUDE + script)

        def command(options: Mapping[str, Any], *, nice: int) -> list[str]:
            if "slate_text" in options:
                return real(options, nice=nice)
            return [sys.executable, str(path), "appliance.capture", json.dumps(options)]

        monkeypatch.setattr(process, "command", command)

    return put
