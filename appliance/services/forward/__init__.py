"""Forwarding: hands streams on to other servers by RTMP."""

from appliance.services.forward.service import create
from appliance.services.forward.settings import Settings

__all__ = ["Settings", "create"]
