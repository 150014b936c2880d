"""The servers that the RTMP benches compare, each on one core: porthole and nginx-rtmp."""

from __future__ import annotations

import contextlib
import resource
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from measure import children, porthole, process

MAX_CONNECTIONS = 4096
NGINX = """
load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
worker_rlimit_nofile 16384;
events {{ worker_connections {connections}; }}
rtmp {{ server {{ listen 127.0.0.1:{port}; chunk_size 4096; application live {{ live on; }} }} }}
"""
OURS = (
    "stream.live/camera.enabled=false", "auth.publish=lan", "auth.api=lan", "live.wait=30s",
    f"device.max_sessions={MAX_CONNECTIONS}", "device.max_streams=1024",
    f"rtmp.max_connections={MAX_CONNECTIONS}", f"live.viewers={MAX_CONNECTIONS}",
    f"http.max_connections={MAX_CONNECTIONS}",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Server:
    """pid: of the process that serves. url: of the API, if it has one."""

    name: str
    pid: int
    port: int
    url: str = ""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def allow_descriptors() -> None:
    """For this process and the servers and players that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 16384 if hard == resource.RLIM_INFINITY else min(hard, 16384)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


@contextlib.contextmanager
def nginx() -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        conf = Path(folder) / "nginx.conf"
        conf.write_text(NGINX.format(folder=folder, port=port, connections=MAX_CONNECTIONS))
        with process("nginx", "-p", folder, "-c", str(conf), stderr=subprocess.DEVNULL) as child:
            wait_port(port)
            yield Server("nginx-rtmp", children(child.pid)[0], port)


@contextlib.contextmanager
def ours() -> Iterator[Server]:
    port = free_port()
    with porthole(f"rtmp.listen=127.0.0.1:{port}", *OURS) as (pid, url):
        yield Server("porthole", pid, port, url)


def wait_port(port: int) -> None:
    end = time.monotonic() + 10
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        if time.monotonic() > end:
            raise SystemExit(f"nothing listens on port {port}")
        time.sleep(0.05)
