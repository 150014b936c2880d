"""HTTP for services: routes, requests and the server that guards them."""

from __future__ import annotations

from appliance.net.http_request import HttpError, Request
from appliance.net.http_router import Handler, Router
from appliance.net.http_server import HttpServer
from appliance.net.http_settings import HttpSettings, TlsSettings

__all__ = [
    "Handler",
    "HttpError",
    "HttpServer",
    "HttpSettings",
    "Request",
    "Router",
    "TlsSettings",
]
