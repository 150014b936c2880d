"""The HTTP API of a running device, as a command asks it: one request, bounded in time and size.

No proxy and no redirect is followed, so that a key goes to the named device and nowhere else.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_S = 15.0
MAX_ANSWER_BYTES = 4 << 20  # against whoever else listens there
CHUNK_BYTES = 64 << 10


class DeviceError(Exception):
    """What went wrong, for a person. status: of HTTP; 0 if there was no answer."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Device:
    """url: ``http://host:port``; key: empty for none.

    is_here: of this machine, over loopback, where its own certificate need not be known.
    """

    url: str
    key: str = field(default="", repr=False)
    is_here: bool = False

    def get(self, path: str) -> Any:
        """The JSON document there. Raises: DeviceError."""
        return self._ask("GET", path, None)

    def patch(self, path: str, values: dict[str, Any]) -> Any:
        """The answer to a change. Raises: DeviceError."""
        return self._ask("PATCH", path, json.dumps(values).encode())

    def _ask(self, method: str, path: str, body: bytes | None) -> Any:
        headers = {"Accept": "application/json", "User-Agent": "porthole"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection, prefix = self._connect()
        with contextlib.closing(connection):
            try:
                connection.request(method, prefix + path, body, headers)
                answer = connection.getresponse()
                data = _read(answer)
            except TimeoutError as error:
                raise DeviceError(f"{self.url} does not answer within {TIMEOUT_S:.0f} s") from error
            except ssl.SSLCertVerificationError as error:
                raise DeviceError(f"{self.url}: {error.verify_message}") from error
            except OSError as error:
                raise DeviceError(f"{self.url}: {error.strerror or error}") from error
            except (http.client.HTTPException, UnicodeError) as error:
                raise DeviceError(f"{self.url} is not a Porthole") from error
        return self._parse(answer.status, data)

    def _connect(self) -> tuple[http.client.HTTPConnection, str]:
        """The connection, not yet open, and the path in front of the API's."""
        try:
            parts = urlsplit(self.url)
            if parts.scheme not in {"http", "https"} or parts.query or parts.username:
                raise ValueError(self.url)
            connection = self._connection(parts.scheme, parts.hostname or "", parts.port)
        except (ValueError, http.client.InvalidURL) as error:
            raise DeviceError(f"{self.url} is no address; write http://DEVICE:8080") from error
        return connection, parts.path.rstrip("/")

    def _connection(self, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
        """Raises: ValueError or InvalidURL for what cannot be a host."""
        if not host:
            raise ValueError(host)
        if scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        context = ssl.create_default_context()
        if self.is_here:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)

    def _parse(self, status: int, data: bytes) -> Any:
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            document = None
        if status == 200 and isinstance(document, dict):
            return document
        if isinstance(document, dict) and isinstance(document.get("error"), str):
            raise DeviceError(document["error"], status)
        raise DeviceError(f"{self.url} is not a Porthole (HTTP {status})", status)


def _read(answer: http.client.HTTPResponse) -> bytes:
    """The whole body. Raises: TimeoutError if it drips, HTTPException if it is too long."""
    deadline_s = time.monotonic() + TIMEOUT_S
    data = bytearray()
    while chunk := answer.read1(CHUNK_BYTES):
        data += chunk
        if len(data) > MAX_ANSWER_BYTES:
            raise http.client.HTTPException("too long")
        if time.monotonic() > deadline_s:
            raise TimeoutError
    return bytes(data)
