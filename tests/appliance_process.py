"""The appliance as its users start it: a process of its own, on a port of its own, until the end.

with appliance_process(tmp_path) as device:
    urlopen(device.url + "live/camera.m3u8")
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
START_DEADLINE_S = 60
STOP_DEADLINE_S = 15

SMALL_PATTERN = """
[hls]
segment = "1s"
window = "8s"
[[stream]]
name = "live/camera"
source = "pattern:"
[stream.video]
width = 640
height = 360
fps = 15
bitrate = "400k"
keyframe = "1s"
"""


class ApplianceProcess:
    """Started by the constructor; `url` is where it listens. Use `appliance_process` in tests.

    port: 0 lets the system choose; a test that starts the appliance anew where it was gives it.
    overrides: as of ``--set``. package_root: of the appliance that is started. environ: variables
    of its own, besides ours.
    """

    def __init__(
        self,
        folder: Path,
        *overrides: str,
        config: str = SMALL_PATTERN,
        port: int = 0,
        package_root: Path = ROOT,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        file = folder / "porthole.toml"
        file.write_text(config)
        command = [sys.executable, "-m", "appliance", "run", "-c", str(file)]
        for pair in (
            f'http.listen=["127.0.0.1:{port}"]',
            'rtmp.listen=["127.0.0.1:0"]',
            'rtsp.listen=["127.0.0.1:0"]',
            f'device.state="{folder / "state"}"',
            *overrides,
        ):
            command += ["--set", pair]
        self.lines: list[str] = []  # of its log so far
        self._told = threading.Condition()
        self._process = subprocess.Popen(
            command,
            cwd=package_root,
            env=_clean_environment() | dict(environ or {}),
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.url = self.wait_line(r"listening on (http://\S+/)", START_DEADLINE_S)[1]
        except BaseException:
            self.kill()
            raise
        self.port = int(self.url.rstrip("/").rpartition(":")[2])

    @property
    def rtmp_port(self) -> int:
        return int(self.wait_line(r"listening on rtmp://\S+:(\d+)/")[1])

    @property
    def rtsp_port(self) -> int:
        return int(self.wait_line(r"listening on rtsp://\S+:(\d+)/")[1])

    @property
    def owner_key(self) -> str:
        """Shown at the first start with this state."""
        return self.wait_line(r"^ +([\w-]{22})$")[1]

    @property
    def pid(self) -> int:
        return self._process.pid

    def children(self) -> list[int]:
        """The pids of its worker processes."""
        found = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in found.split()]

    def wait_line(self, pattern: str, timeout_s: float = 30, *, since: int = 0) -> re.Match[str]:
        """The first log line, past or to come, in which the pattern is found.

        since: how many lines to leave out; `len(process.lines)` means only those to come.
        """
        deadline_s = time.monotonic() + timeout_s
        seen = since
        with self._told:
            while True:
                for line in self.lines[seen:]:
                    if match := re.search(pattern, line):
                        return match
                seen = len(self.lines)
                left_s = deadline_s - time.monotonic()
                if left_s <= 0 or not self._reader.is_alive():
                    raise AssertionError(f"no log line matches {pattern!r}:\n{self.log}")
                self._told.wait(min(left_s, 1))

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def stop(self) -> int:
        """SIGTERM, as systemd does; the exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(STOP_DEADLINE_S)

    def kill(self) -> None:
        """The end without a goodbye; does nothing to what has ended."""
        self._process.kill()
        self._process.wait()
        self._reader.join(STOP_DEADLINE_S)

    def _read(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None
        with stderr:
            for line in stderr:
                with self._told:
                    self.lines.append(line)
                    self._told.notify_all()
        with self._told:
            self._told.notify_all()


@contextmanager
def appliance_process(
    folder: Path,
    *overrides: str,
    config: str = SMALL_PATTERN,
    port: int = 0,
    package_root: Path = ROOT,
    environ: Mapping[str, str] | None = None,
) -> Iterator[ApplianceProcess]:
    """Runs while the block does; whatever happens in it, nothing is left running."""
    process = ApplianceProcess(
        folder, *overrides, config=config, port=port, package_root=package_root, environ=environ
    )
    try:
        yield process
        process.stop()
    finally:
        process.kill()


def _clean_environment() -> dict[str, str]:
    """Ours without what would configure the appliance or tell it that systemd runs it."""
    ours = ("PORTHOLE_", "STATE_DIRECTORY", "JOURNAL_STREAM", "NOTIFY_SOCKET", "WATCHDOG_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}
