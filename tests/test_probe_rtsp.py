"""`porthole probe rtsp://…` against cameras, good and bad."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from camera_login import Login
from fault_camera import FaultCamera, fault_camera

from appliance import cli
from appliance.net.tls import server_context

SECONDS = "1.5"


@dataclass
class Said:
    code: int
    out: str
    err: str


async def probe(capsys: pytest.CaptureFixture[str], *words: str) -> Said:
    """The whole command, beside the camera's loop."""
    code = await asyncio.to_thread(cli.main, ["probe", "--seconds", SECONDS, *words])
    captured = capsys.readouterr()
    return Said(code, captured.out, captured.err)


async def test_probe_explains_a_camera(capsys: pytest.CaptureFixture[str]) -> None:
    """Twice as fast as it should: rates count by stamps, so that a burst adds nothing."""
    async with fault_camera(speed=2.0, login=Login()) as camera:
        url = camera.url(login="admin:s3cret@")
        said = await probe(capsys, "--json", url)
    document: dict[str, Any] = json.loads(said.out)
    assert said.code == 0 and document["url"] == camera.url()
    assert [one["way"] for one in document["ways"]] == ["tcp", "udp"]
    assert all(one["fault"] == "" and one["first_ms"] > 0 for one in document["ways"])
    video, audio = document["ways"][0]["tracks"]
    assert video["codec"].startswith("h264 ")
    assert video["rate_hz"] == pytest.approx(30, rel=0.02)
    assert audio["rate_hz"] == pytest.approx(audio["clock_rate_hz"] / 1024, rel=0.02)
    assert video["keys"] >= 2 and video["key_interval_s"] > 0
    assert video["packets"] >= video["units"] and not video["lost_packets"]
    assert "s3cret" not in said.out + said.err


async def test_probe_tells_which_transports_work(capsys: pytest.CaptureFixture[str]) -> None:
    async with fault_camera(refuses={"UDP": "461 Unsupported Transport"}) as camera:
        said = await probe(capsys, camera.url())
    assert said.code == 0
    assert "by udp: SETUP: 461 Unsupported Transport\n" in said.out
    assert said.out.endswith("transports that work: tcp\n")


@dataclass(frozen=True)
class Fault:
    code: int
    words: str
    login: str = ""
    path: str = "/live/main"
    most_asked: int = 1


FAULTS: list[tuple[dict[str, Any], Fault]] = [
    ({"login": Login()}, Fault(os.EX_NOPERM, "it wants a user and password (")),
    ({"login": Login()}, Fault(os.EX_NOPERM, "wrong user or password (", "admin:nope@")),
    ({"answers": {"DESCRIBE": "403 No"}}, Fault(os.EX_NOPERM, "locked out for now")),
    ({"answers": {"DESCRIBE": "404 No"}}, Fault(os.EX_UNAVAILABLE, "the path is that of another")),
    ({"answers": {"SETUP": "503 No"}}, Fault(os.EX_UNAVAILABLE, "SETUP: 503", most_asked=3)),
    ({"edit_sdp": lambda _: b"<html>"}, Fault(os.EX_DATAERR, "", most_asked=3)),
    ({"rounds": 0}, Fault(os.EX_UNAVAILABLE, "does a firewall let it", most_asked=3)),
]


@pytest.mark.parametrize(("switches", "fault"), FAULTS)
async def test_probe_says_in_a_line_why_there_is_nothing_and_what_to_do(
    switches: dict[str, Any], fault: Fault, capsys: pytest.CaptureFixture[str]
) -> None:
    async with fault_camera(**switches) as camera:
        said = await probe(capsys, camera.url(login=fault.login))
    assert (said.code, said.out) == (fault.code, "")
    assert said.err.count("\n") == 1 and fault.words in said.err and "nope" not in said.err
    assert camera.methods().count("DESCRIBE") <= 2 * fault.most_asked
    assert len(camera.shown) <= 1  # a wrong password is shown once


async def test_probe_of_a_web_server_says_that_it_is_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 400 Bad Request\r\nContent-Length: 4\r\n\r\n400\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        said = await probe(capsys, f"rtsp://127.0.0.1:{port}/x")
    assert said.code == os.EX_DATAERR and "is no RTSP (is it the right port?)" in said.err


@pytest.mark.parametrize(
    ("url", "code", "words"),
    [
        ("rtsp://u:s3cret@host.invalid/x", os.EX_NOHOST, "cannot resolve host.invalid: "),
        ("rtsps://u:s3cret@a..b/x", os.EX_NOHOST, "cannot resolve a..b: "),
        ("rtsp://u:s3cret@127.0.0.1:1/x", os.EX_UNAVAILABLE, "connection refused; is it on"),
        ("rtsp://u:s3cret@127.0.0.1:x/", os.EX_USAGE, "malformed"),
    ],
)
async def test_probe_of_nobody(
    url: str, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = await probe(capsys, url)
    assert said.code == code and words in said.err and "s3cret" not in said.err


def make_certificate(folder: Path) -> ssl.SSLContext:
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    words = [*command.split(), "-subj", "/CN=cam", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(words, check=True, capture_output=True)
    return server_context(str(cert), str(key))


async def test_probe_by_tls_tells_the_certificate_to_trust(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # handshakes that are left
    async with fault_camera(tls=make_certificate(tmp_path)) as camera:
        said = await probe(capsys, camera.url())
    assert said.code == 0
    assert 'tls_fingerprint = "sha256:' in said.out
    assert said.out.endswith("transports that work: tcp\n")


async def test_probe_of_tls_where_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"RTSP/1.0 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        said = await probe(capsys, f"rtsps://127.0.0.1:{port}/x")
    assert said.code == os.EX_UNAVAILABLE and "no TLS is spoken there" in said.err


async def test_probe_shows_how_far_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    async with fault_camera() as camera:
        assert isinstance(camera, FaultCamera)
        said = await probe(capsys, camera.url())
    assert said.err.count("measuring") > 2 and "packets" in said.err
    assert said.err.endswith("\x1b[K")
