"""RTMP and RTMPS: publish to the device, play from it."""

from appliance.services.rtmp.service import create
from appliance.services.rtmp.settings import Settings

__all__ = ["Settings", "create"]
