"""RTSP and RTSPS: play from the device, publish to it."""

from appliance.services.rtsp.service import create
from appliance.services.rtsp.settings import Settings

__all__ = ["Settings", "create"]
