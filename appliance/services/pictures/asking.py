"""What a query asks of a picture, in the words of the programs that ask.

``width`` and ``w`` (go2rtc), ``quality``, ``fps``. A height is not read, because pictures keep
their shape; neither is what is unknown, such as the changing number that pages put behind an
address against caches.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from appliance.errors import PeerError
from appliance.hub.cameras import MAX_WIDTH_PX
from appliance.services.pictures.settings import MAX_FPS

MIN_WIDTH_PX = 16
_NUMBER = re.compile(r"[0-9]{1,6}\Z", re.ASCII)

# Rates that viewers share, so that many different wishes are few encodings.
RATES = (1, 2, 5, 10, 15, 20, 25, 30)


def read_width(query: Mapping[str, str]) -> int:
    """In pixels, 0 for the stream's own. Raises: PeerError."""
    for name in ("width", "w"):
        if name in query:
            return _number(query, name, MIN_WIDTH_PX, MAX_WIDTH_PX)
    return 0


def read_quality(query: Mapping[str, str], default: int) -> int:
    """Raises: PeerError."""
    return _number(query, "quality", 1, 100) if "quality" in query else default


def read_fps(query: Mapping[str, str], default: int) -> int:
    """The next lower of RATES. Raises: PeerError."""
    asked = _number(query, "fps", 1, MAX_FPS) if "fps" in query else default
    return max(rate for rate in RATES if rate <= asked)


def check_rotate(query: Mapping[str, str]) -> None:
    """Raises: PeerError rather than showing the picture another way than asked."""
    if query.get("rotate", "0") != "0":
        raise PeerError("rotate is not for the asker: set rotation in the stream's configuration")


def _number(query: Mapping[str, str], name: str, least: int, most: int) -> int:
    value = int(query[name]) if _NUMBER.match(query[name]) else -1
    if not least <= value <= most:
        raise PeerError(f"{name} is a whole number from {least} to {most}")
    return value
