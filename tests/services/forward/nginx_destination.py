"""nginx with its RTMP module (Debian's libnginx-mod-rtmp) as a destination."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

CONF = """
load_module modules/ngx_rtmp_module.so;
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log info;
events {{ worker_connections 64; }}
rtmp {{ server {{ listen 127.0.0.1:{port}; chunk_size 4096; application live {{
  live on; wait_key on; wait_video on; publish_notify on; {more}
}} }} }}
"""


@dataclass
class Nginx:
    """Stopped by SIGKILL, as a crash does, and started again on the same port."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def url(self, name: str = "cam") -> str:
        return f"rtmp://127.0.0.1:{self.port}/live/{name}"

    async def start(self) -> None:
        command = ["nginx", "-c", str(self.folder / "nginx.conf")]
        with (self.folder / "stderr.log").open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log)  # noqa: ASYNC220 - a moment
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            assert self.process.poll() is None, (self.folder / "stderr.log").read_text()
            await asyncio.sleep(0.02)

    async def until_told(self, words: str) -> None:
        """Until its log has them."""
        while words not in (self.folder / "error.log").read_text():  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.02)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@asynccontextmanager
async def nginx_destination(folder: Path, more: str = "") -> AsyncIterator[Nginx]:
    port = free_port()
    (folder / "nginx.conf").write_text(CONF.format(folder=folder, port=port, more=more))
    server = Nginx(folder, port)
    await server.start()
    try:
        yield server
    finally:
        server.kill()
