"""The connection to a camera, before anything is said on it."""

from __future__ import annotations

import asyncio

import pytest

from appliance.errors import PeerError
from appliance.net.horizon import Horizon
from appliance.net.tls import ClientTls
from appliance.services.pull.rtsp_wire import open_wire
from appliance.wire.rtsp.client import RtspClient
from appliance.wire.rtsp.target import parse_rtsp_address


@pytest.mark.parametrize("through_http", [False, True])
async def test_nothing_is_said_where_a_redirect_may_not_lead(through_http: bool) -> None:
    """Least of all a GET, whose path whoever redirects has chosen."""
    said: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said.set_result(await reader.read())
        writer.close()

    horizon = Horizon()
    horizon.admit("93.184.216.34")
    horizon.move_on()
    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        address = parse_rtsp_address(f"rtsp://127.0.0.1:{port}/reboot?now=1")
        client = RtspClient(address, noise=bytes(32), agent="x")
        with pytest.raises(PeerError, match="nearer"):
            await open_wire(client, address, ClientTls(), horizon, 5.0, through_http=through_http)
        assert await asyncio.wait_for(said, 5) == b""


async def test_post_of_a_tunnel_begins_with_its_head_though_the_camera_asks_before_it() -> None:
    posted: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET "):
            writer.write(b"HTTP/1.0 200 OK\r\n\r\nOPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
            await posted
        else:
            posted.set_result(head + await reader.read(4))
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        address = parse_rtsp_address(f"rtsp://127.0.0.1:{server.sockets[0].getsockname()[1]}/x")
        client = RtspClient(address, noise=bytes(32), agent="x")
        wire = await open_wire(client, address, ClientTls(), Horizon(), 5.0, through_http=True)
        wire.flush()
        said = await asyncio.wait_for(posted, 5)
        await wire.close()
    assert said.startswith(b"POST /x HTTP/1.0\r\n") and said.endswith(b"\r\n\r\nUlRT")  # RTS
