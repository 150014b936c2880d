"""`porthole probe`: what is in a stream, measured by a child process, since only it has libav.

What is said by RTSP is measured by our own client, which would fetch it.

The child is as untrusted as what it reads: its lines are bounded, and so is its time.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from appliance.errors import ApplianceError, PeerError
from appliance.log import escape
from appliance.net.http_json import parse_json
from appliance.probe_table import render_report
from appliance.redact import redact

GRACE_S = 30.0  # for connecting, opening and the last read, each of which has its own deadline
MAX_LINE_BYTES = 1 << 18
MAX_SECONDS = 3600.0
BAR_CHARS = 24
SOURCE_VARIABLE = "PORTHOLE_SOURCE"  # not an argument: those are everybody's to read

EXIT_CODES = {
    "usage": os.EX_USAGE,
    "input": os.EX_NOINPUT,
    "permission": os.EX_NOPERM,
    "host": os.EX_NOHOST,
    "unsupported": os.EX_DATAERR,
    "refused": os.EX_UNAVAILABLE,
    "timeout": os.EX_UNAVAILABLE,
    "unavailable": os.EX_UNAVAILABLE,
    "software": os.EX_SOFTWARE,
}


class ProbeFailed(ApplianceError):
    """One sentence on why nothing could be measured."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.exit_code = EXIT_CODES.get(kind, os.EX_SOFTWARE)


def run_probe(target: str, *, seconds: float, as_json: bool) -> int:
    """Prints the table or the JSON; the exit code."""
    if target.partition(":")[0].lower() in {"rtsp", "rtsps"}:
        from appliance.probe_rtsp import run_probe_rtsp

        return run_probe_rtsp(target, seconds=seconds, as_json=as_json, progress=Progress())
    shown = escape(redact(target))
    progress = Progress()
    try:
        if not 0 < seconds <= MAX_SECONDS:
            raise ProbeFailed("usage", f"--seconds is above 0 and at most {MAX_SECONDS:.0f}")
        report = measure(source_of(target), seconds, progress)
    except ProbeFailed as error:
        progress.clear()
        sys.stderr.write(f"porthole: {shown}: {error}\n")
        return error.exit_code
    progress.clear()
    text = (
        json.dumps({"url": shown} | report, indent=2) if as_json else render_report(shown, report)
    )
    sys.stdout.write(text + "\n")
    return os.EX_OK


def source_of(target: str) -> str:
    """A URL, or the ``file:`` URL of a path. Raises: ProbeFailed."""
    target = target.removeprefix("av:")
    if target.startswith("pattern:"):
        raise ProbeFailed("usage", "the test pattern is made here; probe the stream made of it")
    path = target.removeprefix("file://").removeprefix("file:")
    if path == target and "://" in target:
        return target
    if not path or not os.path.exists(path):  # noqa: PTH110 - Path raises for names too long
        raise ProbeFailed("input", "there is no such file, and it is no URL")
    return f"file://{Path(path).absolute()}"


class Progress:
    """A bar on a terminal; nothing anywhere else."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()
        self._is_drawn = False

    def show(self, part: float, packets: int) -> None:
        if self._is_shown:
            filled = int(min(1.0, max(0.0, part)) * BAR_CHARS)
            bar = "█" * filled + "░" * (BAR_CHARS - filled)
            sys.stderr.write(f"\r  measuring {bar} {packets} packets ")
            sys.stderr.flush()
            self._is_drawn = True

    def clear(self) -> None:
        if self._is_drawn:
            sys.stderr.write("\r\x1b[K")
            self._is_drawn = False


def measure(source: str, seconds: float, progress: Progress) -> dict[str, Any]:
    """The child's report. Raises: ProbeFailed."""
    if find_spec("av") is None:
        raise ProbeFailed("unavailable", "PyAV is not installed; pip install 'porthole[capture]'")
    command = [sys.executable, "-m", "appliance.capture.probe"]
    command += ["--seconds", str(seconds), "--parent", str(os.getpid())]
    environ = os.environ | {SOURCE_VARIABLE: source}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE) as child:
        try:
            for document in _documents(child, time.monotonic() + seconds + GRACE_S):
                if "report" in document:
                    return dict(document["report"])
                if "error" in document:
                    raise ProbeFailed(document["error"]["kind"], document["error"]["text"])
                progress.show(document.get("progress", 0.0), document.get("packets", 0))
            code = child.wait(GRACE_S)
        except (PeerError, KeyError, TypeError, AttributeError, subprocess.TimeoutExpired) as error:
            raise ProbeFailed("software", "the measuring process wrote nonsense") from error
        finally:
            child.kill()
    raise ProbeFailed("software", f"the measuring process ended with {code}")


def _documents(child: subprocess.Popen[bytes], deadline_s: float) -> Iterator[dict[str, Any]]:
    """What the child writes, line by line. Raises: ProbeFailed when its time is over."""
    assert child.stdout is not None
    pending = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, deadline_s - time.monotonic())):
                raise ProbeFailed("timeout", "the measuring process hung and was ended")
            data = os.read(child.stdout.fileno(), 65536)
            if not data:
                return
            pending += data
            *lines, rest = pending.split(b"\n")
            pending = bytearray(rest)
            if len(pending) > MAX_LINE_BYTES:
                raise ProbeFailed("software", "the measuring process wrote too much")
            yield from map(parse_json, map(bytes, lines))
