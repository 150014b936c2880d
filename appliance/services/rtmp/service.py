"""The RTMP service: listens, and runs a session for each connection."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from appliance.net.fanout_pool import FanOutPool
from appliance.net.tcp import TcpConnection
from appliance.net.tcp_sessions import TcpSessions
from appliance.services.contract import Context, StreamSettings, waiting_keys
from appliance.services.rtmp.core import RtmpCore
from appliance.services.rtmp.session import RtmpSession
from appliance.services.rtmp.settings import Settings
from appliance.wire.rtmp.events import Event

FIXED = ("listen", "tls")  # until a restart


class RtmpService:
    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self.pool = FanOutPool("rtmp", context.supervisor, settings.fan_out)
        self._sessions: TcpSessions[Event, RtmpSession] = TcpSessions(
            "rtmp",
            lambda is_tls: RtmpCore(),
            self._make_session,
            context.supervisor,
            context.faults.count,
        )

    def _make_session(self, connection: TcpConnection[Event]) -> RtmpSession:
        return RtmpSession(connection, self._context, self._settings, self.pool)

    async def start(self) -> None:
        settings = self._settings
        self._sessions.start(settings.listen, settings.tls, settings.caps, settings.limits)
        self._context.listening["rtmp"] = self.addresses

    @property
    def addresses(self) -> tuple[str, ...]:
        return self._sessions.addresses

    async def stop(self) -> None:
        self.pool.close()
        await self._sessions.stop()

    def reload(self, settings: Any, streams: tuple[StreamSettings, ...]) -> list[str]:
        """All at once, but for what is listened on, and for the latency of who plays already."""
        before = self._settings
        self._settings = replace(settings, **{key: getattr(before, key) for key in FIXED})
        self.pool.use(settings.fan_out)
        self._sessions.adjust(settings.caps, settings.limits)
        for session in self._sessions.active:
            session.settings = self._settings
        waiting = waiting_keys("rtmp", FIXED, before, settings)
        has_players = any(session.is_playing for session in self._sessions.active)
        if settings.latency != before.latency and has_players:
            waiting.append("rtmp.latency (of players there are)")
        return waiting


def create(settings: Settings, context: Context) -> RtmpService:
    return RtmpService(settings, context)
