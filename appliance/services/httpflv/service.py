"""The addresses of live streams over HTTP and WebSocket, and who may have them.

``/live/camera.flv``, ``.ts``, ``.aac`` and ``.mp3``; ``?start=live`` begins with the next keyframe
instead of the newest, ``?audio=0`` and ``?video=0`` leave something out, ``?latency=`` is low,
normal or dense. A stream that nobody publishes yet is waited for: the head of the answer is sent
at once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import web

from appliance.errors import CodecUnsupported, LimitExceeded, StreamNotFound
from appliance.hub.access import Action
from appliance.hub.rendition import MuxerFactory, Rendition
from appliance.hub.sessions import Session
from appliance.hub.stream import Stream
from appliance.net.fanout import End, FanOut, Viewer
from appliance.net.fanout_pool import FanOutPool
from appliance.net.fanout_sink import Sink, cut_off, sink_of
from appliance.net.http import Request
from appliance.net.http_connection import Connection
from appliance.net.http_takeover import Takeover, stream_head
from appliance.services.contract import Context, StreamSettings, credentials_of
from appliance.services.httpflv.asking import Ask, read_ask
from appliance.services.httpflv.forms import FORMS, Form
from appliance.services.httpflv.settings import Settings
from appliance.services.httpflv.websocket import Listener, WebSocketSink, is_wanted, upgrade_head

COUNT_S = 1.0
CHECK_S = 3.0  # whether viewers still may is looked at again
JOIN_EARLY_US = 1_000_000  # a source's first unit may be a little older than its lease


@dataclass(frozen=True, slots=True)
class Guest:
    """mark: of the account that was shown (hub/access.py); None for who needs none."""

    ask: Ask
    session: Session
    mark: bytes | None


@dataclass(frozen=True, slots=True)
class Show:
    """since_us: nothing older is shown; None: from the newest keyframe on."""

    stream: Stream
    rendition: Rendition
    since_us: int | None

    def position(self) -> int | None:
        """Where to begin, as of `FanOut.add`; the end of the ring if it must still come."""
        ring, since_us = self.rendition.ring, self.since_us
        if since_us is None:
            return None
        return next((key for key in ring.keys if ring[key].dts_us >= since_us), ring.next)


class LiveService:
    """The service (services/contract.py)."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self.pools: dict[str, FanOutPool] = {}  # one per form
        self._watching: dict[Viewer, tuple[Guest, FanOut]] = {}  # bounded by settings.viewers
        self._viewers = 0

    async def start(self) -> None:
        router = self._context.router
        for suffix in FORMS:
            router.suffix("GET", suffix, self._get)
        self._context.supervisor.keep("live figures", self._count_for_ever)

    async def stop(self) -> None:
        for pool in self.pools.values():
            pool.close()

    def reload(self, settings: Any, streams: tuple[StreamSettings, ...]) -> list[str]:
        """All at once, but that who watches keeps the latency they began with."""
        before, self._settings = self._settings, settings
        for pool in self.pools.values():
            pool.use(settings.fan_out)
        is_kept = settings.latency != before.latency and self._viewers
        return ["live.latency (of viewers there are)"] if is_kept else []

    # -- requests -----------------------------------------------------------------------------

    async def _get(self, request: Request) -> web.StreamResponse:
        ask = read_ask(request)
        access = self._context.access
        credentials = credentials_of(request, with_query=True)
        account = await access.check(Action.PLAY, ask.name, request.peer_ip, credentials)
        mark = access.mark_of(account) if account else None
        self._refuse_early(ask)
        if request.method == "HEAD":
            return self._answer_head(ask.form)
        serve = self._serve_websocket if is_wanted(request) else self._serve_http
        session = self._open_session(request, ask.name)
        try:
            end = await serve(request, Guest(ask, session, mark))
            if end is End.STALLED:
                cut_off(request.transport)
        except OSError as error:  # it has gone, or no descriptor is left for it
            self._context.faults.count("live", "connection failed", f"{session.id} {error}")
        finally:
            self._viewers -= 1
            self._context.sessions.close(session)
        return Takeover()

    def _answer_head(self, form: Form) -> web.Response:
        headers = {"Content-Type": form.content_type, "Cache-Control": "no-store"}
        if self._settings.public:
            headers["Access-Control-Allow-Origin"] = "*"
        return web.Response(headers=headers)

    async def _serve_http(self, request: Request, guest: Guest) -> End:
        transport, connection = request.transport, request.raw.protocol
        assert isinstance(connection, Connection)
        connection.listen_no_more()
        transport.write(stream_head(guest.ask.form.content_type, self._settings.fields))
        return await self._watch(guest, sink_of(transport))

    async def _serve_websocket(self, request: Request, guest: Guest) -> End:
        """Nothing but the sink writes to the connection once it is open."""
        head = upgrade_head(request, public=self._settings.public)
        connection = request.raw.protocol
        assert isinstance(connection, Connection)
        request.transport.write(head)
        sink = WebSocketSink(sink_of(request.transport))
        watching = asyncio.create_task(self._watch(guest, sink))
        listener = Listener(sink, watching.cancel)
        connection.set_parser(listener)  # type: ignore[arg-type]  # of the same shape
        try:
            await asyncio.wait({watching})
        finally:
            watching.cancel()
            await asyncio.wait({watching})
        if listener.reason:
            detail = f"{guest.session.id} {listener.reason}"
            self._context.faults.count("live", "malformed WebSocket frame", detail)
        return End.GONE if watching.cancelled() else watching.result()

    def _refuse_early(self, ask: Ask) -> None:
        """While an error can still be told by a status. Raises: CodecUnsupported, LimitExceeded."""
        stream = self._context.hub.streams.get(ask.name)
        if stream is not None and _is_published(stream):
            stream.check_rendition(*_rendition(ask))

    # -- showing ------------------------------------------------------------------------------

    async def _watch(self, guest: Guest, sink: Sink) -> End:
        """Until the viewer leaves, which cancels us, or stalls, or the stream or its right ends.

        Owns the sink.
        """
        session, end = guest.session, End.GONE
        try:
            show = await self._open(guest.ask)
            end = End.STREAM if show is None else await self._show(show, guest, sink)
        finally:
            sink.close()
            session.tell_watched(end.value, self._context.hub.clock.monotonic_us())
        return end

    async def _open(self, ask: Ask) -> Show | None:
        """Once somebody publishes; None if that takes too long or cannot be shown."""
        hub = self._context.hub
        asked_us = hub.clock.monotonic_us()
        was_there = _is_published(hub.streams.get(ask.name))
        try:
            async with asyncio.timeout(self._settings.wait_us / 1_000_000):
                stream = await hub.wait_for(ask.name, _wait_published)
            rendition = await stream.open_rendition(*_rendition(ask))
        except (TimeoutError, StreamNotFound, CodecUnsupported, LimitExceeded) as error:
            self._context.faults.count("live", "nothing to show", f"{ask.name} {error}")
            return None
        if ask.is_live:
            return Show(stream, rendition, (stream.newest_dts_us or 0) + 1)
        return Show(stream, rendition, None if was_there else asked_us - JOIN_EARLY_US)

    async def _show(self, show: Show, guest: Guest, sink: Sink) -> End:
        ring, position = show.rendition.ring, show.position()
        latency = guest.ask.latency or self._context.latency_of(
            guest.ask.name, self._settings.latency
        )
        pool = self._pool(guest.ask.form)
        fanout = pool.of(ring, latency)
        show.rendition.patience_us = lambda: pool.patience_us(ring)
        viewer, demand = fanout.add(sink, position), show.rendition.demand
        demand.join()
        self._watching[viewer] = guest, fanout
        try:  # no context managers and no timers: a thousand of them are megabytes
            if position == ring.next:
                viewer.needs_key = True
            if viewer.needs_key:
                show.stream.request_keyframe()
            return await viewer.wait()
        finally:
            self._count(viewer)
            del self._watching[viewer]
            fanout.remove(viewer)
            demand.leave()

    def _is_welcome(self, guest: Guest) -> bool:
        """Whether whoever was let in would be again: accounts go, and settings are tightened."""
        session = guest.session
        return self._context.access.still_admits(
            guest.mark, Action.PLAY, session.stream, session.peer_ip
        )

    def _pool(self, form: Form) -> FanOutPool:
        pool = self.pools.get(form.name)
        if pool is None:
            supervisor, fan_out = self._context.supervisor, self._settings.fan_out
            pool = FanOutPool(form.name, supervisor, fan_out, renew=form.renew)
            self.pools[form.name] = pool
        return pool

    # -- viewers ------------------------------------------------------------------------------

    def _open_session(self, request: Request, name: str) -> Session:
        """Raises: LimitExceeded."""
        if self._viewers >= self._settings.viewers:
            raise LimitExceeded(f"{self._viewers} viewers are here already")
        transport = request.transport  # or there is nobody any more
        session = self._context.sessions.open(
            "flv",
            "flv-play",
            request.peer_ip,
            stream=name,
            url=request.path,
            user_agent=request.headers.get("User-Agent", ""),
            page_url=request.headers.get("Referer", ""),
        )
        session.kick = partial(cut_off, transport)
        self._viewers += 1
        return session

    async def _count_for_ever(self) -> None:
        loop, checked_s = asyncio.get_running_loop(), 0.0
        while True:
            await asyncio.sleep(COUNT_S)
            self._count_all()
            if loop.time() - checked_s >= CHECK_S:
                checked_s = loop.time()
                self._check_all()

    def _check_all(self) -> None:
        for viewer, (guest, fanout) in list(self._watching.items()):
            if not self._is_welcome(guest):
                fanout.remove(viewer, End.REMOVED)

    def _count_all(self) -> None:
        """By itself, so that no viewer who leaves is held until the next time."""
        for viewer in self._watching:
            self._count(viewer)

    def _count(self, viewer: Viewer) -> None:
        session = self._watching[viewer][0].session
        now_us = self._context.hub.clock.monotonic_us()
        session.count_sent(viewer.sent_bytes, viewer.lost_units, now_us)


def _rendition(ask: Ask) -> tuple[str, MuxerFactory]:
    """What a stream must be asked for."""
    return ask.form.rendition_name(ask.kinds), lambda: ask.form.muxer(ask.kinds)


def _is_published(stream: Stream | None) -> bool:
    return stream is not None and stream.publisher is not None and bool(stream.tracks)


async def _wait_published(stream: Stream) -> None:
    """Returns when there are media, or what stands for them. Raises: StreamNotFound."""
    while not _is_published(stream):
        if stream.closed:
            raise StreamNotFound("has ended")
        await stream.changed.wait()


def create(settings: Settings, context: Context) -> LiveService:
    return LiveService(settings, context)
