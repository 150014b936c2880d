"""Connecting to a server: a connection as servers have it, from the other side."""

from __future__ import annotations

import asyncio
import socket
import ssl

from appliance.net.address import is_ip
from appliance.net.connecting import legible
from appliance.net.tcp import ByteCore, Event, TcpConnection, TcpLimits


async def connect_tcp(
    host: str,
    port: int,
    core: ByteCore[Event],
    limits: TcpLimits | None = None,
    *,
    tls: ssl.SSLContext | None = None,
) -> TcpConnection[Event]:
    """A client's connection; the core's first words are sent.

    All addresses of the name are tried. Raises: OSError (ssl.SSLError too) in the system's words,
    TimeoutError after `limits.deadline_s`.
    """
    limits = limits or TcpLimits()
    connection = TcpConnection(core, limits, peer_ip=host, is_tls=tls is not None)
    try:
        async with asyncio.timeout(limits.deadline_s):
            await asyncio.get_running_loop().create_connection(
                lambda: connection,
                host,
                port,
                ssl=tls,
                server_hostname=host if tls else None,
                # Python 3.11 forgets a socket that is connected while the race is called off.
                happy_eyeballs_delay=None if is_ip(host) else 0.25,
            )
    except OSError as error:
        raise legible(error) from None
    except UnicodeError:  # a label that is empty or too long, which a redirect may well have
        raise socket.gaierror(socket.EAI_NONAME, "no name that a host can have") from None
    connection.flush()
    return connection
