"""The whole appliance as a process: what it loads, reloads, survives, and how it ends."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from appliance_process import ROOT, SMALL_PATTERN, appliance_process

from appliance.app import App, loopback_url
from appliance.config import Config, DeviceSettings
from appliance.hub.access import Access

FOREIGN = re.compile(r"libav|libx264|/av/|numpy|picamera2|libcamera")


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=20) as reply:
        return reply.read()


def eventually(check: Callable[[], bool], deadline_s: float = 20) -> None:
    """Polls, because another process has no event to wait for."""
    end = time.monotonic() + deadline_s
    while not check():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_server_process_never_loads_what_decodes(tmp_path: Path) -> None:
    with appliance_process(tmp_path) as device:
        assert b"#EXTINF" in get(device.url + "live/camera.hls/fmp4.m3u8")
        server = Path(f"/proc/{device.pid}/maps").read_text()
        (worker,) = device.children()
        assert FOREIGN.search(Path(f"/proc/{worker}/maps").read_text())
        assert not FOREIGN.search(server)


def test_sigterm_ends_the_workers_too_and_exits_cleanly(tmp_path: Path) -> None:
    with appliance_process(tmp_path) as device:
        device.wait_line("is live")
        workers = device.children()
        assert device.stop() == 0
        eventually(lambda: not any(map(is_alive, workers)))
        assert "Traceback" not in device.log


def test_kill_of_the_server_leaves_no_worker_behind(tmp_path: Path) -> None:
    with appliance_process(tmp_path) as device:
        device.wait_line("is live")
        workers = device.children()
        assert workers
        os.kill(device.pid, signal.SIGKILL)
        eventually(lambda: not any(map(is_alive, workers)))
        device.stop = lambda: 0  # type: ignore[method-assign]


def test_reload_of_a_faulty_file_changes_nothing_and_says_why(tmp_path: Path) -> None:
    with appliance_process(tmp_path) as device:
        device.wait_line("is live")
        workers = device.children()
        (tmp_path / "porthole.toml").write_text(SMALL_PATTERN + '\n[hls]\nsegmet = "1s"\n')
        os.kill(device.pid, signal.SIGHUP)
        device.wait_line("configuration is not used")
        (tmp_path / "porthole.toml").write_text(SMALL_PATTERN.replace("8s", "9s"))
        os.kill(device.pid, signal.SIGHUP)
        device.wait_line(r"reloaded")
        assert device.children() == workers
        assert b"#EXTINF" in get(device.url + "live/camera.hls/fmp4.m3u8")


@pytest.mark.parametrize("taken", ["http", "rtmp", "rtsp"])
def test_taken_port_is_told_in_a_sentence_with_its_exit_code(taken: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        command = [sys.executable, "-m", "appliance", "run"]
        for pair in (
            "http.listen=127.0.0.1:0",
            "rtmp.listen=127.0.0.1:0",
            "rtsp.listen=127.0.0.1:0",
            f"{taken}.listen=127.0.0.1:{port}",
            f"device.state={tmp_path}",
        ):
            command += ["--set", pair]
        result = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
    assert result.returncode == os.EX_UNAVAILABLE
    assert str(port) in result.stderr
    assert "Traceback" not in result.stderr
    assert "worker starts" not in result.stderr


def test_full_descriptor_table_is_told_quietly_and_recovered_from(tmp_path: Path) -> None:
    with appliance_process(tmp_path) as device:
        device.wait_line("is live")
        used = len(os.listdir(f"/proc/{device.pid}/fd"))  # noqa: PTH208
        before = resource.prlimit(device.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(device.pid, resource.RLIMIT_NOFILE, (used + 4, before[1]))
        lines_before = len(device.lines)
        held = [socket.create_connection(("127.0.0.1", device.port)) for _ in range(40)]
        time.sleep(3)  # the time over which the log must stay quiet is what is tested
        assert len(device.lines) - lines_before <= 12
        resource.prlimit(device.pid, resource.RLIMIT_NOFILE, before)
        for sock in held:
            sock.close()
        eventually(lambda: b"#EXTINF" in get(device.url + "live/camera.hls/fmp4.m3u8"))
        assert "Traceback" not in device.log


def test_names_that_are_none_make_nothing(tmp_path: Path) -> None:
    with appliance_process(tmp_path) as device:
        device.wait_line("is live")
        for number in range(300):
            try:
                get(device.url + f"live/nobody{number}.m3u8")
            except urllib.error.HTTPError as error:
                assert error.code == 404
        streams = json.loads(get(device.url + "web/streams.json"))["streams"]
        assert [stream["name"] for stream in streams] == ["live/camera"]


async def test_app_holds_as_many_sessions_and_streams_as_configured() -> None:
    app = App(Config(DeviceSettings(max_sessions=2000, max_streams=300)), Access())
    assert app.context.sessions.max_sessions == 2000
    assert app.context.hub.limits.max_streams == 300


def test_wrong_keys_are_counted_and_logged_without_the_key(tmp_path: Path) -> None:
    with appliance_process(tmp_path, "auth.play=key") as device:
        for _ in range(3):
            try:
                get(device.url + "live/camera.m3u8?key=not-the-right-one")
            except urllib.error.HTTPError as error:
                assert error.code in {401, 403}
        device.wait_line("auth: wrong key: 127.0.0.1")
        metrics = get(device.url + "metrics").decode()
        assert 'porthole_rejects_total{proto="auth",reason="wrong key"} 3' in metrics
        assert "not-the-right-one" not in device.log


def test_service_manager_is_told_of_everything_that_matters_to_it(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(30)
        environ = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "300000"}
        with appliance_process(tmp_path, environ=environ) as device:
            told: list[str] = []

            def wait(text: str) -> None:
                while not any(text in message for message in told):
                    told.append(manager.recv(4096).decode())

            wait("READY=1")  # not before it serves
            assert b"#EXTINF" in get(device.url + "live/camera.hls/fmp4.m3u8")
            told.clear()
            wait("WATCHDOG=1")
            wait("STATUS=1 of 1 streams live")
            (worker,) = device.children()
            assert b"NOTIFY_SOCKET" not in Path(f"/proc/{worker}/environ").read_bytes()
            told.clear()
            os.kill(device.pid, signal.SIGHUP)
            wait("RELOADING=1")
            wait("READY=1")
            os.kill(device.pid, signal.SIGTERM)
            wait("STOPPING=1")


RESOLVER_THAT_HANGS = """
import socket, sys, time
find = socket.getaddrinfo
def hang(host, *more, **named):
    if host == "hangs.example":
        print("asked for hangs.example", file=sys.stderr, flush=True)
        time.sleep(600)
    return find(host, *more, **named)
socket.getaddrinfo = hang
"""
A_SOURCE_BY_NAME = """
[[stream]]
name = "live/far"
source = "rtmp://hangs.example/live/far"
"""


def test_stop_does_not_wait_for_a_resolver_that_hangs(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(RESOLVER_THAT_HANGS)
    environ = {"PYTHONPATH": str(tmp_path)}
    with appliance_process(tmp_path, config=A_SOURCE_BY_NAME, environ=environ) as device:
        device.wait_line("asked for hangs.example")
        assert device.stop() == 0


@pytest.mark.parametrize(
    ("addresses", "url"),
    [
        ([("http", "127.0.0.1:8080")], "http://127.0.0.1:8080"),
        ([("http", "[::1]:8080")], "http://[::1]:8080"),
        ([("http", "[::]:8080")], "http://localhost:8080"),
        ([("http", "0.0.0.0:8080")], "http://localhost:8080"),
        ([("http", "192.168.1.5:8080"), ("https", "[::]:8443")], "https://localhost:8443"),
        ([("http", "192.168.1.5:8080")], None),
        ([], None),
    ],
)
def test_loopback_url_is_one_that_this_machine_reaches_over_loopback(
    addresses: list[tuple[str, str]], url: str | None
) -> None:
    assert loopback_url(addresses) == url
