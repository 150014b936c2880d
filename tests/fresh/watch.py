"""Runs a command that serves, and watches its stream as a player would: playlist, then segment.

usage: watch.py [--only-start SECONDS] -- COMMAND…    with SECONDS, only waits until it listens
       watch.py URL                                   watches what runs already
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request

DEADLINE_S = 60


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=20) as reply:
        return reply.read()


def first_uri(playlist: bytes) -> str:
    return re.findall(r"^[^#\s].*$", playlist.decode(), re.MULTILINE)[0]


def watch(base: str) -> None:
    """The multivariant playlist, its first child, that one's first segment."""
    url = urllib.parse.urljoin(base, "/live/camera.m3u8")
    for what in ("multivariant playlist", "media playlist", "segment"):
        body = fetch(url)
        print(f"   {what}: {len(body)} bytes")
        if what != "segment":
            url = urllib.parse.urljoin(url, first_uri(body))
    assert len(body) > 10_000, "a segment of real video is larger"
    page = fetch(base)
    assert b"<html" in page.lower(), page[:200]


def main() -> None:
    if "--" not in sys.argv:
        watch(sys.argv[1])
        return
    options, command = sys.argv[1 : sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1 :]
    began = time.monotonic()
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    signal.alarm(DEADLINE_S)
    try:
        for line in child.stderr:
            print("  |", line, end="")
            if found := re.search(r"listening on (http://\S+)", line):
                break
        else:
            sys.exit("it ended before it listened")
        took_s = time.monotonic() - began
        print(f"   listens after {took_s:.2f} s")
        if options:
            assert took_s < float(options[1]), f"{took_s:.2f} s until it listened"
        else:
            watch(found[1])
            print(f"   plays after {time.monotonic() - began:.2f} s")
    finally:
        child.terminate()
        child.communicate(timeout=20)


main()
