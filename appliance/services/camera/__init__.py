"""Local sources: one capture worker process per configured stream, watched and restarted.

Schemes: ``pattern:`` ``v4l2:DEVICE`` ``picamera2:N`` ``file:PATH`` ``av:URL``; what they mean is
the worker's business. ``camera:NAME/sub`` is the second stream of one of these.
"""

from appliance.services.camera.service import create
from appliance.services.camera.settings import Settings

__all__ = ["Settings", "create"]
