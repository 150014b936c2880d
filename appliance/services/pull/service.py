"""The pull service: a feed for every configured stream whose source is another server."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from appliance.errors import ConfigError
from appliance.net.tls import ClientTls
from appliance.services.contract import Context, RtspSettings, StreamSettings
from appliance.services.pull.connection import Plan
from appliance.services.pull.credentials import with_login
from appliance.services.pull.feed import PullFeed
from appliance.services.pull.remote import parse_remote
from appliance.services.pull.settings import Settings
from appliance.wire.rtsp.target import RtspAddress

SCHEMES = frozenset({"rtmp", "rtmps", "rtsp", "rtsps", "http", "https"})


class PullService:
    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._tls = ClientTls(settings.ca, insecure=settings.insecure)
        self._feeds: dict[str, tuple[StreamSettings, PullFeed]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self) -> None:
        self._context.reports["pull"] = self.report
        for stream in self._context.streams:
            if is_pulled(stream):
                self._add(stream)

    async def stop(self) -> None:
        tasks = list(self._tasks.values())
        self._tasks.clear()
        self._feeds.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def reload(self, settings: Any, streams: tuple[StreamSettings, ...]) -> list[str]:
        """Streams that changed are fetched anew, their viewers stay; others go on untouched, until
        they connect again; those that wait are tried at once."""
        waiting = self._adopt(settings)
        wanted = {stream.name: stream for stream in streams if is_pulled(stream)}
        named = {stream.name for stream in streams if stream.enabled}
        for name, (stream, _) in list(self._feeds.items()):
            if wanted.get(name) != stream:
                self._remove(name, named)
        for name, stream in wanted.items():
            if name in self._feeds:
                feed = self._feeds[name][1]
                feed.plan = self._plan(stream)
                feed.retry()
            else:
                self._add(stream)
        return waiting

    def _adopt(self, settings: Settings) -> list[str]:
        """Returns what cannot be used."""
        if settings == self._settings:
            return []
        try:
            self._tls = ClientTls(settings.ca, insecure=settings.insecure)
        except ConfigError as error:
            self._context.faults.count("pull", "not reloaded", str(error))
            return ["pull"]
        self._settings = settings
        return []

    def _plan(self, stream: StreamSettings) -> Plan:
        address, tls, silence_us = parse_remote(stream.source), self._tls, 0
        if isinstance(address, RtspAddress):
            address, tls = self._with_login(address, stream), self._tls_of(stream.rtsp)
            silence_us = stream.rtsp.silence_us
        return Plan(
            (address,),
            tls,
            self._settings.open_us,
            silence_us or self._settings.silence_us,
            stream.on_demand_close_us if stream.on_demand else None,
            stream.rtsp,
        )

    def _with_login(self, address: RtspAddress, stream: StreamSettings) -> RtspAddress:
        """Without a password if its file cannot be read: the camera will say that it wants one."""
        try:
            return with_login(address, stream.rtsp, os.environ)
        except ConfigError as error:
            self._context.faults.count("pull", "no password", f"{stream.name} {error}")
            return address

    def _tls_of(self, rtsp: RtspSettings) -> ClientTls:
        if rtsp.tls_fingerprint:
            return ClientTls(fingerprint=rtsp.tls_fingerprint)
        return self._tls if rtsp.tls_verify else ClientTls(insecure=True)

    def _add(self, settings: StreamSettings) -> None:
        stream = self._context.hub.declare(settings.name)
        feed = PullFeed(self._context, stream, self._plan(settings))
        self._feeds[settings.name] = settings, feed
        task = self._context.supervisor.keep(f"pull {settings.name}", feed.run)
        self._tasks[settings.name] = task

    def _remove(self, name: str, named: set[str]) -> None:
        """named: streams that are still configured, by whichever service."""
        del self._feeds[name]
        self._tasks.pop(name).cancel()
        if name not in named:
            self._context.hub.remove(name)

    def report(self) -> list[dict[str, Any]]:
        return [feed.report() for _, feed in self._feeds.values()]


def is_pulled(stream: StreamSettings) -> bool:
    return stream.enabled and stream.source.partition(":")[0].lower() in SCHEMES


def create(settings: Settings, context: Context) -> PullService:
    return PullService(settings, context)
