"""Live streams as one endless HTTP response, or over WebSocket: FLV, MPEG-TS, AAC."""

from appliance.services.httpflv.service import create
from appliance.services.httpflv.settings import Settings

__all__ = ["Settings", "create"]
