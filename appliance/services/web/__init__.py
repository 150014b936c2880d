"""The pages: the console at ``/``, a player at ``/<stream>``, and the figures both of them show.

Nothing here knows how media is served; the pages ask ``/<stream>.m3u8`` as every player does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from appliance import __version__
from appliance.errors import AuthError, NameInvalid
from appliance.hub.access import Action
from appliance.hub.names import stream_name
from appliance.net.http import HttpError, Request
from appliance.services.contract import Context, StreamSettings, credentials_of
from appliance.services.web.assets import Assets
from appliance.services.web.lan import LanAddress, local_port
from appliance.services.web.rows import camera_row, offline_row, source_fault, stream_row

DESTINATION_FIELDS = ("stream", "name", "state", "bytes", "lag_ms", "last_error")
ROWS_KEPT_US = 500_000  # what one look at a stream costs is paid at most twice a second
PAGE_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "media-src 'self' blob:; connect-src 'self'; manifest-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """`[web]`"""

    enabled: bool = True


def create(settings: Settings, context: Context) -> WebService:
    return WebService(settings, context)


class WebService:
    """Serves files that never change, two pages, and one JSON document."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._lan = LanAddress()
        self._assets: Assets
        self._rows: dict[str, dict[str, Any]] = {}  # as many as the hub has streams
        self._rows_until_us = 0

    async def start(self) -> None:
        if not self._settings.enabled:
            return
        self._assets = Assets(self._context.device_name)
        router = self._context.router
        router.exact("GET", "/", self._device_page)
        router.exact("GET", "/favicon.ico", self._favicon)
        router.exact("GET", "/web/streams.json", self._streams)
        router.prefix("GET", "/web/", self._file)
        router.prefix("GET", "/", self._player_page)

    async def stop(self) -> None:
        return

    def reload(self, settings: Settings, streams: tuple[StreamSettings, ...]) -> list[str]:
        self._rows_until_us = 0
        return ["web.enabled"] if settings != self._settings else []

    # -- pages and files -----------------------------------------------------------------------

    async def _device_page(self, request: Request) -> web.StreamResponse:
        return _page(self._assets.page("device.html"))

    async def _player_page(self, request: Request) -> web.StreamResponse:
        """The page itself is no secret: who may not play gets it too, whether or not there is
        such a stream, and is asked for a key there."""
        try:
            name = stream_name(request.path[1:])
            await self._check(name, request)
        except NameInvalid:
            return self._sentence(404, "Nothing is here", "No stream has such a name.")
        except AuthError as error:
            if not error.challenge:
                return self._sentence(403, "Not from here", f"This device says: {error}.")
            return _page(self._assets.page("player.html", stream=name))
        if name not in self._names():
            return self._sentence(
                404, f"There is no stream {name}", "This page looks again every ten seconds."
            )
        return _page(self._assets.page("player.html", stream=name))

    def _sentence(self, status: int, title: str, sentence: str) -> web.Response:
        page = self._assets.page("sentence.html", title=title, sentence=sentence)
        return _page(page, status)

    async def _file(self, request: Request) -> web.StreamResponse:
        response = self._assets.respond(request, request.path)
        if response is None:
            raise HttpError(404, "nothing is here")
        return response

    async def _favicon(self, request: Request) -> web.StreamResponse:
        response = self._assets.respond(request, "/web/icon-180.png")
        assert response is not None
        return response

    # -- figures -------------------------------------------------------------------------------

    async def _streams(self, request: Request) -> web.StreamResponse:
        """What the asker may play; 401 if that is nothing and a key could change it."""
        rows, refusal = await self._visible(request)
        if refusal is not None and not rows:
            return _refused(refusal)
        port = local_port(request)
        document = {
            "device": self._context.device_name,
            "version": __version__,
            "page": self._assets.version,
            "now_unix_ms": self._context.hub.clock.unix_us() // 1000,
            "address": None if port is None else await self._lan.find(port),
            "rtsp_port": self._rtsp_port(),
            "streams": await self._with_details(rows, request),
        }
        return _json(document)

    def _rtsp_port(self) -> int | None:
        """For addresses that the page shows; None without RTSP."""
        addresses = self._context.listening.get("rtsp", ())
        return int(addresses[0].rpartition(":")[2]) if addresses else None

    async def _with_details(
        self, rows: list[dict[str, Any]], request: Request
    ) -> list[dict[str, Any]]:
        """Where streams are forwarded to, and what a source says, is for who may read it in the
        API, too."""
        if not any(row["forwards"] or row["fault"] for row in rows):
            return rows
        try:
            await self._context.access.check(
                Action.API, "", request.peer_ip, credentials_of(request)
            )
        except AuthError:
            return rows
        places = [
            {field: one[field] for field in DESTINATION_FIELDS} for one in self._report("forward")
        ]
        errors = {one["stream"]: one["last_error"] for one in self._report("pull")}
        return [_detailed(row, places, errors) for row in rows]

    def _report(self, service: str) -> list[dict[str, Any]]:
        reports = self._context.reports
        return reports[service]() if service in reports else []

    async def _visible(self, request: Request) -> tuple[list[dict[str, Any]], AuthError | None]:
        """The rows, and why there are not more of them."""
        refusal: AuthError | None = None
        rows = []
        for name in list(self._names()):
            try:
                await self._check(name, request)
            except AuthError as error:
                refusal = error
                if error.challenge:
                    break  # no key or a wrong one is so for every stream, and counts as one guess
            else:
                rows.append(name)
        current = self._current_rows()
        return [current[name] for name in rows if name in current], refusal

    async def _check(self, name: str, request: Request) -> None:
        """Raises: AuthError, LimitExceeded."""
        await self._context.access.check(
            Action.PLAY, name, request.peer_ip, credentials_of(request)
        )

    def _names(self) -> dict[str, StreamSettings | None]:
        """All streams, those of the configuration first and in its order."""
        names: dict[str, StreamSettings | None] = {
            settings.name: settings for settings in self._context.streams if settings.enabled
        }
        for name in self._context.hub.streams:
            names.setdefault(name, None)
        return names

    def _current_rows(self) -> dict[str, dict[str, Any]]:
        now_us = self._context.hub.clock.monotonic_us()
        if now_us >= self._rows_until_us:
            self._rows_until_us = now_us + ROWS_KEPT_US
            forwards = self._report("forward")
            pulls = {one["stream"]: one for one in self._report("pull")}
            self._rows = {
                name: self._row(name, settings, forwards) | {"fault": source_fault(pulls.get(name))}
                for name, settings in self._names().items()
            }
        return self._rows

    def _row(
        self, name: str, settings: StreamSettings | None, forwards: list[dict[str, Any]]
    ) -> dict[str, Any]:
        on_demand = settings is not None and settings.on_demand
        stream = self._context.hub.streams.get(name)
        if stream is None:
            row = offline_row(name, on_demand=on_demand)
        else:
            viewers = self._context.sessions.watching(name)
            row = stream_row(stream, on_demand=on_demand, viewers=viewers)
        row["forwards"] = [one["state"] for one in forwards if one["stream"] == name]
        camera = self._context.cameras.of_stream(name)
        return row if camera is None else row | {"camera": camera_row(camera)}


def _detailed(
    row: dict[str, Any], places: list[dict[str, Any]], errors: dict[str, str]
) -> dict[str, Any]:
    row = row | {"destinations": [one for one in places if one["stream"] == row["name"]]}
    if row["fault"] is None:
        return row
    return row | {"fault": row["fault"] | {"detail": errors.get(row["name"], "")}}


def _page(text: str, status: int = 200) -> web.Response:
    return web.Response(status=status, text=text, content_type="text/html", headers=PAGE_HEADERS)


def _json(document: dict[str, Any], status: int = 200, **headers: str) -> web.Response:
    return web.Response(
        status=status,
        text=json.dumps(document, separators=(",", ":")),
        content_type="application/json",
        headers={"Cache-Control": "no-store", **headers},
    )


def _refused(error: AuthError) -> web.Response:
    """Bearer and not Basic: the page asks for the key itself, in place of the browser's dialog."""
    document = {"error": str(error)}
    if not error.challenge:
        return _json(document, 403)
    return _json(document, 401, **{"WWW-Authenticate": 'Bearer realm="porthole"'})
