"""`porthole probe` against real files and servers, through its child process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance import cli
from appliance.probe import ProbeFailed, Progress, measure, source_of


def ffmpeg(*arguments: str) -> None:
    command = ["ffmpeg", "-v", "error", "-y", *arguments]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds, a keyframe each second, B-frames, stereo."""
    path = tmp_path_factory.mktemp("probe") / "clip s3cret.mp4"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc=size=320x180:rate=25", "-f", "lavfi", "-i", "sine=r=48000",
        "-t", "6", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-bf", "2",
        "-g", "25", "-b:v", "200k", "-c:a", "aac", "-ac", "2", str(path),
    )  # fmt: skip
    return path


def probe_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert cli.main(["probe", "--json", *arguments]) == 0
    document: dict[str, object] = json.loads(capsys.readouterr().out)
    return document


def test_probe_of_a_file_finds_what_ffmpeg_put_in(
    clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = measure(source_of(str(clip)), 6, Progress())
    video, audio = report["tracks"]
    assert report["format"].startswith("mov") and not report["live"]
    assert report["duration_s"] == pytest.approx(6, abs=0.1)
    assert (video["codec"], video["width"], video["height"]) == ("h264", 320, 180)
    assert video["packet_rate_hz"] == pytest.approx(25, abs=0.01)
    assert video["keyframes"] == 6 and video["keyframe_interval_s"]["mean"] == 1.0
    assert video["reordered"] > 0 and video["regressions"] == 0 and video["gaps"] == 0
    assert (audio["codec"], audio["profile"]) == ("aac", "LC")
    assert (audio["sample_rate_hz"], audio["channels"]) == (48_000, 2)
    assert abs(report["sync"]["audio_starts_after_video_ms"]) < 50
    size_bps = clip.stat().st_size * 8 / 6
    assert report["bitrate_bps"] == pytest.approx(size_bps, rel=0.1)
    assert cli.main(["probe", str(clip)]) == 0
    table = capsys.readouterr().out
    for text in ("h264", "320x180", "25.00 fps", "1.00 s", "48000 Hz, 2 channels", "nothing wrong"):
        assert text in table


def test_probe_takes_paths_and_urls_of_files(clip: Path, tmp_path: Path) -> None:
    for target in (str(clip), f"file:{clip}", f"file://{clip}", f"av:file:{clip}"):
        assert source_of(target) == f"file://{clip}"
    assert source_of("av:http://h/x") == "http://h/x"
    for target in ("nothing.mp4", "", "file:", "file:///none", "x:y"):
        with pytest.raises(ProbeFailed):
            source_of(target)


@contextmanager
def http_server(data: bytes, head: bytes, *, ends: bool = True) -> Iterator[int]:
    """Answers every request with these bytes, paced where the body is endless."""
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                peer.recv(4096)
                length = b"" if not ends else b"Content-Length: %d\r\n" % len(data)
                try:
                    peer.sendall(head + length + b"\r\n" + data)
                    if not ends:
                        peer.recv(1)
                except OSError:
                    continue

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            stop.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


OK_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nConnection: close\r\n"


def test_probe_of_a_live_server_measures_its_clock(
    clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A transport stream sent in real time by ffmpeg, to a listener that takes one client."""
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        port = chosen.getsockname()[1]
    sender = subprocess.Popen(
        ["ffmpeg", "-v", "quiet", "-re", "-stream_loop", "-1", "-i", str(clip), "-c", "copy",
         "-f", "mpegts", "-listen", "1", f"http://127.0.0.1:{port}/x.ts"],
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _wait_listening(port)
        url = f"http://user:s3cret@127.0.0.1:{port}/x.ts?token=t0ken"
        assert cli.main(["probe", url, "--json", "--seconds", "2.5"]) == 0
    finally:
        sender.kill()
        sender.wait()
    out = capsys.readouterr().out
    assert "s3cret" not in out and "t0ken" not in out
    report = json.loads(out)
    assert report["url"] == f"http://user:***@127.0.0.1:{port}/x.ts?token=***"
    assert report["live"] and report["format"] == "mpegts"
    assert report["media_s"] > 1
    video = next(track for track in report["tracks"] if track["kind"] == "video")
    assert video["jitter_ms"] is not None and video["regressions"] == 0
    assert video["packet_rate_hz"] == pytest.approx(25, abs=1)


def _wait_listening(port: int) -> None:
    """Without connecting: this listener takes one client."""
    wanted = f":{port:04X} "
    while not any(
        wanted in line and " 0A " in line for line in Path("/proc/net/tcp").read_text().splitlines()
    ):
        os.sched_yield()


def test_probe_finds_a_gap_and_a_clock_that_runs_backwards(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = []
    for number, (begin, offset) in enumerate(((0, 10), (2, 30), (4, 15))):
        part = tmp_path / f"{number}.ts"
        ffmpeg(
            "-ss", str(begin), "-t", "2", "-i", str(clip), "-an", "-c", "copy",
            "-output_ts_offset", str(offset), str(part),
        )  # fmt: skip
        parts.append(part.read_bytes())
    whole = tmp_path / "whole.ts"
    whole.write_bytes(b"".join(parts))
    assert cli.main(["probe", str(whole)]) == 0
    out = capsys.readouterr().out
    assert "media is missing" in out and "runs backwards" in out


@pytest.mark.parametrize(
    ("url", "code", "text"),
    [
        ("rtsp://u:s3cret@127.0.0.1:x/", os.EX_USAGE, "malformed"),
        ("http://host.invalid/x", os.EX_NOHOST, "cannot resolve host.invalid"),
        ("http://127.0.0.1:x/", os.EX_USAGE, "malformed"),
        ("http:///x", os.EX_USAGE, "no host"),
        ("gopher://127.0.0.1/", os.EX_USAGE, "URLs begin with one of"),
        ("concat://etc", os.EX_USAGE, "URLs begin with one of"),
    ],
)
def test_probe_says_why_nothing_could_be_measured(
    url: str, code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["probe", url]) == code
    captured = capsys.readouterr()
    assert text in captured.err and captured.out == "" and "s3cret" not in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("head", "data", "code", "text"),
    [
        (b"HTTP/1.1 404 Not Found\r\n", b"", os.EX_UNAVAILABLE, "(404)"),
        (b"HTTP/1.1 401 No\r\n", b"", os.EX_NOPERM, "user and password"),
        (b"HTTP/1.1 403 No\r\n", b"", os.EX_NOPERM, "user and password"),
        (OK_HEAD, b"<html>hello</html>" * 100, os.EX_DATAERR, "no form that libav knows"),
        (OK_HEAD, b"", os.EX_DATAERR, "no form that libav knows"),
        (OK_HEAD, b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", os.EX_DATAERR, ""),
    ],
)
def test_probe_of_a_server_that_answers_otherwise(
    head: bytes, data: bytes, code: int, text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with http_server(data, head) as port:
        assert cli.main(["probe", f"http://127.0.0.1:{port}/x"]) == code
    captured = capfd.readouterr()
    assert text in captured.err and "root:" not in captured.out + captured.err


def test_probe_of_garbage_and_of_a_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    garbage = tmp_path / "garbage.mp4"
    garbage.write_bytes(bytes(range(256)) * 400)
    assert cli.main(["probe", str(garbage)]) == os.EX_DATAERR
    assert cli.main(["probe", str(tmp_path)]) in {os.EX_NOINPUT, os.EX_DATAERR}
    assert capsys.readouterr().err.count("\n") == 2


def test_probe_of_a_silent_server_ends_in_time(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from appliance.capture import probe

    monkeypatch.setattr(probe, "OPEN_S", 0.5)
    monkeypatch.setattr(probe, "READ_S", 0.5)
    with (
        http_server(b"", OK_HEAD, ends=False) as port,
        pytest.raises(probe.ProbeError) as caught,
    ):
        probe.probe(f"http://127.0.0.1:{port}/x", 1.0, lambda **_: None)
    assert caught.value.kind == "timeout"


@pytest.mark.parametrize(
    "script",
    ["print('x')", "print('[]')", "print('{\"error\": 1}')", "print('9' * 500000)",
     "print('[' * 99999)", "raise SystemExit(3)", "import os; os.kill(os.getpid(), 9)"],
)  # fmt: skip
def test_probe_survives_whatever_its_child_does(
    script: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The child parses hostile media; what it says is taken with the same distrust."""
    program = tmp_path / "child"
    program.write_text(f"#!/usr/bin/env python3\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr("appliance.probe.sys.executable", str(program))
    with pytest.raises(ProbeFailed) as caught:
        measure("http://h/", 0.1, Progress())
    assert caught.value.exit_code == os.EX_SOFTWARE


def test_probe_ends_a_child_that_hangs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "child"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr("appliance.probe.sys.executable", str(program))
    monkeypatch.setattr("appliance.probe.GRACE_S", 0.3)
    with pytest.raises(ProbeFailed, match="hung"):
        measure("http://h/", 0.1, Progress())
