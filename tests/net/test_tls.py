"""TLS: the HTTP server behind a certificate, hostile handshakes, and a certificate that changes."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from http_site import Site, echo_path, site, status, until

from appliance.errors import ConfigError
from appliance.net.http import HttpSettings, Request, TlsSettings
from appliance.net.tls import ServerTls, client_context, server_context

DEADLINE_US = 400_000


def make_certificate(folder: Path, name: str) -> tuple[str, str]:
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *(
                "-nodes",
                "-days",
                "2",
                "-subj",
                f"/CN={name}",
                "-addext",
                f"subjectAltName=DNS:{name}",
            ),
            *("-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    return str(cert), str(key)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return make_certificate(tmp_path_factory.mktemp("tls"), "localhost")


@pytest.fixture
def settings(certificate: tuple[str, str]) -> HttpSettings:
    cert, key = certificate
    return HttpSettings(
        listen=(),
        tls=TlsSettings(listen=("127.0.0.1:0",), cert=cert, key=key),
        request_deadline_us=DEADLINE_US,
    )


def port_of(here: Site) -> int:
    return int(here.server.tls_addresses[0].rpartition(":")[2])


async def common_name(port: int) -> str:
    """Whose certificate the port shows."""
    context = client_context(insecure=True)
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return "localhost" if b"localhost" in der else "renewed"


async def test_tls_request_is_served_and_known_to_be_encrypted(
    settings: HttpSettings, certificate: tuple[str, str]
) -> None:
    async with site(settings) as here:
        seen = []

        async def look(request: Request):  # type: ignore[no-untyped-def]
            seen.append(request.is_tls)
            return await echo_path(request)

        here.router.exact("GET", "/", look)
        context = client_context(certificate[0])
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port_of(here), ssl=context, server_hostname="localhost"
        )
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert status(await reader.read()) == 200
        writer.close()
        await writer.wait_closed()
    assert seen == [True]


HANDSHAKES = {
    "plain text": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "nothing": b"",
    "cut hello": bytes.fromhex("16030100c8010000c40303"),
    "zeros": bytes(4096),
    "alert": bytes.fromhex("15030300020228"),
    "old version": bytes.fromhex("160300002d0100002903") + bytes(40),
}


@pytest.mark.parametrize("name", HANDSHAKES)
async def test_tls_handshake_that_fails_or_hangs_is_closed_in_time(
    name: str, settings: HttpSettings, caplog: pytest.LogCaptureFixture
) -> None:
    async with site(settings) as here:
        here.router.exact("GET", "/", echo_path)
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(here))
        writer.write(HANDSHAKES[name])
        try:
            async with asyncio.timeout(5):
                assert b"HTTP" not in await reader.read()
        except ConnectionResetError:
            pass
        writer.close()
        await until(lambda: here.faults)
        assert here.faults[0][:2] == ("http", "handshake failed")
        assert await common_name(port_of(here)) == "localhost", "others are served"
        assert here.server.inside <= 1
    assert not [record for record in caplog.records if record.exc_info]


async def test_tls_client_that_leaves_within_the_handshake_leaves_nothing(
    settings: HttpSettings,
) -> None:
    async with site(settings) as here:
        for _ in range(20):
            sock = socket.create_connection(("127.0.0.1", port_of(here)))
            sock.send(HANDSHAKES["cut hello"])
            sock.close()
        await until(lambda: len(here.faults) == 20)
        assert here.server.inside == 0


def test_tls_context_refuses_versions_before_1_2(certificate: tuple[str, str]) -> None:
    assert server_context(*certificate).minimum_version is ssl.TLSVersion.TLSv1_2


def test_tls_bad_files_are_faults_the_operator_can_mend(
    certificate: tuple[str, str], tmp_path: Path
) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("not PEM")
    _, other_key = make_certificate(tmp_path, "other")
    for cert, key in (("/none", "/none"), (str(garbage), ""), (certificate[0], other_key)):
        with pytest.raises(ConfigError, match="tls: "):
            server_context(cert, key)


def test_tls_changed_files_are_read_again_and_bad_ones_are_not_used(tmp_path: Path) -> None:
    cert, key = map(Path, make_certificate(tmp_path, "first"))
    tls = ServerTls(str(cert), str(key))
    first = tls.context
    assert not tls.refresh()
    new_cert, new_key = map(Path, make_certificate(tmp_path, "second"))
    new_cert.replace(cert)
    with pytest.raises(ConfigError):
        tls.refresh()  # between the two renames: the key does not fit yet
    assert tls.context is first
    assert not tls.refresh(), "told once"
    new_key.replace(key)
    assert tls.refresh()
    assert tls.context is not first
    os.unlink(cert)  # noqa: PTH108
    assert not tls.refresh()


async def test_tls_new_certificate_serves_new_connections(tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path, "localhost")
    settings = HttpSettings(listen=(), tls=TlsSettings(("127.0.0.1:0",), cert, key))
    async with site(settings) as here:
        assert await common_name(port_of(here)) == "localhost"
        new_cert, new_key = make_certificate(tmp_path, "renewed")
        os.replace(new_cert, cert)  # noqa: PTH105
        os.replace(new_key, key)  # noqa: PTH105
        here.server.refresh_tls()
        assert await common_name(port_of(here)) == "renewed"
