"""What the settings ask for that cannot be done to a stream that is passed on as it is."""

from __future__ import annotations

from appliance.capture.options import Options

ENCODING = frozenset({"libx264", "h264_v4l2m2m"})  # settings that name an encoder of ours


def left_to_viewers(options: Options) -> int:
    """How far viewers must turn the picture, whether it is passed or encoded."""
    return options.rotation if options.rotate == "flag" and options.rotation != 180 else 0


def must_encode(options: Options) -> bool:
    """A privacy mask is never left out to save an encoder."""
    turns = options.rotation != 0 and left_to_viewers(options) == 0
    return bool(options.masks) or options.overlay.shown or turns or options.encoder in ENCODING
