"""The addresses of pictures, who may see them, and what answers.

``/live/camera.jpg`` is one picture, ``/live/camera.mjpeg`` moving ones. Printers' and home
automation's programs know other addresses by heart: ``/snapshot``, ``/?action=stream``,
``/api/frame.jpeg?src=camera``; those without a name mean the device's first camera. A picture is
always of the present: while there is none, the answer is why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from aiohttp import web

from appliance.errors import CodecUnsupported, LimitExceeded
from appliance.hub.access import Action
from appliance.hub.cameras import PictureAsk
from appliance.hub.names import stream_name
from appliance.hub.sessions import Session
from appliance.hub.stream import Stream
from appliance.net.fanout import End
from appliance.net.fanout_sink import sink_of
from appliance.net.http import Request
from appliance.net.http_response import refusal, wants_json
from appliance.net.http_takeover import Takeover
from appliance.net.media_file import MediaFile
from appliance.net.media_response import MediaResponse
from appliance.services.contract import Context, StreamSettings, credentials_of
from appliance.services.pictures.asking import check_rotate, read_fps, read_quality, read_width
from appliance.services.pictures.darkroom import Darkroom, NoPicture
from appliance.services.pictures.feed import CONTENT_TYPE, Feed, Shape, absence, unix_us
from appliance.services.pictures.settings import Settings
from appliance.services.pictures.subject import Subject, find_subject, fit

SUFFIXES_STILL = (".jpg", ".jpeg")
SUFFIX_MOVING = ".mjpeg"
SHARE_US = 100_000  # stills of one shape closer than this are one picture
FIRST_WAIT_S = 10.0  # for a camera that starts because of this viewer
RETRY_AFTER_S = 2
CHECK_S = 3.0  # whether a viewer still may is looked at again
MAX_WAITING = 128  # who wait for cameras to start; against a crowd

Answer = Callable[[Request, str], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Guest:
    """mark: of the account that was shown (hub/access.py); None for who needs none."""

    subject: Subject
    stream: Stream
    mark: bytes | None


class Pictures:
    """The service (services/contract.py)."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self.settings = settings
        self.feeds: dict[Shape, Feed] = {}  # bounded by settings.shapes
        self.darkrooms: dict[str, Darkroom] = {}  # bounded by the cameras there are
        self._context = context
        self._hub = context.hub
        self._viewers = 0
        self._waiting = 0

    async def start(self) -> None:
        router = self._context.router
        still, moving = self._named(self._still), self._named(self._moving)
        for suffix in SUFFIXES_STILL:
            router.suffix("GET", suffix, still)
        router.suffix("GET", SUFFIX_MOVING, moving)
        still, moving = self._asked(self._still), self._asked(self._moving)
        for path in ("/snapshot.jpg", "/snapshot", "/api/frame.jpeg"):
            router.exact("GET", path, still)
        for path in ("/stream", "/api/stream.mjpeg"):
            router.exact("GET", path, moving)
        for path in ("/", "/webcam/"):
            router.variant("GET", path, "action=snapshot", still)
            router.variant("GET", path, "action=stream", moving)

    async def stop(self) -> None:
        tasks = [feed.task for feed in self.feeds.values() if feed.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self.feeds.clear()

    def reload(self, settings: Settings, streams: tuple[StreamSettings, ...]) -> list[str]:
        """Who watches goes on as before; newcomers get these settings."""
        changed = settings != self.settings
        self.settings = settings
        if changed:
            self.darkrooms.clear()
        return ["pictures (of viewers there are)"] if changed and self.feeds else []

    # -- addresses -----------------------------------------------------------------------------

    def _named(self, answer: Answer) -> Callable[[Request], Awaitable[web.StreamResponse]]:
        """The name is the path without its suffix."""

        async def handle(request: Request) -> web.StreamResponse:
            name = stream_name(request.path[1:].rpartition(".")[0])
            return await self._tell(answer, request, name)

        return handle

    def _asked(self, answer: Answer) -> Callable[[Request], Awaitable[web.StreamResponse]]:
        """The name is ``?src=``, or else the default."""

        async def handle(request: Request) -> web.StreamResponse:
            return await self._tell(answer, request, request.query.get("src", ""))

        return handle

    async def _tell(self, answer: Answer, request: Request, name: str) -> web.StreamResponse:
        """Turns the lack of a picture into an answer that says why."""
        try:
            return await answer(request, name)
        except NoPicture as error:
            as_json = wants_json(request.path, request.headers.get("Accept", ""))
            headers = {"Retry-After": str(RETRY_AFTER_S)}
            return refusal(503, str(error), headers, as_json=as_json)

    async def _admit(self, request: Request, name: str) -> Guest:
        """Who asks, and for what.

        Raises: AuthError, before anything is told; NameInvalid, StreamNotFound, CodecUnsupported.
        """
        access = self._context.access
        subject = find_subject(self._context, name)
        account = await access.check(
            Action.PLAY,
            subject.stream,
            request.peer_ip,
            credentials_of(request, with_query=True),
        )
        stream = self._hub.find(subject.stream)
        if subject.camera is None:
            raise CodecUnsupported(
                f"{stream.name} does not come from a camera of this device; pictures do"
            )
        return Guest(subject, stream, access.mark_of(account) if account else None)

    def _is_welcome(self, guest: Guest, peer_ip: str) -> bool:
        """Whether whoever was let in would be again: accounts go, and settings are tightened."""
        return self._context.access.still_admits(
            guest.mark, Action.PLAY, guest.stream.name, peer_ip
        )

    # -- answers -------------------------------------------------------------------------------

    async def _still(self, request: Request, name: str) -> web.StreamResponse:
        guest = await self._admit(request, name)
        stream = guest.stream
        ask = self._read_ask(request, guest)
        with stream.demand.viewer():  # starts an on-demand camera
            await self._wait_live(stream)
            made = await self._darkroom(guest).picture(fit(ask, stream), SHARE_US)
        taken_us = unix_us(stream, made.taken_us)
        age_ms = (stream.clock.monotonic_us() - made.taken_us) // 1000
        fields = (
            f"X-Timestamp: {taken_us / 1e6:.6f}\r\nX-Picture-Age-Ms: {age_ms}\r\n"
            f"{self.settings.fields}"
        )
        file = MediaFile("image/jpeg", (made.jpeg,), cache_control="no-store", fields=fields)
        return MediaResponse(file)

    async def _moving(self, request: Request, name: str) -> web.StreamResponse:
        guest = await self._admit(request, name)
        ask = self._read_ask(request, guest)
        fps = read_fps(request.query, self.settings.fps)
        if request.method == "HEAD":
            headers = {"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"}
            return web.Response(headers=headers)
        with self._viewer(request, guest.stream) as session:
            await self._wait_live(guest.stream)
            shape = Shape(guest.stream.name, fit(ask, guest.stream), fps)
            with self._feed(shape, guest) as feed:
                await feed.wait_first(FIRST_WAIT_S)
                await self._show(request, guest, feed, session)
        return Takeover()

    async def _show(self, request: Request, guest: Guest, feed: Feed, session: Session) -> None:
        """Until the viewer leaves, which cancels us, or stalls, or the stream or its right ends."""
        transport = request.transport
        end: End | None = None
        try:
            with feed.viewing(sink_of(transport), session) as viewer:
                while end is None:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(CHECK_S):
                            end = await viewer.wait()
                    if end is None and not self._is_welcome(guest, request.peer_ip):
                        end = End.REMOVED
        finally:
            why = (end or End.GONE).value
            session.tell_watched(why, self._hub.clock.monotonic_us(), what="pictures")
        if end is End.STALLED:
            transport.abort()

    def _read_ask(self, request: Request, guest: Guest) -> PictureAsk:
        """Raises: PeerError with what is possible."""
        query = request.query
        check_rotate(query)
        quality = read_quality(query, self.settings.quality)
        return PictureAsk(read_width(query), quality, guest.subject.sub)

    @contextmanager
    def _viewer(self, request: Request, stream: Stream) -> Iterator[Session]:
        """Counts a viewer wherever viewers are counted. Raises: LimitExceeded."""
        if self._viewers >= self.settings.viewers:
            raise LimitExceeded(f"{self._viewers} viewers of moving pictures are here already")
        sessions = self._context.sessions
        session = sessions.open(
            "mjpeg",
            "mjpeg-play",
            request.peer_ip,
            stream=stream.name,
            url=f"/{stream.name}{SUFFIX_MOVING}",
            user_agent=request.headers.get("User-Agent", ""),
            page_url=request.headers.get("Referer", ""),
        )
        self._viewers += 1
        try:
            with stream.demand.viewer():
                yield session
        finally:
            self._viewers -= 1
            sessions.close(session)

    async def _wait_live(self, stream: Stream) -> None:
        """Returns when pictures are of the present. Raises: NoPicture, LimitExceeded.

        A camera is waited for that starts: because somebody watches, or since the device does.
        """
        if not absence(stream):
            return
        starts = not stream.has_run and not stream.placeholder
        if not starts and not self._is_on_demand(stream.name):
            raise NoPicture(f"{stream.name}: {absence(stream)}")
        if self._waiting >= MAX_WAITING:
            raise LimitExceeded("too many wait for cameras to start")
        self._waiting += 1
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(FIRST_WAIT_S):
                    while absence(stream) and not stream.closed:
                        await stream.changed.wait()
        finally:
            self._waiting -= 1
        if why := absence(stream):
            raise NoPicture(f"{stream.name}: {why}")

    def _is_on_demand(self, name: str) -> bool:
        return any(s.on_demand for s in self._context.streams if s.name == name)

    # -- what is shared ------------------------------------------------------------------------

    def _darkroom(self, guest: Guest) -> Darkroom:
        camera = guest.subject.camera
        assert camera is not None
        darkroom = self.darkrooms.get(camera)
        if darkroom is None:
            settings = self.settings
            darkroom = self.darkrooms[camera] = Darkroom(
                self._context.cameras,
                camera,
                self._hub.clock,
                self._context.counters,
                max_fps=settings.max_fps,
                shapes=settings.shapes,
            )
        return darkroom

    @contextmanager
    def _feed(self, shape: Shape, guest: Guest) -> Iterator[Feed]:
        """The feed of this shape, made for its first viewer and ended by its last."""
        stream = guest.stream
        feed = self.feeds.get(shape)
        if feed is None or feed.is_over or feed.stream is not stream:
            if feed is None and len(self.feeds) >= self.settings.shapes:
                raise LimitExceeded("too many different sizes, qualities and rates are watched")
            feed = Feed(shape, stream, self._darkroom(guest), self.settings)
            feed.task = self._context.supervisor.spawn(f"mjpeg {stream.name}", feed.run())
            self.feeds[shape] = feed
        feed.users += 1
        try:
            yield feed
        finally:
            feed.users -= 1
            if not feed.users:
                assert feed.task is not None
                feed.task.cancel()
                if self.feeds.get(shape) is feed:
                    del self.feeds[shape]


def create(settings: Settings, context: Context) -> Pictures:
    return Pictures(settings, context)
