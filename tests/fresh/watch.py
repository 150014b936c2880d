"""Runs a command that serves, and watches its stream as a player would: playlist, then segment.

usage: watch.py [OPTION] -- COMMAND…
         --only-start SECONDS    waits until it listens, and no longer than that
         --keep FILE             writes the segment there, with what a decoder needs before it
       watch.py URL                                   watches what runs already
"""

from __future__ import annotations

import queue
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

DEADLINE_S = 240


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as reply:
        return reply.read()


def first_uri(playlist: bytes) -> str:
    return re.findall(r"^[^#\s].*$", playlist.decode(), re.MULTILINE)[0]


def watch(base: str, keep: Path | None = None) -> None:
    """The multivariant playlist, its first child, that one's first segment."""
    url = urllib.parse.urljoin(base, "/live/camera.m3u8")
    for what in ("multivariant playlist", "media playlist"):
        body = fetch_patiently(url)
        print(f"   {what}: {len(body)} bytes")
        playlist, playlist_url = body, url
        url = urllib.parse.urljoin(url, first_uri(body))
    segment = fetch(url)
    print(f"   segment: {len(segment)} bytes")
    assert len(segment) > 3_000, "a segment of real video is larger"
    if keep is not None:
        (init,) = re.findall(r'#EXT-X-MAP:URI="(.*?)"', playlist.decode())
        keep.write_bytes(fetch(urllib.parse.urljoin(playlist_url, init)) + segment)
    page = fetch(base)
    assert b"<html" in page.lower(), page[:200]


def listen(child: subprocess.Popen[str]) -> str:
    """Its address, once it says so; what it says is shown to its end."""
    address: queue.Queue[str] = queue.Queue()

    def show() -> None:
        assert child.stderr is not None
        for line in child.stderr:
            print("  |", line, end="", flush=True)
            if found := re.search(r"listening on (http://\S+)", line):
                address.put(found[1])
        address.put("")

    threading.Thread(target=show, daemon=True).start()
    return address.get() or sys.exit("it ended before it listened")


def fetch_patiently(url: str) -> bytes:
    """A slow machine may need more time for its first segment than one request is kept waiting."""
    while True:
        try:
            return fetch(url)
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise


def main() -> None:
    if "--" not in sys.argv:
        watch(sys.argv[1])
        return
    options, command = sys.argv[1 : sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1 :]
    began = time.monotonic()
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    signal.alarm(DEADLINE_S)
    try:
        address = listen(child)
        took_s = time.monotonic() - began
        print(f"   listens after {took_s:.2f} s")
        if options[:1] == ["--only-start"]:
            assert took_s < float(options[1]), f"{took_s:.2f} s until it listened"
        else:
            watch(address, Path(options[1]) if options else None)
            print(f"   plays after {time.monotonic() - began:.2f} s")
    finally:
        child.terminate()
        try:
            child.wait(timeout=10)
        except subprocess.TimeoutExpired:  # unshare(1) passes no signal on, but takes its child
            child.kill()
            child.wait()


main()
