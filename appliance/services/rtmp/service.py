"""The RTMP service: listens, and runs a session for each connection."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from appliance.errors import ConfigError
from appliance.net.accept import Caps
from appliance.net.address import reachable_urls
from appliance.net.fanout import FanOutSettings
from appliance.net.fanout_pool import FanOutPool
from appliance.net.tcp import TcpConnection, TcpLimits
from appliance.net.tcp_server import TcpServer
from appliance.net.tls import ServerTls
from appliance.services.contract import Context, StreamSettings
from appliance.services.rtmp.core import RtmpCore
from appliance.services.rtmp.session import RtmpSession
from appliance.services.rtmp.settings import Settings
from appliance.wire.rtmp.events import Event

log = logging.getLogger(__name__)

UNHANDLED_BYTES = 1 << 20  # a keyframe of a publisher comes in one go
SECOND_US = 1_000_000
TICK_S = 1.0
GOODBYE_S = 1.0  # for players to be told that it is over


class RtmpService:
    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._pool = FanOutPool(
            "rtmp",
            context.supervisor,
            FanOutSettings(
                max_interval_us=settings.batch_us,
                max_lag_us=settings.max_lag_us,
                stall_us=settings.stall_us,
            ),
        )
        self._servers: list[TcpServer[Event]] = []
        self._sessions: set[RtmpSession] = set()  # no more than settings.max_connections, twice

    async def start(self) -> None:
        settings = self._settings
        if settings.listen:
            self._listen(settings.listen, None)
        if settings.tls.listen:
            self._listen(settings.tls.listen, ServerTls(settings.tls.cert, settings.tls.key))
        self._context.supervisor.keep("rtmp sessions", self._tick)

    def _listen(self, addresses: tuple[str, ...], tls: ServerTls | None) -> None:
        settings = self._settings
        limits = TcpLimits(
            idle_s=None,  # what publishers and players owe is the session's to know
            stall_s=settings.stall_us / SECOND_US,
            unhandled_bytes=UNHANDLED_BYTES,
        )
        server: TcpServer[Event] = TcpServer(
            "rtmp" if tls is None else "rtmps",
            RtmpCore,
            self._serve,
            self._context.faults.count,
            caps=Caps(settings.max_connections, settings.max_connections_per_ip),
            limits=limits,
            tls=tls,
        )
        try:
            server.start(addresses)
        except ConfigError as error:
            raise ConfigError(f"rtmp{'.tls' if tls else ''}.{error}") from error.__cause__
        self._servers.append(server)
        self._context.listening["rtmp"] = self.addresses
        for address in server.addresses:
            for url in reachable_urls("rtmps" if tls else "rtmp", address):
                log.info("listening on %s", url)

    async def _serve(self, connection: TcpConnection[Event]) -> None:
        session = RtmpSession(connection, self._context, self._settings, self._pool)
        self._sessions.add(session)
        try:
            await session.run()
        finally:
            self._sessions.discard(session)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            for session in list(self._sessions):
                session.tick()

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(address for server in self._servers for address in server.addresses)

    async def stop(self) -> None:
        self._pool.close()
        ends = [asyncio.create_task(session.see_off()) for session in self._sessions]
        if ends:
            await asyncio.wait(ends, timeout=GOODBYE_S)
        for server in self._servers:
            await server.stop()

    def reload(self, settings: Any, streams: tuple[StreamSettings, ...]) -> list[str]:
        return ["rtmp"] if settings != self._settings else []


def create(settings: Settings, context: Context) -> RtmpService:
    return RtmpService(settings, context)
