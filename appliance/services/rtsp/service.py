"""The RTSP service: listens, and runs a session for each connection."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from appliance.net.tcp import TcpConnection
from appliance.net.tcp_sessions import TcpSessions
from appliance.services.contract import Context, StreamSettings, waiting_keys
from appliance.services.rtsp.admission import Admission
from appliance.services.rtsp.core import CoreEvent, RtspCore
from appliance.services.rtsp.outlets import Outlets
from appliance.services.rtsp.session import RtspSession
from appliance.services.rtsp.settings import Settings
from appliance.wire.rtsp.transport import Delivery
from appliance.wire.rtsp.tunnel import Tunnels

SECOND_US = 1_000_000
FIXED = ("listen", "tls", "udp", "udp_port", "multicast")  # until a restart


class RtspService:
    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._outlets = Outlets(settings, context.supervisor, context.faults.count)
        self._admission = Admission(context.access)
        self._tunnels: Tunnels[RtspSession] = Tunnels()
        self._sessions: TcpSessions[CoreEvent, RtspSession] = TcpSessions(
            "rtsp",
            self._make_core,
            self._make_session,
            context.supervisor,
            context.faults.count,
        )

    def _make_core(self, is_tls: bool) -> RtspCore:
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

    def _make_session(self, connection: TcpConnection[CoreEvent]) -> RtspSession:
        return RtspSession(
            connection,
            self._context,
            self._settings,
            self._admission,
            self._outlets,
            self._tunnels,
        )

    async def start(self) -> None:
        settings = self._settings
        self._sessions.start(settings.listen, settings.tls, settings.caps, settings.limits)
        self._context.listening.update(self._sessions.listening)

    @property
    def addresses(self) -> tuple[str, ...]:
        return self._sessions.addresses

    async def stop(self) -> None:
        self._outlets.close_players()
        await self._sessions.stop()
        self._outlets.close()

    def reload(self, settings: Any, streams: tuple[StreamSettings, ...]) -> list[str]:
        """All at once, but for what is listened on, and for the latency of who plays already."""
        before = self._settings
        self._settings = replace(settings, **{key: getattr(before, key) for key in FIXED})
        self._outlets.use(self._settings)
        self._sessions.adjust(settings.caps, settings.limits)
        for session in self._sessions.active:
            session.settings = self._settings
        waiting = waiting_keys("rtsp", FIXED, before, settings)
        has_players = any(session.is_playing for session in self._sessions.active)
        if settings.latency != before.latency and has_players:
            waiting.append("rtsp.latency (of players there are)")
        return waiting


def create(settings: Settings, context: Context) -> RtspService:
    return RtspService(settings, context)
