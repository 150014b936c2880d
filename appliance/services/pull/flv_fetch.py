"""A stream read from another server by HTTP-FLV."""

from __future__ import annotations

from base64 import b64encode

import aiohttp
from aiohttp import hdrs

from appliance import __version__
from appliance.containers.flv_demuxer import FlvDemuxer
from appliance.net.connecting import is_absence, legible
from appliance.net.horizon import Horizon
from appliance.net.tls import ClientTls
from appliance.services.pull.faults import ENDED, REFUSED, UNREACHABLE, Away, PullFault
from appliance.services.pull.intake import Intake
from appliance.services.pull.reach import connect_limit_s
from appliance.services.pull.refusal import login_refused
from appliance.services.pull.remote import HttpAddress, http_redirected

MAX_REDIRECTS = 3
BUFFER_BYTES = 64 << 10  # beyond twice this the socket is not read
REDIRECTS = frozenset({301, 302, 303, 307, 308})


async def fetch_flv(address: HttpAddress, tls: ClientTls, intake: Intake, limit_s: float) -> None:
    """Never returns. limit_s: for connecting and the answer's head.

    Raises: PullFault, PeerError, LimitExceeded, OSError, TimeoutError.
    """
    # A connection of its own, and the name looked up anew, each time: origins move.
    horizon = Horizon()
    connector = aiohttp.TCPConnector(
        ssl=tls.context(),
        use_dns_cache=False,
        force_close=True,
        socket_factory=horizon.make_socket,
    )
    wait_s = connect_limit_s(limit_s)
    timeout = aiohttp.ClientTimeout(total=None, connect=limit_s, sock_connect=wait_s)
    try:
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            auto_decompress=False,
            read_bufsize=BUFFER_BYTES,
            cookie_jar=aiohttp.DummyCookieJar(),
        ) as session:
            for _ in range(1 + MAX_REDIRECTS):
                address = await _get(session, address, intake)
                horizon.move_on()
    except aiohttp.ClientSSLError as error:
        raise PullFault(UNREACHABLE, f"TLS: {error}") from None
    except aiohttp.ConnectionTimeoutError:
        raise Away(f"no connection within {wait_s:.2g} s") from None
    except aiohttp.ClientConnectorError as error:
        cause = legible(error.os_error)
        if is_absence(cause):
            raise Away(str(cause.strerror)) from None
        raise PullFault(UNREACHABLE, str(error)) from None
    except aiohttp.ClientPayloadError:
        raise PullFault(ENDED, "the server closed the connection") from None
    except aiohttp.ClientError as error:
        raise PullFault(UNREACHABLE, str(error) or type(error).__name__) from None
    raise PullFault(REFUSED, f"redirected more than {MAX_REDIRECTS} times")


async def _get(session: aiohttp.ClientSession, address: HttpAddress, intake: Intake) -> HttpAddress:
    """Returns where the server sends us instead."""
    headers = {hdrs.ACCEPT_ENCODING: "identity", hdrs.USER_AGENT: f"Porthole/{__version__}"}
    if address.user or address.password:
        login = f"{address.user}:{address.password}".encode()
        headers[hdrs.AUTHORIZATION] = f"Basic {b64encode(login).decode()}"
    async with session.get(address.url, headers=headers, allow_redirects=False) as response:
        location = response.headers.get(hdrs.LOCATION)
        if response.status in REDIRECTS and location:
            return http_redirected(address, location)
        if response.status != 200:
            answer = f"the server answers {response.status}"
            if response.status == 401 and hdrs.AUTHORIZATION in headers:  # cameras have it, too
                raise login_refused(401, answer, has_login=True)
            raise PullFault(REFUSED, answer)
        await _receive(response.content, intake)
    raise PullFault(ENDED, "the stream is over")


async def _receive(content: aiohttp.StreamReader, intake: Intake) -> None:
    demuxer = FlvDemuxer()
    while data := await content.readany():
        intake.count(content.total_bytes)
        intake.take(demuxer.receive(data))
