"""Sound in another form for who cannot have it as it is: G.711, L16 and MP3 as AAC or Opus, AAC
and Opus as each other."""

from appliance.services.transcode.service import create
from appliance.services.transcode.settings import Settings

__all__ = ["Settings", "create"]
