"""Pulling: streams fetched from other servers by RTMP, RTSP and HTTP-FLV."""

from appliance.services.pull.service import create
from appliance.services.pull.settings import Settings

__all__ = ["Settings", "create"]
