"""An API service on a real server over loopback, with a hub in the test's hands.

The client is at FAR unless a request says `near`: the test's own address is a trusted proxy.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from appliance.hub.access import Access, AuthSettings
from appliance.hub.accounts import Account, Accounts, Action, digest_key
from appliance.hub.cameras import PictureAsk, StillPicture
from appliance.hub.clock import Clock
from appliance.hub.hub import Hub
from appliance.hub.sessions import Sessions
from appliance.hub.stats import Counters, Faults
from appliance.media.aac import AacConfig
from appliance.media.h264 import H264Config
from appliance.media.track import Track
from appliance.media.unit import AccessUnit
from appliance.net.http import HttpServer, HttpSettings, Router
from appliance.net.supervisor import Supervisor
from appliance.services.api import Settings, create
from appliance.services.contract import Context, StreamSettings

FAR, NEAR = "203.0.113.7", "192.168.1.9"
KEYS = {"owner": "O" * 22, "viewer": "V" * 22, "publisher": "P" * 22}

SPS = bytes.fromhex("6764001facd940a02ff97011000003000100000300320f183196")  # High 3.1, 640x360
PPS = bytes.fromhex("68ebe3cb22c0")
VIDEO = Track(1, H264Config((SPS,), (PPS,)))
AUDIO = Track(2, AacConfig.lc(48_000, 2), 48_000)


class FakeClock(Clock):
    now_us = 5_000_000_000

    def monotonic_us(self) -> int:
        return self.now_us

    def unix_us(self) -> int:
        return self.now_us + 1_700_000_000_000_000


@dataclass
class Reply:
    status: int
    headers: Any
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Rig:
    context: Context
    clock: FakeClock
    url: str
    client: aiohttp.ClientSession
    service: Any = None
    pictures: int = field(default=0)

    async def ask(
        self,
        path: str,
        role: str = "owner",
        method: str = "GET",
        *,
        near: bool = False,
        **options: Any,
    ) -> Reply:
        headers = {"X-Forwarded-For": NEAR if near else FAR} | options.pop("headers", {})
        if role in KEYS:
            headers["Authorization"] = f"Bearer {KEYS[role]}"
        elif role:
            headers["Authorization"] = role
        async with self.client.request(
            method, self.url + path, headers=headers, allow_redirects=False, **options
        ) as response:
            return Reply(response.status, response.headers, await response.text())

    def publish(self, name: str = "live/camera", *, key: bool = True) -> None:
        """One picture of 1000 bytes and one sound of 100, right now."""
        stream = self.context.hub.streams.get(name)
        publisher = stream.publisher if stream is not None else None
        if publisher is None:
            publisher = self.context.hub.publish(name, "camera#1", stamped=True)
            publisher.describe([VIDEO, AUDIO])
        now_us = self.clock.now_us
        publisher.write(AccessUnit(VIDEO, now_us, now_us, key, (bytes(1000),)))
        publisher.write(AccessUnit(AUDIO, now_us, now_us, True, (bytes(100),)))


class BenchCamera:
    """Takes every change down; refuses what it is told to refuse."""

    def __init__(self, stream_name: str) -> None:
        self.stream_name = stream_name
        self.name = stream_name.rpartition("/")[2]
        self.changes: list[Mapping[str, Any]] = []
        self.refusal: Exception | None = None
        self.state: dict[str, Any] = {"device": "/dev/video0", "fps": 30}

    def describe(self) -> dict[str, Any]:
        return self.state

    async def change(self, values: Mapping[str, Any]) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.changes.append(values)
        self.state = self.state | dict(values)

    async def picture(self, ask: PictureAsk) -> StillPicture:
        raise NotImplementedError


@asynccontextmanager
async def api_rig(
    state: Path,
    *,
    settings: Settings | None = None,
    auth: AuthSettings | None = None,
    streams: tuple[StreamSettings, ...] = (),
) -> AsyncIterator[Rig]:
    clock = FakeClock()
    every = {"owner": frozenset(Action)} | {
        "viewer": frozenset({Action.PLAY}),
        "publisher": frozenset({Action.PUBLISH}),
    }
    Accounts(state).save(
        tuple(Account(name, every[name], key_digest=digest_key(key)) for name, key in KEYS.items())
    )
    context = Context(
        hub=Hub(clock=clock),
        router=Router(),
        access=Access(auth, state, clock),
        sessions=Sessions(clock),
        faults=Faults(clock),
        counters=Counters(),
        supervisor=Supervisor(),
        device_name="front-door",
        streams=streams,
    )
    for stream in streams:
        context.hub.declare(stream.name)
    service = create(settings or Settings(), context)
    await service.start()
    http = HttpSettings(listen=("127.0.0.1:0",), trusted_proxies=("127.0.0.1",))
    server = HttpServer(context.router, http, context.faults.count)
    await server.start()
    try:
        async with aiohttp.ClientSession() as client:
            yield Rig(context, clock, f"http://{server.addresses[0]}", client, service)
    finally:
        await service.stop()
        context.hub.close()
        await server.stop()
        await context.supervisor.close()
