"""The WebRTC service: opens the port, and makes the exchange when the first peer comes.

OpenSSL's bindings cost 10 MB, which a device without viewers in browsers shall not pay.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from appliance.hub.access import Action
from appliance.net.address import reachable_urls
from appliance.services.contract import Context, StreamSettings
from appliance.services.webrtc.endpoint import Endpoint
from appliance.services.webrtc.older import OlderApi
from appliance.services.webrtc.port import Port
from appliance.services.webrtc.settings import Settings

if TYPE_CHECKING:
    from appliance.services.webrtc.exchange import Exchange

log = logging.getLogger(__name__)

OLDER = {Action.PLAY: "/rtc/v1/play/", Action.PUBLISH: "/rtc/v1/publish/"}
FIXED = ("listen", "tcp", "sessions")  # until a restart
_EXCHANGE = "appliance.services.webrtc.exchange"


class WebRtcService:
    """The service (services/contract.py)."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self.settings = settings
        self.context = context
        self.port = Port(settings, context.faults.count, context.hub.clock.monotonic_us)
        self.exchange: Exchange | None = None
        self._opening = asyncio.Lock()

    async def start(self) -> None:
        if not self.settings.listen:
            return
        self.port.start()
        addresses = self.port.addresses
        self.context.listening["webrtc"] = addresses
        for address in addresses:
            for url in reachable_urls("webrtc", address):
                log.info("listening on %s", url)
        self.context.reports["webrtc"] = self.report
        router, name = self.context.router, self.context.device_name
        for action, path in OLDER.items():
            endpoint = Endpoint(self, action)
            endpoint.add_routes(router)
            OlderApi(path, endpoint, name).add_routes(router)

    async def open(self) -> Exchange:
        """The exchange; made now if it is the first call."""
        async with self._opening:
            if self.exchange is None:
                module = await asyncio.to_thread(import_module, _EXCHANGE)
                self.exchange = module.Exchange(self.settings, self.context)
                self.port.hearer = self.exchange
            assert self.exchange is not None, "it has just been made"
            return self.exchange

    async def stop(self) -> None:
        if self.exchange is not None:
            self.exchange.close()
        await self.port.stop()

    def reload(self, settings: Any, streams: tuple[StreamSettings, ...]) -> list[str]:
        """All at once, but for the port and what is bounded by it."""
        before = self.settings
        self.settings = replace(settings, **{key: getattr(before, key) for key in FIXED})
        if self.exchange is not None:
            self.exchange.settings = self.settings
        return [f"webrtc.{key}" for key in FIXED if getattr(settings, key) != getattr(before, key)]

    def report(self) -> list[dict[str, Any]]:
        return [] if self.exchange is None else self.exchange.report()


def create(settings: Settings, context: Context) -> WebRtcService:
    return WebRtcService(settings, context)
