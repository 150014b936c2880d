"""`av:` against servers of the test's own: what is let in, what is told, what is paced."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from worker_fixture import Worker, make_clip, run_to_end

from appliance.capture.commands import Commands
from appliance.capture.fault import SourceFault
from appliance.capture.options import Options
from appliance.capture.sources import url
from appliance.media.track import Kind, Track
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.messages import Picture

CLIP = (
    "-f", "lavfi", "-i", "testsrc2=size=192x128:rate=25:duration=2",
    "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=2",
    "-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "25", "-c:a", "aac",
)  # fmt: skip


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def http_server(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Collector:
    """A sink in this process."""

    def __init__(self) -> None:
        self.tracks: list[tuple[Track, ...]] = []
        self.units: list[AccessUnit] = []

    def describe(self, tracks: tuple[Track, ...]) -> None:
        self.tracks.append(tracks)

    def write(self, unit: AccessUnit) -> None:
        self.units.append(unit)

    def drop(self, count: int) -> None:
        assert not count

    def state(self, document: dict[str, Any]) -> None:
        pass

    def answer(self, serial: int, error: str = "") -> None:
        pass

    def picture(self, picture: Picture) -> None:
        pass


@pytest.mark.parametrize(
    "rest",
    [
        "", "file:/etc/passwd", "file:///etc/passwd", "/etc/passwd", "concat:a|b", "pipe:0",
        "data:text/plain,x", "subfile,,start,0,end,0,,:/etc/passwd", "async:http://h/x",
        "crypto+file:/x", "unix:///run/x", "lavfi:testsrc", "http:/x", "HTTP:x", "gopher://h/x",
        "ffrtmphttp://h/x", "tee:x", "fd:0",
    ],
)  # fmt: skip
def test_url_that_is_no_network_address_is_refused(rest: str) -> None:
    with pytest.raises(SourceFault) as caught:
        url.create(rest, Options())
    assert caught.value.reason == "source-invalid"


def test_url_recording_over_http_plays_in_real_time_and_ends(tmp_path: Path) -> None:
    make_clip(tmp_path, "clip.mp4", *CLIP, "-movflags", "+faststart")
    with http_server(tmp_path) as base:
        sink = Collector()
        with pytest.raises(SourceFault) as caught:
            url.create(f"{base}/clip.mp4", Options()).run(sink, Commands())
    assert caught.value.reason == "source-lost"
    assert "has ended" in str(caught.value)
    video = [unit for unit in sink.units if unit.track.kind is Kind.VIDEO]
    assert len(video) == 50
    assert all(before.dts_us < after.dts_us for before, after in pairwise(video))
    assert 1_900_000 < video[-1].dts_us - video[0].dts_us < 2_000_000


def test_url_stream_that_comes_in_one_go_is_placed_in_the_past(tmp_path: Path) -> None:
    """A server that sends the last seconds at once must not delay everything by them."""
    make_clip(tmp_path, "clip.ts", *CLIP)
    with http_server(tmp_path) as base, Worker(f"av:{base}/clip.ts") as worker:
        worker.read_until(lambda w: w.fault is not None)
        video = worker.units(Kind.VIDEO)
        assert worker.fault is not None and worker.fault.reason == "source-lost"
    assert len(video) == 50
    newest_us = video[-1].dts_us
    assert time.monotonic_ns() // 1000 - newest_us < 2_000_000


def test_url_hls_is_paced(tmp_path: Path) -> None:
    make_clip(tmp_path, "list.m3u8", *CLIP, "-f", "hls", "-hls_time", "1", "-hls_list_size", "0")
    with http_server(tmp_path) as base, Worker(f"av:{base}/list.m3u8") as worker:
        units = worker.read_units(40)
    assert all(before.dts_us < after.dts_us for before, after in pairwise(units))


def test_url_playlist_that_names_local_files_gets_nothing(tmp_path: Path) -> None:
    secret = make_clip(tmp_path, "secret.ts", *CLIP)
    served = tmp_path / "served"
    served.mkdir()
    for name, lines in {
        "list.m3u8": [
            "#EXTM3U", "#EXT-X-TARGETDURATION:2", "#EXTINF:2,", f"file://{secret}",
            "#EXT-X-ENDLIST",
        ],
        "list.ffconcat": ["ffconcat version 1.0", f"file file:{secret}"],
    }.items():  # fmt: skip
        (served / name).write_text("\n".join(lines) + "\n")
        with http_server(served) as base, Worker(f"av:{base}/{name}") as worker:
            fault = worker.read_end()
            assert not worker.units(Kind.VIDEO)
        assert fault is not None
        assert fault.reason in {"cannot-open", "unsupported", "source-lost"}


def test_url_fault_does_not_tell_its_secrets(tmp_path: Path) -> None:
    with http_server(tmp_path) as base:
        host = base.removeprefix("http://")
        fault = run_to_end(f"av:http://user:secret@{host}/gone.ts?key=secret")
    assert fault.reason == "cannot-open"
    assert "secret" not in fault.text
    assert f"http://{host}/gone.ts cannot be opened" in fault.text
    assert "404" in fault.text or "Not Found" in fault.text


def test_url_of_a_closed_port_says_so() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    fault = run_to_end(f"av:rtsp://127.0.0.1:{port}/x")
    assert fault.reason == "cannot-open"
    assert "refused" in fault.text


def test_url_that_accepts_and_stays_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(url, "OPEN_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(SourceFault) as caught:
            url.create(f"http://127.0.0.1:{port}/x.ts", Options()).run(Collector(), Commands())
    assert caught.value.reason == "cannot-open"


def test_url_that_falls_silent_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(url, "READ_S", 0.5)
    data = make_clip(tmp_path, "clip.ts", *CLIP).read_bytes()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n" + data)
                done.wait(30)

        done = threading.Event()
        thread = threading.Thread(target=serve)
        thread.start()
        sink = Collector()
        try:
            with pytest.raises(SourceFault) as caught:
                source = url.create(f"http://127.0.0.1:{server.getsockname()[1]}/", Options())
                source.run(sink, Commands())
        finally:
            done.set()
            thread.join()
    assert caught.value.reason == "source-lost"
    assert sink.units


def test_url_live_stream_from_ffmpeg_is_on_time() -> None:
    """A live TCP source: stamps stay near the time of arrival."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = ["-f", "lavfi", "-re", "-i", "testsrc2=size=192x128:rate=25", "-c:v", "libx264"]
    arguments += ["-tune", "zerolatency", "-pix_fmt", "yuv420p", "-g", "25", "-f", "mpegts"]
    sender = subprocess.Popen(
        ["ffmpeg", "-v", "error", "-nostdin", *arguments, f"tcp://127.0.0.1:{port}?listen=1"]
    )
    try:
        for _ in range(100):
            with Worker(f"av:tcp://127.0.0.1:{port}") as worker:
                worker.read_until(lambda w: w.ended or len(w.units(Kind.VIDEO)) >= 100)
                if not worker.ended:
                    break
        units = worker.units(Kind.VIDEO)
        late_us = time.monotonic_ns() // 1000 - units[-1].dts_us
    finally:
        sender.kill()
        sender.wait()
    assert all(before.dts_us < after.dts_us for before, after in pairwise(units))
    assert late_us < 1_500_000
