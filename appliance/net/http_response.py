"""What every response carries, and what each error of the appliance becomes in HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping

from aiohttp import web

from appliance.errors import (
    ApplianceError,
    AuthError,
    CodecUnsupported,
    LimitExceeded,
    NameInvalid,
    PeerError,
    StreamBusy,
    StreamNotFound,
)
from appliance.net.http_request import HttpError

RETRY_AFTER_S = 5
SLICE_BYTES = 64 << 10
STATUSES: dict[type[ApplianceError], int] = {
    NameInvalid: 400,
    StreamNotFound: 404,
    StreamBusy: 409,
    CodecUnsupported: 415,
    LimitExceeded: 503,
    PeerError: 400,
}
PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)


def put_headers(response: web.StreamResponse) -> None:
    """Called for every response, errors included, just before its head is written.

    A handler's own Content-Security-Policy and Referrer-Policy stay.
    """
    headers = response.headers
    headers["Server"] = "porthole"
    headers["X-Content-Type-Options"] = "nosniff"
    if headers.get("Content-Type", "").startswith("text/html"):
        headers.setdefault("Referrer-Policy", "no-referrer")
        headers.setdefault("Content-Security-Policy", PAGE_POLICY)
        headers["X-Frame-Options"] = "DENY"


def error_response(error: Exception, *, as_json: bool) -> web.Response:
    """The answer to a request whose handler raised `error`; anything unknown is 500."""
    match error:
        case HttpError():
            return refusal(error.status, str(error), error.headers, as_json=as_json)
        case AuthError(challenge=True):
            headers = {"WWW-Authenticate": 'Basic realm="porthole", charset="UTF-8"'}
            return refusal(401, str(error), headers, as_json=as_json)
        case AuthError():
            return refusal(403, str(error), as_json=as_json)
        case LimitExceeded():
            headers = {"Retry-After": str(RETRY_AFTER_S)}
            return refusal(503, str(error), headers, as_json=as_json)
        case ApplianceError():
            for kind, status in STATUSES.items():
                if isinstance(error, kind):
                    return refusal(status, str(error), as_json=as_json)
    return refusal(500, "a fault of the device; its log says more", as_json=as_json)


def refusal(
    status: int, text: str, headers: Mapping[str, str] | None = None, *, as_json: bool = False
) -> web.Response:
    """An error's response: one line of text, or ``{"code": status, "error": text}``."""
    if as_json:
        body, content_type = json.dumps({"code": status, "error": text}), "application/json"
    else:
        body, content_type = f"{status} {text}\n", "text/plain"
    return web.Response(
        status=status,
        text=body,
        content_type=content_type,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def wants_json(path: str, accept: str) -> bool:
    return path.startswith(("/api/", "/rtc/")) or "application/json" in accept


def is_large(response: web.StreamResponse) -> bool:
    """A whole body that a slow reader would pin in its own copy."""
    return (
        isinstance(response, web.Response)
        and not response.prepared
        and isinstance(response.body, bytes | bytearray)
        and len(response.body) > 2 * SLICE_BYTES
    )


async def send_in_slices(raw: web.BaseRequest, whole: web.StreamResponse) -> web.StreamResponse:
    """Send a large body slice by slice, waiting for the reader in between.

    Handed to the transport at once, what the kernel does not take would be copied per client:
    on Python 3.11 a stalled reader of a 1 MB segment costs 1 MB. Slices cost no measurable CPU.
    """
    assert isinstance(whole, web.Response)
    body = memoryview(whole.body)  # type: ignore[arg-type]  # `is_large` has looked
    response = web.StreamResponse(status=whole.status, reason=whole.reason, headers=whole.headers)
    response.cookies.update(whole.cookies)
    response.content_length = len(body)
    if whole.keep_alive is False:
        response.force_close()
    await response.prepare(raw)
    if raw.method != "HEAD":
        for start in range(0, len(body), SLICE_BYTES):
            await response.write(body[start : start + SLICE_BYTES])
            await raw.writer.drain()
    await response.write_eof()
    return response
