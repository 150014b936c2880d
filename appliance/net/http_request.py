"""One HTTP request as handlers see it: checked, bounded, with nothing of aiohttp in the way."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from appliance.errors import PeerError
from appliance.net.http_json import parse_json
from appliance.net.http_target import decode_path, parse_query, redact, split_target

MAX_BODY_BYTES = 1 << 20
MAX_CREDENTIALS = 1024  # characters of an Authorization header; longer is nobody's password


class HttpError(PeerError):
    """A refusal with its own status; the text goes to the client."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.headers = dict(headers or {})


class Request:
    """Made by the server once the target, the host and the method have been checked.

    path: percent-decoded once; valid UTF-8, printable, no dot or empty segments.
    host: the Host header as sent, port included; one of the names this device answers to.
    peer_ip: the peer, or whom a trusted proxy says it speaks for.
    is_tls: the viewer's side is encrypted, here or at a trusted proxy.
    raw: aiohttp's request, for `StreamResponse.prepare` and little else.
    """

    def __init__(
        self,
        raw: web.BaseRequest,
        *,
        peer_ip: str,
        is_tls: bool,
        body_deadline_s: float = 10.0,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self.raw = raw
        self.method = raw.method
        self.headers: Mapping[str, str] = raw.headers
        self.peer_ip = peer_ip
        self.is_tls = is_tls
        authority, encoded_path, self.raw_query = split_target(raw.raw_path)
        self.host = raw.headers.get("Host", "") if authority is None else authority
        self.path = decode_path(encoded_path)
        self._body_deadline_s = body_deadline_s
        self._max_body_bytes = max_body_bytes

    @cached_property
    def query(self) -> Mapping[str, str]:
        """Decoded; the first of repeated fields. Raises: PeerError if malformed."""
        return parse_query(self.raw_query)

    @property
    def url(self) -> str:
        """Path and query for logs: secrets replaced by ``***``."""
        return redact(self.path, self.raw_query)

    @cached_property
    def cookies(self) -> Mapping[str, str]:
        """By name, of repeated ones the first (RFC 6265 §5.4 sends the most special one first)."""
        found: dict[str, str] = {}
        for pair in self.headers.get("Cookie", "").split(";"):
            name, equals, value = pair.partition("=")
            if equals:
                found.setdefault(name.strip(), value.strip().strip('"'))
        return found

    @property
    def transport(self) -> asyncio.Transport:
        """Raises: ConnectionResetError if the client has gone."""
        transport = self.raw.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        return transport

    @cached_property
    def _authorization(self) -> tuple[str, str]:
        """(scheme in lower case, credentials). Raises: PeerError for two of them or a huge one."""
        values = self.raw.headers.getall("Authorization", [])
        if len(values) > 1:
            raise PeerError("more than one Authorization header")
        if not values:
            return "", ""
        if len(values[0]) > MAX_CREDENTIALS:
            raise PeerError("the Authorization header is too long")
        scheme, _, credentials = values[0].strip().partition(" ")
        return scheme.lower(), credentials.strip()

    @property
    def basic(self) -> tuple[str, str] | None:
        """(user, password) of RFC 7617; None if there are none or they are garbled."""
        scheme, credentials = self._authorization
        if scheme != "basic":
            return None
        try:
            pair = base64.b64decode(credentials, validate=True).decode("utf-8")
        except (binascii.Error, ValueError):
            return None
        user, colon, password = pair.partition(":")
        return (user, password) if colon and pair.isprintable() else None

    @property
    def bearer(self) -> str | None:
        """The token of RFC 6750 §2.1."""
        scheme, credentials = self._authorization
        return credentials if scheme == "bearer" and credentials else None

    async def read_body(self, max_bytes: int | None = None) -> bytes:
        """The whole body, of at most `max_bytes` (default: as configured).

        Raises: HttpError (413 too long; 408 takes too long; 400 malformed).
        """
        max_bytes = self._max_body_bytes if max_bytes is None else max_bytes
        length = self.raw.content_length
        if length is not None and length > max_bytes:
            raise HttpError(413, f"the body is longer than {max_bytes} bytes")
        try:
            async with asyncio.timeout(self._body_deadline_s):
                await self._continue()
                return await self._read(max_bytes)
        except TimeoutError:
            raise HttpError(408, "the body took too long") from None
        except (HttpProcessingError, web.RequestPayloadError) as error:
            raise HttpError(400, "the body is malformed") from error

    async def _continue(self) -> None:
        """RFC 9110 §10.1.1: the client waits for a word before it sends the body."""
        if self.headers.get("Expect", "").lower() == "100-continue" and self.raw.version >= (1, 1):
            await self.raw.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.raw.writer.output_size = 0  # a response can still follow

    async def _read(self, max_bytes: int) -> bytes:
        body = bytearray()
        content = self.raw.content
        while chunk := await content.readany():
            body += chunk
            if len(body) > max_bytes:
                raise HttpError(413, f"the body is longer than {max_bytes} bytes")
        return bytes(body)

    async def read_json(self, max_bytes: int | None = None) -> Any:
        """The body as JSON: nesting ≤ 32, finite numbers, no duplicate names.

        Raises: HttpError (as `read_body`; 415 if it claims to be something else), PeerError.
        """
        content_type = self.headers.get("Content-Type", "application/json")
        kind = content_type.partition(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json"):
            raise HttpError(415, "send the body as application/json")
        return parse_json(await self.read_body(max_bytes))
