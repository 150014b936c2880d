"""Viewers behind TLS, whose bytes go through a transport instead of a socket."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import aiohttp
import pytest
from live_site import NAME, VIDEO, live_site, until

from appliance.containers.flv_demuxer import FlvDemuxer
from appliance.media.unit import AccessUnit
from appliance.net.http import HttpSettings
from appliance.net.http_settings import TlsSettings
from appliance.net.tls import client_context
from appliance.services.httpflv import Settings


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> HttpSettings:
    folder: Path = tmp_path_factory.mktemp("tls")
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    command = "openssl req -x509 -nodes -days 2 -subj /CN=localhost -newkey ec"
    curve = ("-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", key, "-out", cert)
    subprocess.run([*command.split(), *curve], check=True, capture_output=True)
    return HttpSettings(listen=(), tls=TlsSettings(("127.0.0.1:0",), cert, key))


def units(body: bytes) -> int:
    return sum(isinstance(event, AccessUnit) for event in FlvDemuxer().receive(body))


@pytest.mark.parametrize("scheme", ["https", "wss"])
async def test_tls_viewer_gets_everything_and_the_end(http: HttpSettings, scheme: str) -> None:
    async with live_site(Settings(max_lag_us=60_000_000), http=http) as site:
        show = site.publish(VIDEO, size_bytes=200_000)
        show.write(3)
        target = f"{scheme}://127.0.0.1:{site.port}/{NAME}.flv"
        context = client_context(insecure=True)
        async with aiohttp.ClientSession() as session:
            if scheme == "https":
                async with session.get(target, ssl=context) as response:
                    reading = asyncio.create_task(response.read())
                    await _publish_rest(site, show)
                    body = await reading
            else:
                async with session.ws_connect(target, ssl=context, max_msg_size=0) as socket:
                    await socket.ping(b"hi")
                    publishing = asyncio.create_task(_publish_rest(site, show))
                    body = b"".join([message.data async for message in socket])
                    assert socket.close_code == 1001
                    await publishing
        assert units(body) == 23
        await site.gone()


async def _publish_rest(site, show) -> None:  # type: ignore[no-untyped-def]
    """As fast as the viewer takes it, so that all of it has gone when the stream ends."""
    await until(lambda: site.live._watching)
    (watching,) = site.live._watching
    ring = site.hub.streams[NAME].renditions["live-flv"].ring
    for _ in range(20):
        show.write()
        await until(lambda: watching.position >= ring.next and watching.rest is None)
    site.hub.remove(NAME)


async def test_tls_viewer_who_stalls_is_ended(http: HttpSettings) -> None:
    async with live_site(Settings(stall_us=1_000_000, max_lag_us=60_000_000), http=http) as site:
        show = site.publish(VIDEO, size_bytes=200_000)
        show.write()
        context = client_context(insecure=True)
        _, writer = await asyncio.open_connection("127.0.0.1", site.port, ssl=context)
        writer.write(f"GET /{NAME}.flv HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        transport = writer.transport
        assert isinstance(transport, asyncio.ReadTransport)
        transport.pause_reading()
        await until(lambda: site.live._watching)
        while site.sessions():
            show.write()
            await asyncio.sleep(0.01)
        await site.gone()
        transport.abort()
        await until(lambda: not site.server.connections)
