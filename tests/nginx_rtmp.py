"""nginx with its RTMP module, as a server that is not ours."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen
from xml.etree import ElementTree

from framehash import make_clip

DEADLINE_S = 20.0
CONFIG = """
daemon off; master_process off; worker_processes 1;
pid {folder}/nginx.pid; error_log {folder}/error.log;
load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
events {{ worker_connections 128; }}
rtmp {{ server {{
  listen 127.0.0.1:{rtmp}; access_log off;
  application live {{ live on; wait_key on; idle_streams off; drop_idle_publisher 10s; }}
  {applications}
}} }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{http}; location /stat {{ rtmp_stat all; }} }}
}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def wait_for_port(port: int) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not _listens(port):
        assert time.monotonic() < deadline_s, f"nobody listens on {port}"
        time.sleep(0.02)


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


class Nginx:
    """Started and killed at will, always on the same ports, with a clip that ffmpeg publishes.

    applications: of its configuration, beside "live".
    """

    def __init__(self, folder: Path, applications: str = "") -> None:
        folder.mkdir(exist_ok=True)
        self.rtmp_port, self.http_port = free_port(), free_port()
        self.origin = f"rtmp://127.0.0.1:{self.rtmp_port}/"
        self._folder = folder
        ports = {"rtmp": self.rtmp_port, "http": self.http_port}
        text = CONFIG.format(folder=folder, applications=applications, **ports)
        (folder / "nginx.conf").write_text(text)
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        folder = self._folder
        command = ("/usr/sbin/nginx", "-p", folder, "-c", folder / "nginx.conf")
        self._spawn(*command, "-e", folder / "error.log")
        wait_for_port(self.rtmp_port)

    def publish(
        self, name: str = "cam", kind: str = "h264-small+aac", application: str = "live"
    ) -> None:
        clip, url = make_clip(kind), f"{self.origin}{application}/{name}"
        loop = ("-re", "-stream_loop", "-1", "-i", clip, "-c", "copy", "-f", "flv", url)
        self._spawn("ffmpeg", "-v", "error", "-nostdin", *loop)

    def kill(self) -> None:
        """As if the machine were gone; nothing says goodbye."""
        while self._running:
            process = self._running.pop(0)
            process.kill()
            process.wait()

    def freeze(self) -> None:
        """As if its cable were pulled: its connections stay and say nothing."""
        for process in self._running:
            process.send_signal(signal.SIGSTOP)

    def clients(self, name: str = "cam") -> int:
        """Of this stream, its publisher included, as nginx counts them."""
        with urlopen(f"http://127.0.0.1:{self.http_port}/stat", timeout=5) as answer:
            tree = ElementTree.fromstring(answer.read())
        found = (one for one in tree.iter("stream") if one.findtext("name") == name)
        return sum(int(one.findtext("nclients") or 0) for one in found)

    def _spawn(self, *command: object) -> None:
        words = [str(word) for word in command]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._running.append(subprocess.Popen(words, **quiet))  # type: ignore[call-overload]


@contextmanager
def nginx(folder: Path, *names: str) -> Iterator[Nginx]:
    """Running, with these streams."""
    server = Nginx(folder)
    try:
        server.start()
        for name in names:
            server.publish(name)
        yield server
    finally:
        server.kill()
