"""Memory and CPU of the server with one 720p30 2 Mbps stream: idle, then with 20 HLS viewers.

Peer: nginx with its RTMP module (Debian's libnginx-mod-rtmp), fed the same kind of stream by
ffmpeg, writing HLS to a tmpfs and serving 20 such viewers. Server and worker are told apart.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
import threading
import time
import urllib.parse
from http.client import HTTPConnection
from pathlib import Path

from measure import (
    LOAD_CORE,
    children,
    cpu_s,
    memory,
    memory_files_mb,
    porthole,
    process,
    wait_for,
)

VIEWERS = 20


def media_playlist_url(url: str) -> str:
    """The media playlist of `url`, which may be multivariant."""
    body = wait_for(url).decode()
    if "#EXT-X-STREAM-INF" not in body:
        return url
    return urllib.parse.urljoin(url, re.findall(r"^[^#\s].*$", body, re.MULTILINE)[0])


class Viewer(threading.Thread):
    """Polls a media playlist on one keep-alive connection and fetches each new segment once."""

    def __init__(self, url: str, until: threading.Event) -> None:
        super().__init__(daemon=True)
        self.url = urllib.parse.urlsplit(url)
        self.until = until
        self.received_bytes = 0
        self.segments = 0

    def get(self, connection: HTTPConnection, target: str) -> bytes:
        connection.request("GET", target)
        reply = connection.getresponse()
        body = reply.read()
        if reply.status != 200:
            raise SystemExit(f"{target} answered {reply.status}")
        self.received_bytes += len(body)
        return body

    def run(self) -> None:
        connection = HTTPConnection(self.url.netloc, timeout=30)
        seen: set[str] = set()
        while not self.until.is_set():
            playlist = self.get(connection, self.url.path).decode()
            for name in re.findall(r"^[^#\s].*$", playlist, re.MULTILINE):
                if name not in seen:
                    seen.add(name)
                    self.get(connection, urllib.parse.urljoin(self.url.path, name))
                    self.segments += 1
            self.until.wait(1.0)
        connection.close()


def watch(url: str, seconds: float, pid: int) -> tuple[float, int]:
    """CPU share of `pid` while VIEWERS watch, and how many segments they got."""
    until = threading.Event()
    viewers = [Viewer(media_playlist_url(url), until) for _ in range(VIEWERS)]
    for viewer in viewers:
        viewer.start()
    time.sleep(5)  # the first fetches of the whole window are not what is measured
    share = cpu_share(pid, seconds)
    until.set()
    for viewer in viewers:
        viewer.join(30)
    return share, sum(viewer.segments for viewer in viewers)


def cpu_share(pid: int, seconds: float) -> float:
    """Percent of one core over the next `seconds`."""
    began, used = time.monotonic(), cpu_s(pid)
    time.sleep(seconds)
    return (cpu_s(pid) - used) / (time.monotonic() - began) * 100


def make_clip(folder: str) -> Path:
    """720p30 H.264 at a steady 2 Mbps with AAC: noise keeps the encoder at its rate."""
    clip = Path(folder) / "clip.mp4"
    command = (
        "ffmpeg -v error -f lavfi -i testsrc2=s=1280x720:r=30,noise=alls=12:allf=t"
        " -f lavfi -i sine=r=48000 -t 20 -c:v libx264 -preset veryfast -tune zerolatency -g 60"
        " -keyint_min 60 -sc_threshold 0 -b:v 2M -minrate 2M -maxrate 2M -bufsize 1M"
        f" -x264-params nal-hrd=cbr -c:a aac -b:a 64k {clip}"
    )
    subprocess.run(command.split(), check=True)
    return clip


def ours(clip: Path, seconds: float) -> dict[str, float]:
    with porthole(f"stream.0.source=file:{clip}") as (pid, base):
        time.sleep(14)  # the unit ring is full
        idle = cpu_share(pid, seconds)
        at_rest = memory(pid)
        watched, segments = watch(f"{base}/live/camera.m3u8", seconds, pid)
        busy = memory(pid)
        print(f"porthole server   idle {idle:.2f} % of a core, {at_rest.rss_mb:.1f} MB RSS")
        print(
            f"porthole server   {VIEWERS} viewers {watched:.2f} % of a core,"
            f" {busy.rss_mb:.1f} MB RSS, {busy.anonymous_mb:.1f} MB anonymous,"
            f" {memory_files_mb(pid):.1f} MB in memory files, {segments} segments fetched"
        )
    return {"idle": idle, "busy": watched, "rss": busy.rss_mb}


def encoding(seconds: float) -> None:
    """The worker that draws and encodes the test pattern."""
    with porthole("stream.0.source=pattern:") as (pid, base):
        wait_for(f"{base}/live/camera.m3u8")
        time.sleep(5)
        (worker,) = children(pid)
        used = memory(worker)
        print(
            f"porthole worker   720p30 pattern, x264 and AAC: {cpu_share(worker, seconds):.1f} %"
            f" of a core, {used.rss_mb:.1f} MB RSS, {used.anonymous_mb:.1f} MB anonymous"
        )


NGINX = """
load_module modules/ngx_rtmp_module.so;
daemon off; master_process off; pid {dir}/pid; error_log stderr crit;
events {{ worker_connections 256; }}
rtmp {{ server {{ listen 127.0.0.1:{rtmp}; application live {{
  live on; hls on; hls_path {dir}; hls_fragment 2s; hls_playlist_length 20s; }} }} }}
http {{ access_log off; types {{ application/vnd.apple.mpegurl m3u8; video/mp2t ts; }}
  server {{ listen 127.0.0.1:{http}; root {dir}; }} }}
"""


def theirs(clip: Path, seconds: float) -> dict[str, float]:
    http, rtmp = 18480, 18435
    folder = clip.parent
    conf = folder / "nginx.conf"
    conf.write_text(NGINX.format(dir=folder, http=http, rtmp=rtmp))
    feed = (
        f"ffmpeg -v error -re -stream_loop -1 -i {clip} -c copy"
        f" -f flv rtmp://127.0.0.1:{rtmp}/live/camera"
    ).split()
    with (
        process("nginx", "-c", str(conf), stderr=subprocess.DEVNULL) as nginx,
        process(*feed, core=LOAD_CORE, stderr=subprocess.DEVNULL),
    ):
        wait_for(f"http://127.0.0.1:{http}/camera.m3u8")
        time.sleep(14)
        idle = cpu_share(nginx.pid, seconds)
        watched, segments = watch(f"http://127.0.0.1:{http}/camera.m3u8", seconds, nginx.pid)
        used = memory(nginx.pid)
        print(
            f"nginx-rtmp        idle {idle:.2f} %, {VIEWERS} viewers {watched:.2f} % of a core,"
            f" {used.rss_mb:.1f} MB RSS, {segments} segments fetched"
        )
    return {"idle": idle, "busy": watched, "rss": used.rss_mb}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="length of each measurement")
    seconds = parser.parse_args().seconds
    encoding(seconds)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        clip = make_clip(folder)
        us, peer = ours(clip, seconds), theirs(clip, seconds)
    print(
        f"ratio to nginx-rtmp: idle CPU {us['idle'] / peer['idle']:.2f}, with {VIEWERS} viewers"
        f" {us['busy'] / peer['busy']:.2f}, RSS {us['rss'] / peer['rss']:.2f}"
    )


if __name__ == "__main__":
    main()
