"""The RTMP service: listens, and runs a session for each connection."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

from appliance.errors import ConfigError
from appliance.hub.telling import Comings
from appliance.net.accept import Caps
from appliance.net.address import reachable_urls
from appliance.net.fanout_pool import FanOutPool
from appliance.net.internal_faults import InternalFaults
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
TURN_BYTES = 16 << 10  # 1365 of the smallest messages, 20 ms of work; a read may be 16 times that
SECOND_US = 1_000_000
TICK_S = 1.0
GOODBYE_S = 1.0  # for players to be told that it is over


class RtmpService:
    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self.pool = FanOutPool("rtmp", context.supervisor, settings.fan_out)
        self._servers: list[TcpServer[Event]] = []
        self._internal_faults = InternalFaults("rtmp", context.faults.count)
        self._comings = Comings()
        self._sessions: set[RtmpSession] = set()  # no more than settings.max_connections, twice

    async def start(self) -> None:
        settings = self._settings
        if settings.listen:
            self._listen(settings.listen, None)
        if settings.tls.listen:
            self._listen(settings.tls.listen, ServerTls(settings.tls.cert, settings.tls.key))
        self._context.supervisor.keep("rtmp sessions", self._tick)

    def _listen(self, addresses: tuple[str, ...], tls: ServerTls | None) -> None:
        server: TcpServer[Event] = TcpServer(
            "rtmp" if tls is None else "rtmps",
            RtmpCore,
            self._serve,
            self._context.faults.count,
            caps=_caps(self._settings),
            limits=_limits(self._settings),
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
        session = RtmpSession(connection, self._context, self._settings, self.pool, self._comings)
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
        self.pool.close()
        ends = [asyncio.create_task(session.see_off()) for session in self._sessions]
        if ends:
            await asyncio.wait(ends, timeout=GOODBYE_S)
        for server in self._servers:
            await server.stop()

    def reload(self, settings: Any, streams: tuple[StreamSettings, ...]) -> list[str]:
        """All at once, but for what is listened on, and for the latency of who plays already."""
        before = self._settings
        self._settings = replace(settings, listen=before.listen, tls=before.tls)
        self.pool.use(settings.fan_out)
        for server in self._servers:
            server.adjust(_caps(settings), _limits(settings))
        for session in self._sessions:
            session.settings = self._settings
        waiting = [f"rtmp.{key}" for key in ("listen", "tls")
                   if getattr(settings, key) != getattr(before, key)]  # fmt: skip
        has_players = any(session.is_playing for session in self._sessions)
        if settings.latency != before.latency and has_players:
            waiting.append("rtmp.latency (of players there are)")
        return waiting


def _caps(settings: Settings) -> Caps:
    return Caps(settings.max_connections, settings.max_connections_per_ip)


def _limits(settings: Settings) -> TcpLimits:
    return TcpLimits(
        idle_s=None,  # what publishers and players owe is the session's to know
        stall_s=settings.stall_us / SECOND_US,
        unhandled_bytes=UNHANDLED_BYTES,
        turn_bytes=TURN_BYTES,
    )


def create(settings: Settings, context: Context) -> RtmpService:
    return RtmpService(settings, context)
