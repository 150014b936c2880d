"""Asks a program of the operator's where a stream goes: SRS's on_forward callback."""

from __future__ import annotations

import json
from typing import Any

import aiohttp

from appliance import __version__
from appliance.errors import ConfigError, PeerError
from appliance.hub.stream import Stream
from appliance.services.contract import Context
from appliance.services.forward.destination import DEFAULT_APP, Destination
from appliance.services.forward.settings import MAX_DESTINATIONS

MAX_REPLY_BYTES = 64 << 10  # against a reply without end
DEADLINE_S = 5.0  # of asking and answering together
MAX_CONNECTIONS = 16  # against many streams that begin at once
VHOST = "__defaultVhost__"


class Backend:
    """One session of HTTP for all rules. `close` it in the end."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, url: str, stream: Stream) -> list[Destination]:
        """Where it goes; nowhere if empty. What is no address among the answers is left out.

        Raises: PeerError, OSError, TimeoutError; none of them quotes the answer.
        """
        if self._session is None:
            self._session = _open_session()
        try:
            async with self._session.post(
                url, json=self._question(stream), allow_redirects=False
            ) as response:
                if response.status not in {200, 201}:
                    raise PeerError(f"the backend answered with status {response.status}")
                body = await _read(response)
        except aiohttp.ClientOSError as error:
            raise OSError(error.errno, "cannot reach the backend") from None
        except aiohttp.ClientError as error:
            raise PeerError(f"the backend: {type(error).__name__}") from None
        return self._parse(read_reply(body))

    def _question(self, stream: Stream) -> dict[str, Any]:
        """The fields of SRS's on_forward; `param` stays empty: it is the publisher's key."""
        app, _, name = stream.name.rpartition("/")
        origin = stream.publisher.origin if stream.publisher is not None else ""
        sessions = self._context.sessions.active.values()
        session = next((one for one in sessions if one.id == origin), None)
        app = app or DEFAULT_APP
        return {
            "action": "on_forward",
            "server_id": self._context.device_name,
            "client_id": session.slug if session is not None else origin,
            "ip": session.peer_ip if session is not None else "127.0.0.1",
            "vhost": VHOST,
            "app": app,
            "tcUrl": f"rtmp://{VHOST}/{app}",
            "stream": name,
            "param": "",
        }

    def _parse(self, urls: list[str]) -> list[Destination]:
        destinations = []
        for url in urls:
            try:
                destinations.append(Destination.parse(url))
            except ConfigError as error:
                self._context.faults.count("forward", "backend names no address", str(error))
        return destinations

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def read_reply(body: bytes) -> list[str]:
    """The addresses of ``{"code": 0, "data": {"urls": [...]}}``. Raises: PeerError."""
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        raise PeerError("the backend's answer is not JSON") from None
    if not isinstance(reply, dict) or reply.get("code") != 0 or reply["code"] is False:
        raise PeerError("the backend's answer has no code 0")
    data = reply.get("data")
    urls = data.get("urls") if isinstance(data, dict) else None
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        raise PeerError("the backend's answer has no data.urls")
    if len(urls) > MAX_DESTINATIONS:
        raise PeerError(f"the backend names {len(urls)} addresses")
    return list(dict.fromkeys(urls))


def _open_session() -> aiohttp.ClientSession:
    """Nothing of the environment or of earlier answers; what is packed is not unpacked."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=DEADLINE_S),
        headers={"User-Agent": f"Porthole/{__version__}", "Accept-Encoding": "identity"},
        auto_decompress=False,
        trust_env=False,
    )


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Raises: PeerError for more than the limit."""
    body = bytearray()
    async for piece in response.content.iter_chunked(16 << 10):
        body += piece
        if len(body) > MAX_REPLY_BYTES:
            raise PeerError("the backend's answer is too long")
    return bytes(body)
