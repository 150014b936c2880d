"""H264Encoder is the hardware's, or another name of libav's, as on the board that is played."""

from ..stage import settings
from .encoder import Encoder
from .libav_h264_encoder import LibavH264Encoder

if settings["hardware"]:
    from .h264_encoder import H264Encoder
else:
    from .libav_h264_encoder import LibavH264Encoder as H264Encoder

__all__ = ["Encoder", "H264Encoder", "LibavH264Encoder"]
