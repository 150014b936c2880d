"""Local sources: one capture worker process per configured stream, watched and restarted.

Schemes: ``pattern:`` ``file:PATH`` ``av:URL``; what they mean is the worker's business.
"""

from appliance.services.camera.service import Settings, create

__all__ = ["Settings", "create"]
