"""HTTP Live Streaming: live streams as playlists of short segments (RFC 8216)."""

from appliance.services.hls.service import Hls, create
from appliance.services.hls.settings import HlsFormat, Settings

__all__ = ["Hls", "HlsFormat", "Settings", "create"]
