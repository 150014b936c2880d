"""The addresses of live streams over HTTP and WebSocket, and who may have them.

``/live/camera.flv``, ``.ts`` and ``.aac``; ``?start=live`` begins with the next keyframe instead of
the newest, ``?audio=0`` and ``?video=0`` leave something out, ``?latency=`` is low, normal or
dense. A stream that nobody publishes yet is waited for: the head of the answer is sent at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from appliance.errors import (
    ApplianceError,
    CodecUnsupported,
    LimitExceeded,
    PeerError,
    StreamNotFound,
)
from appliance.hub.access import Action
from appliance.hub.names import stream_name
from appliance.hub.rendition import Rendition
from appliance.hub.sessions import Session
from appliance.hub.stream import Stream
from appliance.media.track import Kind
from appliance.net.fanout import End, FanOutSettings, Viewer
from appliance.net.fanout_pool import FanOutPool
from appliance.net.fanout_sink import Sink, sink_of
from appliance.net.http import HttpError, Request
from appliance.net.http_takeover import Takeover, stream_head
from appliance.services.contract import Context, StreamSettings, credentials_of
from appliance.services.httpflv.forms import FORMS, Form
from appliance.services.httpflv.settings import BATCH_US, Latency, Settings
from appliance.services.httpflv.websocket import WebSocketSink

COUNT_S = 1.0
SHOWN_CHARS = 200  # of a User-Agent or Referer
OFF = {"0", "false", "no", "off"}


class LiveService:
    """The service (services/contract.py)."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._pools: dict[tuple[str, Latency], FanOutPool] = {}  # one per form and latency
        self._watching: dict[Viewer, tuple[Session, int]] = {}  # bounded by settings.viewers
        self._viewers = 0

    async def start(self) -> None:
        for suffix in FORMS:
            self._context.router.suffix("GET", suffix, self._get)
        self._context.supervisor.keep("live figures", self._count_for_ever)

    async def stop(self) -> None:
        for pool in self._pools.values():
            pool.close()

    def reload(self, settings: Any, streams: tuple[StreamSettings, ...]) -> list[str]:
        """Who watches goes on as before."""
        changed = settings != self._settings
        self._settings = settings
        if changed and self._viewers:
            return ["live (of viewers there are)"]
        if changed:
            self._pools.clear()
        return []

    # -- requests -----------------------------------------------------------------------------

    async def _get(self, request: Request) -> web.StreamResponse:
        path, dot, suffix = request.path[1:].rpartition(".")
        form = FORMS[dot + suffix]
        name = stream_name(path)
        credentials = credentials_of(request, with_query=True)
        await self._context.access.check(Action.PLAY, name, request.peer_ip, credentials)
        kinds = _kinds(request, form)
        latency = self._latency(request)
        if request.method == "HEAD":
            return web.Response(headers={"Content-Type": form.content_type})
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._serve_websocket(request, name, form, kinds, latency)
        with self._viewer(request, name) as session:
            transport = request.transport
            self._refuse_early(name, form, kinds)
            transport.write(stream_head(form.content_type, self._settings.fields))
            rendition = await self._open(name, form, kinds)
            if rendition is not None:
                pool = self._pool(form, latency)
                sink = sink_of(transport)
                end = await self._show(rendition, pool, sink, session, _starts_live(request))
                if end is End.STALLED:
                    transport.abort()
        return Takeover()

    async def _serve_websocket(
        self, request: Request, name: str, form: Form, kinds: frozenset[Kind], latency: Latency
    ) -> web.StreamResponse:
        """Nothing but the fan-out writes to the connection once it is open."""
        origin = request.headers.get("Origin", "")
        foreign = origin and origin.partition("://")[2].lower() != request.host.lower()
        if foreign and not self._settings.public:
            raise HttpError(403, "pages of other sites may not watch; see live.public")
        with self._viewer(request, name) as session:
            socket = web.WebSocketResponse(autoping=False, autoclose=False, compress=False)
            await socket.prepare(request.raw)
            rendition = await self._open(name, form, kinds)
            if rendition is not None:
                sink = WebSocketSink(sink_of(request.transport))
                showing = asyncio.create_task(
                    self._show(
                        rendition, self._pool(form, latency), sink, session, _starts_live(request)
                    )
                )
                listening = asyncio.create_task(_listen(socket))
                try:
                    await asyncio.wait({showing, listening}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for task in (showing, listening):
                        task.cancel()
                    await asyncio.wait({showing, listening})
            request.transport.abort()
        return socket

    def _refuse_early(self, name: str, form: Form, kinds: frozenset[Kind]) -> None:
        """While an error can still be told by a status. Raises: CodecUnsupported, LimitExceeded."""
        stream = self._context.hub.streams.get(name)
        if stream is not None and stream.tracks:
            self._rendition(stream, form, kinds)

    @staticmethod
    def _rendition(stream: Stream, form: Form, kinds: frozenset[Kind]) -> Rendition:
        return stream.rendition(form.rendition_name(kinds), lambda: form.muxer(kinds))

    async def _open(self, name: str, form: Form, kinds: frozenset[Kind]) -> Rendition | None:
        """The rendition once somebody publishes; None if that takes too long or cannot be."""
        hub = self._context.hub
        try:
            async with asyncio.timeout(self._settings.wait_us / 1_000_000):
                stream = await hub.wait_for(name)
                with stream.demand.viewer():
                    await stream.wait_tracks()
            return self._rendition(stream, form, kinds)
        except (TimeoutError, StreamNotFound, CodecUnsupported, LimitExceeded) as error:
            self._context.faults.count("live", "nothing to show", f"{name} {error}")
            return None

    async def _show(
        self, rendition: Rendition, pool: FanOutPool, sink: Sink, session: Session, live: bool
    ) -> End:
        """Until the viewer leaves, which cancels us, or stalls, or the stream ends."""
        position = rendition.ring.next if live else None
        with (
            rendition.demand.viewer(),
            pool.of(rendition.ring).viewing(sink, position) as viewer,
        ):
            if live:
                viewer.needs_key = True
            if viewer.needs_key:
                self._context.hub.find(session.stream).request_keyframe()
            self._watching[viewer] = (session, 0)
            try:
                return await viewer.wait()
            finally:
                self._count(viewer)
                del self._watching[viewer]

    # -- viewers ------------------------------------------------------------------------------

    @contextmanager
    def _viewer(self, request: Request, name: str) -> Iterator[Session]:
        """Raises: LimitExceeded."""
        if self._viewers >= self._settings.viewers:
            raise LimitExceeded(f"{self._viewers} viewers are here already")
        self._viewers += 1
        try:
            with self._context.sessions.session("flv", "flv-play", request.peer_ip) as session:
                session.stream, session.url = name, request.path
                session.user_agent = request.headers.get("User-Agent", "")[:SHOWN_CHARS]
                session.page_url = request.headers.get("Referer", "")[:SHOWN_CHARS]
                session.kick = request.transport.abort
                yield session
        finally:
            self._viewers -= 1

    def _latency(self, request: Request) -> Latency:
        asked = request.query.get("latency")
        if asked is None:
            return self._settings.latency
        try:
            return Latency(asked)
        except ValueError:
            raise PeerError("latency is low, normal or dense") from None

    def _pool(self, form: Form, latency: Latency) -> FanOutPool:
        pool = self._pools.get((form.name, latency))
        if pool is None:
            settings = self._settings
            fan_out = FanOutSettings(
                max_interval_us=BATCH_US[latency],
                max_lag_us=settings.max_lag_us,
                stall_us=settings.stall_us,
            )
            pool = FanOutPool(form.name, self._context.supervisor, fan_out, renew=form.renew)
            self._pools[form.name, latency] = pool
        return pool

    async def _count_for_ever(self) -> None:
        while True:
            await asyncio.sleep(COUNT_S)
            for viewer in list(self._watching):
                self._count(viewer)

    def _count(self, viewer: Viewer) -> None:
        session, counted = self._watching[viewer]
        now_us = self._context.hub.clock.monotonic_us()
        session.sent.add(viewer.sent_bytes - counted, now_us)
        session.lost_units = viewer.lost_units
        self._watching[viewer] = (session, viewer.sent_bytes)


def _kinds(request: Request, form: Form) -> frozenset[Kind]:
    """Raises: PeerError if nothing is left."""
    kinds = frozenset(
        kind for kind in form.kinds if request.query.get(kind.value, "1").lower() not in OFF
    )
    if not kinds:
        raise PeerError("neither sound nor picture was asked for")
    return kinds


def _starts_live(request: Request) -> bool:
    """Raises: PeerError."""
    start = request.query.get("start", "")
    if start not in {"", "gop", "live"}:
        raise PeerError("start is gop or live")
    return start == "live"


async def _listen(socket: web.WebSocketResponse) -> None:
    """Until the viewer closes; what it says otherwise is nothing to us."""
    try:
        async for message in socket:
            if message.type in {web.WSMsgType.CLOSE, web.WSMsgType.ERROR}:
                return
    except (ApplianceError, OSError):
        return


def create(settings: Settings, context: Context) -> LiveService:
    return LiveService(settings, context)
