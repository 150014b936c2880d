"""SRS's API from before WHIP and WHEP: ``/rtc/v1/publish/`` and ``/rtc/v1/play/`` take and give
JSON, and fail with status 200."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from aiohttp import web

from appliance.errors import ApplianceError, PeerError
from appliance.hub.names import stream_name
from appliance.net.http import Request, Router
from appliance.services.webrtc.endpoint import MAX_OFFER_BYTES

if TYPE_CHECKING:
    from appliance.services.webrtc.endpoint import Endpoint

FAILED = 400
MAX_URL_CHARS = 1024


class OlderApi:
    """The routes of one of the two. path: ends with a slash; endpoint: does what is asked."""

    def __init__(self, path: str, endpoint: Endpoint, device_name: str) -> None:
        self._path = path
        self._endpoint = endpoint
        self._head = {
            "server": device_name,
            "service": secrets.token_hex(4),
            "pid": str(os.getpid()),
        }

    def add_routes(self, router: Router) -> None:
        answer = self._endpoint.guarded(self._answer)
        options = self._endpoint.guarded(self._endpoint.options)
        for path in (self._path, self._path.removesuffix("/")):  # SRS redirects the other, to a GET
            router.exact("POST", path, answer, cross_origin=True)
            router.exact("OPTIONS", path, options, cross_origin=True)

    async def _answer(self, request: Request) -> web.Response:
        try:
            body = await request.read_json(2 * MAX_OFFER_BYTES)
            name, sdp = _read(body)
            peer, answer = await self._endpoint.admit(request, name, sdp)
        except ApplianceError as error:
            return _reply({"code": FAILED, "error": str(error)})
        theirs = peer.remote_credentials.ufrag if peer.remote_credentials is not None else ""
        session = f"{peer.agent.local.ufrag}:{theirs}"
        told = {"sdp": answer.decode(), "sessionid": session}
        return _reply({"code": 0, **self._head, **told})


def _reply(payload: dict[str, Any]) -> web.Response:
    return web.json_response(payload, headers={"Cache-Control": "no-store"})


def _read(body: object) -> tuple[str, bytes]:
    """The stream's name and the offer. Raises: PeerError, NameInvalid."""
    if not isinstance(body, dict):
        raise PeerError("send an object")
    sdp, url = body.get("sdp"), body.get("streamurl")
    if not isinstance(sdp, str) or not isinstance(url, str) or len(url) > MAX_URL_CHARS:
        raise PeerError("sdp and streamurl are needed")
    if len(sdp) > MAX_OFFER_BYTES:
        raise PeerError("the offer is too long")
    try:
        path = unquote(urlsplit(url).path, errors="strict")
    except ValueError:
        raise PeerError("streamurl is no URL") from None
    return stream_name(path.strip("/")), sdp.encode()
