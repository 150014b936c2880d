"""The files of docs/scale-out.md at work, with nothing changed but ports and places."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urljoin
from urllib.request import urlopen

import pytest
from appliance_process import appliance_process
from framehash import make_clip
from nginx_rtmp import free_port, wait_for_port

CONF = Path(__file__).parent.parent / "conf"


@contextmanager
def nginx_with(folder: Path, file: str, port: int, *changes: tuple[str, str]) -> Iterator[None]:
    text = (CONF / file).read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    folder.mkdir()
    (folder / "nginx.conf").write_text(text)
    here = f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;"
    process = subprocess.Popen(
        ["/usr/sbin/nginx", "-c", str(folder / "nginx.conf"), "-g", here],
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_port(port)
        yield
    finally:
        process.kill()
        process.wait()


def test_scale_out_edge_of_the_nginx_origin_serves_what_is_there_and_refuses_the_rest(
    tmp_path: Path,
) -> None:
    port = free_port()
    with nginx_with(tmp_path / "o", "nginx-origin.conf", port, ("listen 1935", f"listen {port}")):
        config = (CONF / "edge.toml").read_text()
        config = config.replace("origin-1.example", f"127.0.0.1:{free_port()}")
        config = config.replace("origin-2.example", f"127.0.0.1:{port}")
        clip = make_clip("h264-small+aac")
        loop = ("-re", "-stream_loop", "-1", "-i", clip, "-c", "copy", "-f", "flv")
        url = f"rtmp://127.0.0.1:{port}/live/cam"
        with appliance_process(tmp_path, config=config) as edge:
            with pytest.raises(HTTPError, match="404"):
                urlopen(f"{edge.url}live/none.m3u8", timeout=30)
            command = ["ffmpeg", "-v", "error", "-nostdin", *map(str, loop), url]
            publisher = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            try:
                begin = b""
                while not begin:  # refused while it is not there, as players know it
                    with urlopen(f"{edge.url}live/cam.flv", timeout=30) as answer:
                        begin = answer.read(5000)
                assert begin[:3] == b"FLV"
                assert len(begin) == 5000
            finally:
                publisher.kill()
                publisher.wait()


def test_scale_out_cache_asks_the_device_once_for_a_segment(tmp_path: Path) -> None:
    port = free_port()
    with appliance_process(tmp_path, "hls.public=true") as device:
        changes = (
            ("listen 8088", f"listen 127.0.0.1:{port}"),
            ("127.0.0.1:8080", f"127.0.0.1:{device.port}"),
            ("/var/cache/nginx/hls", str(tmp_path / "cache")),
        )
        with nginx_with(tmp_path / "cdn", "nginx-cdn.conf", port, *changes):
            address = f"http://127.0.0.1:{port}/live/camera.m3u8"
            for _ in range(2):  # the playlist of playlists, then that of segments
                with urlopen(address, timeout=30) as answer:
                    names = [
                        line for line in answer.read().decode().splitlines() if line[:1] != "#"
                    ]
                address = urljoin(address, names[-1])
            found = []
            for _ in range(2):
                with urlopen(address, timeout=30) as answer:
                    found.append((answer.headers["X-Cache-Status"], answer.read()))
    assert [status for status, _ in found] == ["MISS", "HIT"]
    assert found[0][1] == found[1][1] != b""
