"""The RTSP service: listens, and runs a session for each connection."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

from appliance.errors import ConfigError
from appliance.net.accept import Caps
from appliance.net.address import reachable_urls
from appliance.net.internal_faults import InternalFaults
from appliance.net.tcp import TcpConnection, TcpLimits
from appliance.net.tcp_server import TcpServer
from appliance.net.tls import ServerTls
from appliance.services.contract import Context, StreamSettings
from appliance.services.rtsp.admission import Admission
from appliance.services.rtsp.core import CoreEvent, RtspCore
from appliance.services.rtsp.outlets import Outlets
from appliance.services.rtsp.session import RtspSession
from appliance.services.rtsp.settings import Settings
from appliance.wire.rtsp.transport import Delivery
from appliance.wire.rtsp.tunnel import Tunnels

log = logging.getLogger(__name__)

UNHANDLED_BYTES = 1 << 20  # a keyframe of a publisher comes in one go
SECOND_US = 1_000_000
TICK_S = 1.0
GOODBYE_S = 1.0  # for players to be told that it is over
FIXED = ("listen", "tls", "udp", "udp_port", "multicast")  # until a restart


class RtspService:
    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._outlets = Outlets(settings, context.supervisor, context.faults.count)
        self._admission = Admission(context.access)
        self._tunnels: Tunnels[RtspSession] = Tunnels()
        self._servers: list[TcpServer[CoreEvent]] = []
        self._internal_faults = InternalFaults("rtsp", context.faults.count)
        self._sessions: set[RtspSession] = set()  # no more than settings.max_connections, twice

    async def start(self) -> None:
        settings = self._settings
        if settings.listen:
            self._listen(settings.listen, None)
        if settings.tls.listen:
            self._listen(settings.tls.listen, ServerTls(settings.tls.cert, settings.tls.key))
        self._context.supervisor.keep("rtsp sessions", self._tick)

    def _listen(self, addresses: tuple[str, ...], tls: ServerTls | None) -> None:
        server: TcpServer[CoreEvent] = TcpServer(
            "rtsp" if tls is None else "rtsps",
            lambda: self._make_core(is_tls=tls is not None),
            self._serve,
            self._context.faults.count,
            caps=_caps(self._settings),
            limits=_limits(self._settings),
            tls=tls,
        )
        try:
            server.start(addresses)
        except ConfigError as error:
            raise ConfigError(f"rtsp{'.tls' if tls else ''}.{error}") from error.__cause__
        self._servers.append(server)
        scheme = "rtsps" if tls else "rtsp"
        self._context.listening[scheme] = server.addresses
        for address in server.addresses:
            for url in reachable_urls(scheme, address):
                log.info("listening on %s", url)

    def _make_core(self, *, is_tls: bool) -> RtspCore:
        session_s = -(-self._settings.session_us // SECOND_US)
        return RtspCore(self._deliveries(is_tls=is_tls), session_s)

    def _deliveries(self, *, is_tls: bool) -> set[Delivery]:
        """Who speaks by TLS does not want media to travel in clear."""
        deliveries = {Delivery.TCP}
        if self._settings.udp and not is_tls:
            deliveries.add(Delivery.UDP)
            if self._settings.multicast:
                deliveries.add(Delivery.MULTICAST)
        return deliveries

    async def _serve(self, connection: TcpConnection[CoreEvent]) -> None:
        session = RtspSession(
            connection,
            self._context,
            self._settings,
            self._admission,
            self._outlets,
            self._tunnels,
        )
        self._sessions.add(session)
        try:
            await session.run()
        finally:
            self._sessions.discard(session)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._tick_sessions()

    def _tick_sessions(self) -> None:
        """By itself, so that no session that ends is held until the next tick."""
        for session in list(self._sessions):
            try:
                session.tick()
            except Exception as error:  # of one session; the others go on
                self._internal_faults.report(error)
                session.end("a fault of ours")

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(address for server in self._servers for address in server.addresses)

    async def stop(self) -> None:
        self._outlets.close_players()
        ends = [asyncio.create_task(session.see_off()) for session in self._sessions]
        if ends:
            await asyncio.wait(ends, timeout=GOODBYE_S)
        for server in self._servers:
            await server.stop()
        self._outlets.close()

    def reload(self, settings: Any, streams: tuple[StreamSettings, ...]) -> list[str]:
        """All at once, but for what is listened on, and for the latency of who plays already."""
        before = self._settings
        self._settings = replace(settings, **{key: getattr(before, key) for key in FIXED})
        self._outlets.use(self._settings)
        for server in self._servers:
            server.adjust(_caps(settings), _limits(settings))
        for session in self._sessions:
            session.settings = self._settings
        waiting = [f"rtsp.{key}" for key in FIXED if getattr(settings, key) != getattr(before, key)]
        has_players = any(session.is_playing for session in self._sessions)
        if settings.latency != before.latency and has_players:
            waiting.append("rtsp.latency (of players there are)")
        return waiting


def _caps(settings: Settings) -> Caps:
    return Caps(settings.max_connections, settings.max_connections_per_ip)


def _limits(settings: Settings) -> TcpLimits:
    return TcpLimits(
        idle_s=None,  # what publishers and players owe is the session's to know
        stall_s=settings.stall_us / SECOND_US,
        unhandled_bytes=UNHANDLED_BYTES,
    )


def create(settings: Settings, context: Context) -> RtspService:
    return RtspService(settings, context)
