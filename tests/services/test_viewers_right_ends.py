"""Whoever watches by HTTP or WebSocket while the right to do so ends, at the real product."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from appliance_process import SMALL_PATTERN, ApplianceProcess, appliance_process

UPGRADE = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
UPGRADE += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
WAYS = [(suffix, fields) for suffix in (".flv", ".ts", ".aac") for fields in ("", UPGRADE)]
WAYS.append((".mjpeg", ""))


def watch(device: ApplianceProcess, path: str, fields: str) -> socket.socket:
    """A viewer's connection; some of the stream has come."""
    sock = socket.create_connection(("127.0.0.1", device.port), timeout=20)
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}\r\n".encode())
    data = b""
    while len(data) < 1000:
        data += sock.recv(65536)
    assert data.split()[1] == (b"101" if fields else b"200"), data[:200]
    return sock


def read_to_end(sock: socket.socket) -> None:
    """Raises: TimeoutError if it stays."""
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        return


def user(folder: Path, *words: str) -> str:
    """What `porthole user` says, for a device with its files there."""
    command = [sys.executable, "-m", "appliance", "user", *words]
    command += ["--set", f'device.state="{folder / "state"}"']
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout


def test_viewers_end_with_their_account_and_when_the_setting_is_tightened(tmp_path: Path) -> None:
    """In every way: those of a user who is removed, and those who never had to show a key."""
    config = SMALL_PATTERN + '[auth]\nplay = "{}"\n'
    key = user(tmp_path, "add", "ann", "--allow", "play").split()[-1]
    with (
        appliance_process(tmp_path, config=config.format("key")) as device,
        ExitStack() as stack,
    ):

        def watch_all(query: str) -> list[socket.socket]:
            paths = [(f"/live/camera{suffix}{query}", fields) for suffix, fields in WAYS]
            return [stack.enter_context(watch(device, *way)) for way in paths]

        def hang_up(policy: str) -> None:
            (tmp_path / "porthole.toml").write_text(config.format(policy))
            lines = len(device.lines)
            os.kill(device.pid, signal.SIGHUP)
            device.wait_line("reloaded$", since=lines)

        device.wait_line("live/camera is live")
        anns = watch_all(f"?key={key}")
        hang_up("open")
        everybodys = watch_all("")
        hang_up("key")
        user(tmp_path, "remove", "ann")
        for sock in (*everybodys, *anns):
            read_to_end(sock)
