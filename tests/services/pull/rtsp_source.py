"""Cameras as sources, and what is told of them."""

from __future__ import annotations

import json
from typing import Any

from fault_camera import FaultCamera
from relay_site import Place, pulled

from appliance.services.contract import RtspSettings, StreamSettings
from appliance.services.pull import Settings
from appliance.services.pull.service import PullService

QUICK = Settings(open_us=400_000, silence_us=400_000)


def from_camera(
    camera: FaultCamera, transport: str = "tcp", *, login: str = "", host: str = "", **more: Any
) -> StreamSettings:
    """host: what it is called, if not by its address."""
    return pulled(camera.url(login=login, host=host), rtsp=RtspSettings(transport), **more)


def told(at: Place) -> str:
    """Everything that the API could show."""
    rows = at.service(PullService).report()
    seen = [(one.url, one.peer_ip, one.user_agent) for one in at.context.sessions.active.values()]
    return json.dumps([rows, seen])


def last_error(at: Place) -> str:
    return str(at.service(PullService).report()[0]["last_error"])
