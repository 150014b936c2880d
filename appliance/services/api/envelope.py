"""How answers are wrapped: SRS's envelope, compact JSON with two decimals, JSONP if allowed."""

from __future__ import annotations

import json
import os
import re
import secrets
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from aiohttp import web

from appliance.net.http import HttpError, Request

ID_CHARS = 7
# What a page may name its function; anything else could be script of its own (CVE-2024-29882).
_CALLBACK = re.compile(r"[A-Za-z_$][\w$.]{0,63}\Z", re.ASCII)

OK = 0
FAILED = 400  # in the envelope, with HTTP status 200, as SRS answers
VHOST_NOT_FOUND = 2014
STREAM_NOT_FOUND = 2048
CLIENT_NOT_FOUND = 2049


def make_id(text: str) -> str:
    """An id like SRS's, the same at every start: ``vid-`` and seven characters."""
    return f"vid-{sha256(text.encode()).hexdigest()[:ID_CHARS]}"


def _machine() -> str:
    try:
        return Path("/etc/machine-id").read_text().strip()
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class Identity:
    """server: of this device, for ever; service: of this run."""

    server: str
    service: str = field(default_factory=lambda: secrets.token_hex(4))
    pid: str = field(default_factory=lambda: str(os.getpid()))

    @classmethod
    def of_device(cls, name: str) -> Identity:
        """machine-id(5) must not be shown, so only a hash of it is."""
        return cls(make_id(f"porthole {_machine() or name}"))

    def wrap(self, code: int, payload: dict[str, Any]) -> dict[str, Any]:
        """The envelope of success, with more after it; of a failure the code is all."""
        if code != OK:
            return {"code": code}
        head = {"code": OK, "server": self.server, "service": self.service, "pid": self.pid}
        return head | payload


def encode(value: Any) -> str:
    """Compact JSON whose floats have two decimals. Only for values that we have made."""
    match value:
        case float():
            return f"{value:.2f}"
        case dict():
            fields = (f"{json.dumps(key)}:{encode(item)}" for key, item in value.items())
            return "{" + ",".join(fields) + "}"
        case list() | tuple():
            return "[" + ",".join(map(encode, value)) + "]"
        case _:
            return json.dumps(value)


def respond(request: Request, document: dict[str, Any], *, jsonp: bool) -> web.Response:
    """200 with the document, or with a call of ``?callback=`` where `jsonp` is allowed.

    Raises: HttpError.
    """
    headers = {"Cache-Control": "no-store"}
    callback = request.query.get("callback")
    if callback is None:
        return web.Response(text=encode(document), content_type="application/json", headers=headers)
    if not jsonp:
        raise HttpError(400, "callback: JSONP is off; see api.jsonp in the configuration")
    if not _CALLBACK.match(callback):
        raise HttpError(400, "callback: not the name of a function")
    # The comment keeps the first bytes from being anything but script (CVE-2014-4671).
    script = f"/**/{callback}({encode(document)})"
    return web.Response(text=script, content_type="text/javascript", headers=headers)


def page_of(request: Request) -> slice:
    """``?start=0&count=10``; what is no number counts as absent."""
    start = _natural(request.query.get("start"), 0)
    count = max(1, _natural(request.query.get("count"), 10))
    return slice(start, start + count)


def _natural(text: str | None, default: int) -> int:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 9:
        return default
    return int(text)
