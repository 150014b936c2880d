"""Pictures over HTTP: single ones (JPEG) and moving ones (MJPEG), at the addresses users know."""

from appliance.services.pictures.service import Pictures, create
from appliance.services.pictures.settings import Settings

__all__ = ["Pictures", "Settings", "create"]
