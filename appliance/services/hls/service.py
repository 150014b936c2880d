"""HLS over HTTP: the addresses, who may ask, and the feeds that answer.

``/live/camera.m3u8`` is the multivariant playlist; ``/live/camera.hls/`` holds the media playlists,
segments and initialisation sections. Nothing is made for a name that is no stream.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable

from aiohttp import web

from appliance.errors import AuthError, LimitExceeded, StreamNotFound
from appliance.hub.access import Action, Credentials
from appliance.hub.names import stream_name
from appliance.net.http import HttpError, Request
from appliance.net.http_response import refusal
from appliance.net.media_file import MediaFile
from appliance.net.media_response import MediaResponse
from appliance.net.shortcut import Shortcut
from appliance.services.contract import Context, StreamSettings
from appliance.services.hls.feed import Feed
from appliance.services.hls.formats import FORMS, Form
from appliance.services.hls.live_playlist import PLAYLIST_TYPE, Numbering
from appliance.services.hls.settings import HlsFormat, Settings
from appliance.services.hls.tokens import Tokens
from appliance.services.hls.viewers import Asker, Viewers

PLAYLIST_SUFFIX = ".m3u8"
TS_SUFFIX = ".ts"  # before it, for players that cannot be given a query
FOLDER_SUFFIX = ".hls"
COOKIE = "porthole_hls"
TOKEN_FIELD = "t"

SWEEP_S = 1.0
IDLE_US = 30_000_000  # a feed nobody asked for; then its stream's demand ends
OVER_US = 30_000_000  # how long the end of a stream stays readable
MAX_WAIT_US = 10_000_000
MAX_WAITERS = 256  # per feed; against a crowd that waits for a stream that has no media
MAX_NUMBERINGS = 256  # against publishers of ever new names

Key = tuple[str, HlsFormat]
Find = Callable[[bytes], MediaFile | None]


class Hls:
    """The service (services/contract.py)."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self.settings = settings
        self.feeds: dict[Key, Feed] = {}  # bounded: one per stream and form
        self.tokens = Tokens(context.hub.clock)
        self.viewers = Viewers(context.sessions, context.hub.clock)
        self._context = context
        self._hub = context.hub
        self._access = context.access
        self._clock = context.hub.clock
        self._numberings: OrderedDict[Key, Numbering] = OrderedDict()
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        router = self._context.router
        router.suffix("GET", PLAYLIST_SUFFIX, self._get_multivariant)
        router.folder("GET", FOLDER_SUFFIX, self._get_child)
        self._sweeper = self._context.supervisor.keep("hls sweep", self._sweep_for_ever)

    async def stop(self) -> None:
        tasks = [feed.task for feed in self.feeds.values() if feed.task is not None]
        if self._sweeper is not None:
            tasks.append(self._sweeper)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self.feeds.clear()
        self.viewers.close()

    def reload(self, settings: Settings, streams: tuple[StreamSettings, ...]) -> list[str]:
        """Playlists that run keep their settings, which players rely on; new ones get these."""
        changed = settings != self.settings
        self.settings = settings
        return ["hls (of streams being watched)"] if changed and self.feeds else []

    # -- requests ------------------------------------------------------------------------------

    async def _get_multivariant(self, request: Request) -> web.StreamResponse:
        path = request.path[1 : -len(PLAYLIST_SUFFIX)]
        asks_ts = path.endswith(TS_SUFFIX)  # no stream is called so (hub/names.py)
        name = stream_name(path.removesuffix(TS_SUFFIX))
        form = FORMS[HlsFormat.TS if asks_ts else self._asked_format(request)]
        token, fresh = await self._admit(request, name)
        feed = self._find_feed(name, form)
        if not await self._wait_ready(feed):
            return _not_yet(name)
        base = f"{name.rpartition('/')[2]}{FOLDER_SUFFIX}/"
        if ":" in base:  # RFC 3986 §4.2: it would read as a scheme
            base = f"./{base}"
        text = feed.render_multivariant(base, _query(token))
        cache = "no-store" if token else "no-cache"
        file = MediaFile(
            PLAYLIST_TYPE, (text.encode(),), cache_control=cache, fields=self.settings.fields
        )
        self._count(request, name, token, file)
        return MediaResponse(file, extra=self._cookie(request, name, token) if fresh else "")

    async def _get_child(self, request: Request) -> web.StreamResponse:
        """A media playlist, a segment or an initialisation section."""
        folder, _, leaf = request.path.rpartition("/")
        name = folder[1 : -len(FOLDER_SUFFIX)]
        form = _form_of(leaf)
        token, fresh = await self._admit(request, name)
        if form is None:
            self._hub.find(name)
            return _gone()
        feed = self.feeds.get((name, form.format))
        if leaf == form.playlist_name:
            feed = self._find_feed(name, form)
            if not await self._wait_ready(feed):
                return _not_yet(name)
        elif feed is None:
            self._hub.find(name)
            return _gone()
        feed.last_request_us = self._clock.monotonic_us()
        query = _query(token)
        file = feed.find(leaf, query)
        if file is None:
            return _gone()
        asker = self._count(request, name, token, file)
        if fresh:
            return MediaResponse(file, extra=self._cookie(request, name, token))
        again = Shortcut(f"{folder}/", query, self._find_again(feed, asker, query))
        return MediaResponse(file, shortcut=again)

    def _asked_format(self, request: Request) -> HlsFormat:
        asked = request.query.get("format") if request.raw_query else None
        if asked is None:
            return self.settings.format
        try:
            return HlsFormat(asked)
        except ValueError:
            raise HttpError(400, "format is fmp4 or ts") from None

    def _count(self, request: Request, name: str, token: str, file: MediaFile) -> Asker:
        """Sees whoever asks. Raises: AuthError if the operator ended their watching."""
        user_agent = request.headers.get("User-Agent", "")
        key = token or (request.peer_ip, hash(user_agent))
        asker = Asker(key, request.peer_ip, user_agent, f"/{name}")
        viewer = self.viewers.see(name, asker)
        if viewer.kicked:
            raise AuthError("ended by the operator", challenge=False)
        viewer.count(0 if request.method == "HEAD" else file.size_bytes)
        return asker

    def _find_again(self, feed: Feed, asker: Asker, query: str) -> Find:
        """What a connection may have without another look at who asks (net/shortcut.py)."""
        name, settings = feed.stream.name, self.settings

        def find(leaf: bytes) -> MediaFile | None:
            file = feed.find(leaf.decode("latin-1"), query)
            if file is None or feed.over_since_us is not None or settings is not self.settings:
                return None
            viewer = self.viewers.see(name, asker)
            if viewer.kicked:
                return None
            feed.last_request_us = viewer.seen_us
            viewer.count(file.size_bytes)
            return file

        return find

    # -- who may -------------------------------------------------------------------------------

    async def _admit(self, request: Request, name: str) -> tuple[str, bool]:
        """(token that goes into the addresses below, whether it is new); "" if none is needed.

        Raises: AuthError, LimitExceeded.
        """
        if request.raw_query:
            token = request.query.get(TOKEN_FIELD, "")
            if self._honours(token, name, request.peer_ip):
                return token, False
        if "Cookie" in request.headers:
            token = request.cookies.get(COOKIE, "")
            if self._honours(token, name, request.peer_ip):
                return "", False
        account = await self._access.check(
            Action.PLAY, name, request.peer_ip, _credentials(request)
        )
        if not account:
            return "", False
        return self.tokens.issue(name, self._access.mark_of(account)), True

    def _honours(self, token: str, name: str, peer_ip: str) -> bool:
        """Ours, for this stream, and its account may still watch it from there."""
        mark = self.tokens.read(token, name) if token else None
        return mark is not None and self._access.honours(mark, Action.PLAY, name, peer_ip)

    def _cookie(self, request: Request, name: str, token: str) -> str:
        """For players that drop the query; only for this stream's media, and for no script."""
        secure = "; Secure" if request.is_tls else ""
        return (
            f"Set-Cookie: {COOKIE}={token}; Path=/{name}{FOLDER_SUFFIX}/; "
            f"Max-Age={self.tokens.lifetime_s}; HttpOnly; SameSite=Strict{secure}\r\n"
        )

    # -- feeds ---------------------------------------------------------------------------------

    def _find_feed(self, name: str, form: Form) -> Feed:
        """The feed of a stream in this form, made if there is none.

        Raises: StreamNotFound, LimitExceeded.
        """
        feed = self.feeds.get((name, form.format))
        with contextlib.suppress(StreamNotFound):  # of what is over the end can still be read
            self._hub.want(name)
        stream = self._hub.streams.get(name)
        if feed is None or (
            stream is not None and (feed.over_since_us is not None or feed.stream is not stream)
        ):
            feed = self._make_feed((name, form.format), form)
        return feed

    def _make_feed(self, key: Key, form: Form) -> Feed:
        stream = self._hub.find(key[0])
        numbering = self._numberings.setdefault(key, Numbering())
        self._numberings.move_to_end(key)
        if len(self._numberings) > MAX_NUMBERINGS:
            self._numberings.popitem(last=False)
        self._drop(key)
        feed = Feed(stream, form, self.settings, numbering)
        feed.task = self._context.supervisor.spawn(f"hls {stream.name}", feed.run())
        self.feeds[key] = feed
        return feed

    def _drop(self, key: Key) -> None:
        feed = self.feeds.pop(key, None)
        if feed is not None and feed.task is not None:
            feed.task.cancel()

    async def _wait_ready(self, feed: Feed) -> bool:
        if feed.waiters >= MAX_WAITERS:
            raise LimitExceeded("too many viewers wait for this stream's first segment")
        wait_us = MAX_WAIT_US  # an on-demand source starts meanwhile
        if feed.stream.tracks:
            intervals = (stats.key_interval_us or 0 for stats in feed.stream.stats.values())
            longest_us = max(feed.playlist.settings.segment_us, *intervals)
            wait_us = min(3 * longest_us, MAX_WAIT_US)
        return await feed.wait_ready(wait_us / 1e6)

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self.sweep()

    def sweep(self) -> None:
        """Forget who is gone, and what nobody asks for."""
        self.viewers.sweep()
        now_us = self._clock.monotonic_us()
        for key, feed in list(self.feeds.items()):
            is_over = feed.over_since_us is not None and now_us - feed.over_since_us >= OVER_US
            if is_over or (now_us - feed.last_request_us >= IDLE_US and not feed.waiters):
                self._drop(key)


def create(settings: Settings, context: Context) -> Hls:
    return Hls(settings, context)


def _form_of(leaf: str) -> Form | None:
    """By the word a child's name begins with; the rest is looked up, never parsed."""
    for form in FORMS.values():
        if leaf == form.playlist_name or leaf.startswith(f"{form.format}-"):
            return form
    return None


def _query(token: str) -> str:
    return f"?{TOKEN_FIELD}={token}" if token else ""


def _credentials(request: Request) -> Credentials:
    """From an Authorization header, or from the query, where players without one put them."""
    basic, key = request.basic, request.bearer or ""
    user, password = basic or ("", "")
    if request.raw_query:
        query = request.query
        user, password = user or query.get("user", ""), password or query.get("password", "")
        key = key or query.get("key", "")
    return Credentials(user, password, key)


def _gone() -> web.StreamResponse:
    return refusal(404, "no such segment, or no longer")


def _not_yet(name: str) -> web.StreamResponse:
    return refusal(503, f"{name} has no media yet", {"Retry-After": "2"})
