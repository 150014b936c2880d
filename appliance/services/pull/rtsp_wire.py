"""The connection that RTSP is spoken on: TCP, TLS, or the two of a tunnel through HTTP."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from appliance import __version__
from appliance.hub.clock import SYSTEM_CLOCK
from appliance.net.horizon import Horizon
from appliance.net.tcp import TcpConnection
from appliance.net.tls import ClientTls
from appliance.services.pull.faults import ENDED, REFUSED, PullFault
from appliance.services.pull.reach import local_ip, peer_ip, reach
from appliance.services.pull.refusal import CODES, login_refused
from appliance.wire.rtsp.client import Event, RtspClient
from appliance.wire.rtsp.target import RtspAddress
from appliance.wire.rtsp.tunnel import TunnelClient

AGENT = f"Porthole/{__version__}"


@dataclass(frozen=True, slots=True)
class TunnelOpened:
    """The GET was answered."""


class PlainCore:
    """RTSP's client as the TCP pump drives it."""

    def __init__(self, rtsp: RtspClient) -> None:
        self.rtsp = rtsp

    def receive(self, data: bytes) -> list[Event | TunnelOpened]:
        return [*self.rtsp.receive(data, SYSTEM_CLOCK.monotonic_us())]

    def receive_eof(self) -> list[Event | TunnelOpened]:
        """A camera may end at any time; media that is there is used first."""
        return []

    def take_output(self) -> bytes:
        return self.rtsp.take_output()


class GetCore:
    """The tunnel's connection that answers and packets come on."""

    def __init__(self, rtsp: RtspClient, tunnel: TunnelClient) -> None:
        self.tunnel = tunnel
        self.post: TcpConnection[Event | TunnelOpened] | None = None
        self._rtsp = rtsp
        self._was_answered = False

    def receive(self, data: bytes) -> list[Event | TunnelOpened]:
        data = self.tunnel.receive(data)
        events: list[Event | TunnelOpened] = []
        is_answered = self.tunnel.is_open or self.tunnel.refused is not None
        if is_answered and not self._was_answered:
            self._was_answered = True
            events.append(TunnelOpened())
        if data:
            events += self._rtsp.receive(data, SYSTEM_CLOCK.monotonic_us())
        if self.post is not None:
            self.post.flush()  # a challenge is answered without any event
        return events

    def receive_eof(self) -> list[Event | TunnelOpened]:
        return []

    def take_output(self) -> bytes:
        return b""


class PostCore:
    """The one that requests go out on; what comes back on it says nothing.

    is_open: its head is written.
    """

    def __init__(self, rtsp: RtspClient, tunnel: TunnelClient) -> None:
        self.is_open = False
        self._rtsp = rtsp
        self._tunnel = tunnel

    def receive(self, data: bytes) -> list[Event | TunnelOpened]:
        return []

    def receive_eof(self) -> list[Event | TunnelOpened]:
        return []

    def take_output(self) -> bytes:
        data = self._rtsp.take_output() if self.is_open else b""
        return self._tunnel.encode(data) if data else b""


PumpEvent = Event | TunnelOpened
Connection = TcpConnection[PumpEvent]


class Wire:
    """connection: what events come from. local_ip, peer_ip: as sockets tell them."""

    def __init__(self, connection: Connection, post: Connection | None = None) -> None:
        self.connection = connection
        self.local_ip, self.peer_ip = local_ip(connection), peer_ip(connection)
        self._post = post

    def flush(self) -> None:
        """Send what RTSP's client has to say."""
        (self._post or self.connection).flush()

    def established(self) -> None:
        for one in (self.connection, self._post):
            if one is not None:
                one.established()

    async def close(self) -> None:
        for one in (self._post, self.connection):
            if one is not None:
                one.flush()
                one.abort()
                await one.close()


async def open_wire(
    rtsp: RtspClient,
    address: RtspAddress,
    tls: ClientTls,
    horizon: Horizon,
    limit_s: float,
    *,
    through_http: bool,
) -> Wire:
    """Connected, and nothing said by `rtsp` yet. Raises: PullFault, PeerError, OSError."""
    if through_http:
        return await _open_tunnel(rtsp, address, tls, horizon, limit_s)
    connection = await reach(PlainCore(rtsp), address, tls, horizon, limit_s)
    return Wire(connection)


async def _open_tunnel(
    rtsp: RtspClient, address: RtspAddress, tls: ClientTls, horizon: Horizon, limit_s: float
) -> Wire:
    """Twice if the camera wants to see credentials.

    The heads are written here and not by the cores, which would say their first words before
    `reach` knows whether a redirect may lead there.
    """
    for is_last in (False, True):
        host = address.place.partition("://")[2]
        tunnel = TunnelClient(address.resource, host, secrets.token_hex(11), AGENT)
        core = GetCore(rtsp, tunnel)
        get = await reach(core, address, tls, horizon, limit_s)
        try:
            get.write(tunnel.open_get(rtsp.auth.header("GET", address.resource)))
            await _wait_opened(get)
            if tunnel.refused is None:
                post_core = PostCore(rtsp, tunnel)
                core.post = await reach(post_core, address, tls, horizon, limit_s)
                core.post.write(tunnel.open_post(rtsp.auth.header("POST", address.resource)))
                post_core.is_open = True
                return Wire(get, core.post)
            challenges = tunnel.refused.headers.all("www-authenticate")
            code = tunnel.refused.code
            if is_last or code != 401 or not rtsp.auth.challenge(challenges):
                answer = f"the tunnel through HTTP is answered {code}"
                if code in CODES:
                    raise login_refused(code, answer, has_login=rtsp.auth.has_credentials)
                raise PullFault(REFUSED, answer)
        except BaseException:
            get.abort()
            await get.close()
            raise
        get.abort()
        await get.close()
    raise AssertionError  # the last turn returns or raises


async def _wait_opened(connection: Connection) -> None:
    async for _ in connection:
        return
    raise PullFault(ENDED, "the camera closed the connection of a tunnel")
