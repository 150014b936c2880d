"""WebRTC: players and publishers (WHEP, WHIP, SRS's older API), all behind one port.

Nothing of OpenSSL is loaded before the first session: see `service`.
"""

from appliance.services.webrtc.service import create
from appliance.services.webrtc.settings import Settings

__all__ = ["Settings", "create"]
