"""WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): an offer by POST is a publisher or a viewer.

``/rtc/v1/whep/?app=live&stream=camera`` or ``/live/camera/whep``, and the same with ``whip``; the
answer's Location is the peer's own resource: PATCH takes candidates and restarts ICE, DELETE ends
it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aiohttp import web

from appliance.errors import ApplianceError, AuthError, PeerError, StreamNotFound
from appliance.hub.access import Action
from appliance.hub.names import stream_name
from appliance.hub.stream import Stream
from appliance.net.http import Request, Router
from appliance.net.http_guard import check_forgery
from appliance.net.http_request import HttpError
from appliance.net.http_response import error_response
from appliance.services.contract import credentials_of
from appliance.services.webrtc.candidates import find_candidates
from appliance.services.webrtc.coming import Coming
from appliance.wire.sdp.ice_fragment import MAX_BYTES as MAX_FRAGMENT_BYTES
from appliance.wire.sdp.ice_fragment import format_fragment, parse_fragment
from appliance.wire.sdp.webrtc_offer import parse_offer

if TYPE_CHECKING:
    from appliance.services.webrtc.exchange import Exchange
    from appliance.services.webrtc.peer import Peer
    from appliance.services.webrtc.service import WebRtcService

LEAVES = {Action.PLAY: "whep", Action.PUBLISH: "whip"}
KINDS = {Action.PLAY: "rtc-play", Action.PUBLISH: "rtc-publish"}
SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
MAX_OFFER_BYTES = 64 << 10
SHOWN_CHARS = 200
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, PATCH, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match",
    "Access-Control-Expose-Headers": "Location, ETag, Link, Accept-Patch",
    "Access-Control-Max-Age": "86400",
}


class Endpoint:
    """The routes of one of the two. action: what is done by an offer there."""

    def __init__(self, service: WebRtcService, action: Action) -> None:
        self._service = service
        self._action = action
        self._leaf = LEAVES[action]
        self._prefix = f"/rtc/v1/{self._leaf}/"
        self._context = service.context

    def add_routes(self, router: Router) -> None:
        for method, handler in {
            "POST": self._post,
            "PATCH": self._patch,
            "DELETE": self._delete,
            "OPTIONS": self.options,
        }.items():
            router.prefix(method, self._prefix, self.guarded(handler), cross_origin=True)
        for method, handler in {"POST": self._post, "OPTIONS": self.options}.items():
            router.leaf(method, self._leaf, self.guarded(handler), cross_origin=True)

    def guarded(
        self, handler: Callable[[Request], Awaitable[web.Response]]
    ) -> Callable[[Request], Awaitable[web.Response]]:
        """With CORS on whatever is answered, or for our own pages alone."""

        async def guarded(request: Request) -> web.Response:
            if not self._service.settings.public:
                check_forgery(request)
                return await handler(request)
            try:
                response = await handler(request)
            except ApplianceError as error:
                response = error_response(error, as_json=True)
            response.headers.update(_CORS)
            return response

        return guarded

    # -- somebody comes ------------------------------------------------------------------------

    async def _post(self, request: Request) -> web.Response:
        name = self._name_of(request)
        _check_type(request, SDP)
        peer, answer = await self.admit(request, name, await request.read_body(MAX_OFFER_BYTES))
        headers = {
            "Location": f"{self._prefix}{peer.token}",
            "ETag": _etag(peer),
            "Accept-Patch": FRAGMENT,
            "Cache-Control": "no-store",
        }
        return web.Response(status=201, body=answer, content_type=SDP, headers=headers)

    async def admit(self, request: Request, name: str, sdp: bytes) -> tuple[Peer, bytes]:
        """Raises: AuthError, PeerError, StreamNotFound, StreamBusy, CodecUnsupported,
        LimitExceeded."""
        access, service, action = self._context.access, self._service, self._action
        credentials = credentials_of(request, with_query=True)
        try:
            account = await access.check(action, name, request.peer_ip, credentials)
        except AuthError as error:
            if not error.challenge:
                raise
            # RFC 9725 §4.9; for Basic a browser would ask its user, and the page wait for that
            raise HttpError(401, str(error), {"WWW-Authenticate": "Bearer"}) from None
        offer = parse_offer(sdp)
        if offer.is_waiting:
            raise PeerError("the offer leaves the DTLS handshake to us (setup:passive); offer "
                            "actpass or active")  # fmt: skip
        candidates = find_candidates(request, service.port, service.settings)
        stream = await self._find(name) if action is Action.PLAY else None
        exchange = await service.open()
        session = self._context.sessions.open("rtc", KINDS[action], request.peer_ip)
        try:
            session.stream, session.url = name, request.path
            session.user_agent = request.headers.get("User-Agent", "")[:SHOWN_CHARS]
            session.page_url = request.headers.get("Referer", "")[:SHOWN_CHARS]
            coming = Coming(offer, candidates, session)
            if stream is not None:
                peer, answer = exchange.play(stream, coming)
            else:
                peer, answer = self._publish(exchange, name, coming)
        except BaseException:
            self._context.sessions.close(session)
            raise
        peer.mark = access.mark_of(account) if account else None
        return peer, answer

    def _publish(self, exchange: Exchange, name: str, coming: Coming) -> tuple[Peer, bytes]:
        """Raises: StreamBusy, CodecUnsupported, LimitExceeded, PeerError."""
        session, context = coming.session, self._context
        takeover = context.is_takeover(name)
        publisher = context.hub.publish(name, session.id, takeover=takeover)
        session.is_publisher = True
        try:
            return exchange.publish(publisher, coming)
        except BaseException:
            publisher.close()
            raise

    async def _find(self, name: str) -> Stream:
        """Raises: StreamNotFound, LimitExceeded."""
        try:
            async with asyncio.timeout(self._service.settings.wait_us / 1_000_000):
                return await self._context.hub.wait_for(name)
        except TimeoutError:
            raise StreamNotFound(f"nobody publishes {name}") from None

    # -- its resource --------------------------------------------------------------------------

    def _peer_of(self, request: Request) -> Peer:
        """Raises: HttpError 404. Who knows the name of a resource owns it."""
        exchange = self._service.exchange
        token = request.path.removeprefix(self._prefix)
        peer = exchange.by_token.get(token) if exchange is not None else None
        if peer is None or peer.action is not self._action:
            raise HttpError(404, "there is no such session")
        return peer

    async def _patch(self, request: Request) -> web.Response:
        """RFC 9725 §4.3: candidates are read and not needed, as we wait for checks; other
        credentials are a restart."""
        peer = self._peer_of(request)
        _check_type(request, FRAGMENT)
        fragment = parse_fragment(await request.read_body(MAX_FRAGMENT_BYTES))
        wanted = request.headers.get("If-Match")
        if fragment.credentials is None or fragment.credentials == peer.remote_credentials:
            if wanted is None:
                raise HttpError(428, "a PATCH needs If-Match")
            if wanted not in {_etag(peer), "*"}:
                raise HttpError(412, "ICE has been restarted since")
            return web.Response(status=204, headers={"ETag": _etag(peer)})
        exchange = self._service.exchange
        assert exchange is not None, "there is a peer"
        exchange.restart(peer)
        peer.remote_credentials = fragment.credentials
        body = format_fragment(peer.agent.local, peer.ours, kind=peer.kind, mid=peer.mid)
        headers = {"ETag": _etag(peer), "Accept-Patch": FRAGMENT}
        return web.Response(status=200, body=body, content_type=FRAGMENT, headers=headers)

    async def _delete(self, request: Request) -> web.Response:
        self._peer_of(request).end("the peer has left")
        return web.Response(status=200)

    def _name_of(self, request: Request) -> str:
        """Of ``?app=&stream=``, or of the path. Raises: NameInvalid, HttpError."""
        if not request.path.startswith(self._prefix):
            return stream_name(request.path[1:].removesuffix(f"/{self._leaf}"))
        if request.path != self._prefix:
            raise HttpError(405, "an offer is sent to the endpoint, not to a session")
        app, stream = request.query.get("app", "live"), request.query.get("stream", "")
        return stream_name(f"{app}/{stream}")

    async def options(self, request: Request) -> web.Response:
        headers = {"Allow": _CORS["Access-Control-Allow-Methods"], "Accept-Post": SDP}
        return web.Response(status=204, headers=headers)


def _check_type(request: Request, wanted: str) -> None:
    content_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if content_type != wanted:
        raise HttpError(415, f"send it as {wanted}")


def _etag(peer: Peer) -> str:
    """Of the ICE session."""
    return f'"{peer.agent.local.ufrag}"'
