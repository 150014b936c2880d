"""Connecting to who is pulled from."""

from __future__ import annotations

import asyncio
import errno
from typing import TypeVar

from appliance.net.connecting import is_absence
from appliance.net.horizon import Horizon
from appliance.net.tcp import ByteCore, TcpConnection, TcpLimits
from appliance.net.tcp_client import connect_tcp
from appliance.net.tls import ClientTls
from appliance.services.pull.faults import Away
from appliance.wire.rtmp.address import RtmpAddress
from appliance.wire.rtsp.target import RtspAddress

Event = TypeVar("Event")

CONNECT_S = 5.0  # against one that is switched off, behind a switch that is not
UNHANDLED_BYTES = 1 << 20  # a keyframe comes in one go


def connect_limit_s(limit_s: float) -> float:
    """limit_s: for all that is to happen before media come."""
    return min(CONNECT_S, 0.8 * limit_s)


async def reach(
    core: ByteCore[Event],
    address: RtmpAddress | RtspAddress,
    tls: ClientTls,
    horizon: Horizon,
    limit_s: float,
) -> TcpConnection[Event]:
    """limit_s: of the handshake. Raises: Away, PeerError, OSError."""
    limits = TcpLimits(deadline_s=limit_s, idle_s=None, unhandled_bytes=UNHANDLED_BYTES)
    context = tls.context() if address.is_tls else None
    wait_s = connect_limit_s(limit_s)
    try:
        async with asyncio.timeout(wait_s):
            connection = await connect_tcp(address.host, address.port, core, limits, tls=context)
    except TimeoutError:
        raise Away(f"no connection within {wait_s:.2g} s") from None
    except OSError as error:
        if is_absence(error):
            raise Away(str(error.strerror)) from None
        raise
    try:
        if not (ip := peer_ip(connection)):
            raise ConnectionResetError(errno.ECONNRESET, "the connection ended as it began")
        horizon.admit(ip)
    except BaseException:
        connection.abort()
        await connection.close()
        raise
    return connection


def peer_ip(connection: TcpConnection[Event]) -> str:
    """As its socket tells it; empty if it is lost already."""
    return _ip(connection, "peername")


def local_ip(connection: TcpConnection[Event]) -> str:
    return _ip(connection, "sockname")


def _ip(connection: TcpConnection[Event], end: str) -> str:
    transport = connection.transport
    found = None if transport is None else transport.get_extra_info(end)
    return str(found[0]) if found else ""
