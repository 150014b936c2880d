"""FFmpeg and GStreamer show keys and passwords of our accounts, by Digest and within TLS."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from appliance_process import ApplianceProcess, appliance_process
from gstreamer_words import is_well

from appliance.hub.accounts import Account, Accounts, Action, Scrypt, digest_key, make_key
from appliance.hub.digest import make_ha1s
from appliance.wire.rtsp.credentials import ClientAuth

KEY = make_key()
CONFIG = """
[auth]
play = "key"
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
FFMPEG = ("ffmpeg", "-v", "error", "-nostdin", "-y")
TO_NOTHING = ("-map", "0", "-c", "copy", "-t", "0.5", "-f", "null", "-")


def save_accounts(folder: Path) -> None:
    allow = frozenset({Action.PLAY, Action.PUBLISH})
    password = Scrypt.make("sésame:@")
    accounts = (
        Account("nvr", allow, key_digest=digest_key(KEY), ha1s=make_ha1s("nvr", KEY)),
        Account("ann", allow, password=password, ha1s=make_ha1s("ann", "sésame:@")),
        Account("bob", allow, password=password),
    )
    folder.mkdir(mode=0o700)
    Accounts(folder).save(accounts)


def make_certificate(folder: Path) -> None:
    words = "openssl req -x509 -nodes -days 9 -subj /CN=device -newkey ec"
    words += " -pkeyopt ec_paramgen_curve:P-256 -keyout key.pem -out cert.pem"
    subprocess.run(words.split(), cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApplianceProcess]:
    folder = tmp_path_factory.mktemp("login")
    save_accounts(folder / "state")
    make_certificate(folder)
    settings = (
        'rtsp.tls.listen=["127.0.0.1:0"]',
        f'rtsp.tls.cert="{folder / "cert.pem"}"',
        f'rtsp.tls.key="{folder / "key.pem"}"',
    )
    with appliance_process(folder, *settings, config=CONFIG) as process:
        process.wait_line("is live")
        yield process
        assert "Traceback" not in process.log
        for secret in (KEY, "sésame", *make_ha1s("nvr", KEY).values()):
            assert secret not in process.log


def place_of(device: ApplianceProcess, name: str = "camera") -> str:
    return f"127.0.0.1:{device.rtsp_port}/live/{name}"


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [str(word) for word in words]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("way", ["tcp", "http"])
@pytest.mark.parametrize("user", [f"nvr:{KEY}", "ann:s%C3%A9same%3A%40"], ids=["key", "password"])
def test_ffmpeg_plays_by_digest(device: ApplianceProcess, user: str, way: str) -> None:
    known = len(device.lines)
    url = f"rtsp://{user}@{place_of(device)}"
    result = run(*FFMPEG, "-rtsp_transport", way, "-i", url, *TO_NOTHING)
    assert (result.returncode, result.stderr) == (0, "")
    assert not [line for line in device.lines[known:] if "refused" in line], "nothing was wrong"


@pytest.mark.parametrize(
    "user",
    ["nvr:wrong@", "nobody:wrong@", "bob:s%C3%A9same%3A%40@", ""],
    ids=["wrong", "unknown", "not-digest", "none"],
)
def test_ffmpeg_with_a_wrong_secret_is_refused(device: ApplianceProcess, user: str) -> None:
    """Bob's password is kept as a hash that cannot answer Digest."""
    url = f"rtsp://{user}{place_of(device)}"
    result = run(*FFMPEG, "-rtsp_transport", "tcp", "-i", url, *TO_NOTHING)
    assert result.returncode != 0
    assert "401 Unauthorized" in result.stderr


@pytest.mark.parametrize("user", [f"any:{KEY}", "bob:s%C3%A9same%3A%40"], ids=["key", "password"])
def test_ffmpeg_plays_within_tls_by_every_account(device: ApplianceProcess, user: str) -> None:
    port = device.wait_line(r"listening on rtsps://\S+:(\d+)/")[1]
    url = f"rtsps://{user}@127.0.0.1:{port}/live/camera"
    result = run(*FFMPEG, "-i", url, *TO_NOTHING)
    assert (result.returncode, result.stderr) == (0, "")


def test_ffmpeg_publishes_by_digest(device: ApplianceProcess) -> None:
    picture = ("-f", "lavfi", "-i", "testsrc=size=160x120:rate=15:duration=1")
    words = ("-c:v", "libx264", "-preset", "ultrafast", "-f", "rtsp", "-rtsp_transport", "tcp")
    refused = run(*FFMPEG, *picture, *words, f"rtsp://{place_of(device, 'pushed')}")
    assert "401 Unauthorized" in refused.stderr
    result = run(*FFMPEG, *picture, *words, f"rtsp://nvr:{KEY}@{place_of(device, 'pushed')}")
    assert result.returncode == 0, result.stderr
    device.wait_line(r"live/pushed (is live|ended)")


def test_gstreamer_plays_by_digest(device: ApplianceProcess) -> None:
    source = f"rtspsrc latency=0 protocols=tcp user-id=nvr location=rtsp://{place_of(device)}"
    play = f"{source} user-pw={KEY} ! rtph264depay ! fakesink num-buffers=5"
    result = run("gst-launch-1.0", "-q", *play.split())
    assert is_well(result.returncode, result.stderr), result.stderr
    result = run("gst-launch-1.0", "-q", *play.replace(KEY, "wrong").split())
    assert re.search(r"Unauthorized|Forbidden", result.stderr), "it may try several times"


class Guesser:
    """Asks by one connection, and answers what it is asked for."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._file = self._sock.makefile("rb")
        self._url = f"rtsp://127.0.0.1:{port}/live/camera"
        self._count = 0

    def __enter__(self) -> Guesser:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._sock.close()

    def describe(self, authorization: str = "") -> tuple[int, list[str]]:
        """The answer's code, and what it asks for."""
        self._count += 1
        lines = [f"DESCRIBE {self._url} RTSP/1.0", f"CSeq: {self._count}"]
        if authorization:
            lines.append(f"Authorization: {authorization}")
        self._sock.sendall("\r\n".join([*lines, "", ""]).encode())
        code, challenges, body_bytes = int(self._file.readline().split()[1]), [], 0
        while line := self._file.readline().decode().strip():
            name, _, value = line.partition(": ")
            if name == "WWW-Authenticate":
                challenges.append(value)
            elif name == "Content-Length":
                body_bytes = int(value)
        self._file.read(body_bytes)
        return code, challenges

    def guess(self, user: str, password: str) -> int:
        client = ClientAuth(user, password, b"noise" * 4)
        assert client.challenge(self.describe()[1])
        return self.describe(client.header("DESCRIBE", self._url))[0]


def test_guesses_are_slowed_down_and_keys_are_not(device: ApplianceProcess) -> None:
    """The last one here, as it slows down who comes from this address."""
    with Guesser(device.rtsp_port) as guesser:
        codes = [guesser.guess("ann", f"guess{number}") for number in range(12)]
        assert 403 in codes, "not even looked at any more"
        assert guesser.guess("nvr", KEY) == 200
