"""`[stream.rtsp]`: which tracks, whose password, which certificate."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from camera_login import Login
from fault_camera import FaultCamera, fault_camera
from relay_site import Place, place, pulled, until
from rtsp_source import last_error, told

from appliance.errors import ConfigError
from appliance.net.tls import server_context
from appliance.services.contract import RtspSettings, StreamSettings
from appliance.services.pull import Settings
from appliance.services.pull.credentials import read_password
from appliance.services.pull.service import PullService

# All that TOML can hold; none of it could stand in an address as it is.
ODD = "a@b:c/d#e?f%41|g;h<i>`$(j) é\"'\\"


def source(camera: FaultCamera, host: str = "", **settings: Any) -> StreamSettings:
    return pulled(camera.url(host=host), rtsp=RtspSettings("tcp", **settings))


@pytest.mark.parametrize(("tracks", "kinds"), [("video", ["video"]), ("audio", ["audio"])])
async def test_tracks_that_are_not_wanted_are_not_asked_for(tracks: str, kinds: list[str]) -> None:
    async with (
        fault_camera() as camera,
        place(source(camera, tracks=tracks), serves=False) as edge,
    ):
        await until(lambda: edge.stream.is_live)
        assert [track.kind.value for track in edge.stream.tracks] == kinds
        assert camera.methods().count("SETUP") == 1


@pytest.mark.parametrize("scheme", ["Basic", "MD5", "SHA-256"])
async def test_password_beside_the_address_may_hold_any_sign(scheme: str) -> None:
    login = Login(user="ca:m" if scheme != "Basic" else "cam", password=ODD, schemes=(scheme,))
    async with fault_camera(login=login) as camera:
        stream = source(camera, user=login.user, password=ODD)
        async with place(stream, serves=False) as edge:
            await until(lambda: edge.stream.is_live)
            assert ODD not in told(edge) and ODD not in repr(stream)


async def test_password_is_read_from_a_file_and_anew_when_reloaded(tmp_path: Path) -> None:
    file = tmp_path / "door.password"
    async with fault_camera(login=Login(password=ODD)) as camera:
        stream = source(camera, user="admin", password_file=str(file))
        async with place(stream, serves=False) as edge:
            await until(lambda: last_error(edge).startswith("login: "))
            file.write_bytes(f"{ODD}\r\nsecond line\n".encode())
            edge.service(PullService).reload(Settings(), (stream,))
            await until(lambda: edge.stream.is_live)


def test_password_file_may_be_a_credential_of_the_service(tmp_path: Path) -> None:
    (tmp_path / "door").write_text("s3cret\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert read_password("door", environ) == "s3cret"
    with pytest.raises(ConfigError, match="LoadCredential"):
        read_password("door", {})
    with pytest.raises(ConfigError, match=r"\"gate\": No such file"):
        read_password("gate", environ)
    (tmp_path / "noise").write_bytes(b"\xff\xfe\n")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_password("noise", environ)


async def test_silence_of_a_stream_counts_before_that_of_all() -> None:
    async with (
        fault_camera() as camera,
        place(source(camera, silence_us=500_000), serves=False) as edge,
    ):
        await until(lambda: edge.stream.is_live)
        camera.freeze()
        await until(lambda: "silent" in last_error(edge))
        assert "0.5 s" in last_error(edge)


async def until_error(at: Place, words: str) -> str:
    await until(lambda: re.search(words, last_error(at)))
    return last_error(at)


def let_camera_be_left() -> None:
    """asyncio's server tells the loop of a client that ends the handshake."""
    loop = asyncio.get_running_loop()
    tell = loop.get_exception_handler()
    assert tell is not None

    def hear(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), ConnectionResetError):
            tell(loop, context)

    loop.set_exception_handler(hear)


async def test_certificate_of_its_own_is_told_with_what_to_write_and_is_trusted_then(
    certificate: tuple[str, str],
) -> None:
    let_camera_be_left()
    async with fault_camera(tls=server_context(*certificate)) as camera:
        async with place(source(camera, "localhost"), serves=False) as edge:
            error = await until_error(edge, "tls: untrusted certificate; .*self.signed")
        assert not camera.asked
        line = re.search(r'tls_fingerprint = "(sha256:[0-9a-f]{64})" in \[stream.rtsp\]', error)
        assert line is not None
        # By any name: it is this camera, wherever it is.
        trusting = source(camera, tls_fingerprint=line[1])
        async with place(trusting, serves=False) as edge:
            await until(lambda: edge.stream.is_live)


async def test_other_certificate_than_the_trusted_one_gets_no_password(
    certificate: tuple[str, str],
) -> None:
    let_camera_be_left()
    async with fault_camera(tls=server_context(*certificate), login=Login()) as camera:
        stream = source(camera, user="admin", password="s3cret", tls_fingerprint="0" * 64)
        async with place(stream, serves=False) as edge:
            await until_error(edge, 'tls: another certificate .* shows "sha256:[0-9a-f]{64}"')
        assert not camera.asked


async def test_certificate_is_not_looked_at_if_the_stream_says_so(
    certificate: tuple[str, str],
) -> None:
    async with (
        fault_camera(tls=server_context(*certificate)) as camera,
        place(source(camera, tls_verify=False), serves=False) as edge,
    ):
        await until(lambda: edge.stream.is_live)


def test_password_goes_with_no_second_one() -> None:
    with pytest.raises(ConfigError, match="not both"):
        RtspSettings(password="a", password_file="b")
