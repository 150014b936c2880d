"""`[pictures]`"""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_FPS = 30
CROSS_ORIGIN = "Access-Control-Allow-Origin: *\r\n"


@dataclass(frozen=True, slots=True)
class Settings:
    """quality, fps: for who does not ask for others.

    max_fps: pictures that a camera makes in a second for all who ask, together; it bounds what
        strangers can make a board encode.
    viewers: of moving pictures at once. shapes: sizes, qualities and rates of them at once.
    stall_us: how long a viewer may take nothing of what is sent to it.
    public: other sites' pages may read the pictures (CORS), not only show them.
    """

    quality: int = field(default=80, metadata={"min": 1, "max": 100})
    fps: int = field(default=5, metadata={"min": 1, "max": MAX_FPS})
    max_fps: int = field(default=MAX_FPS, metadata={"min": 1, "max": 60})
    viewers: int = field(default=64, metadata={"min": 1, "max": 500})
    shapes: int = field(default=8, metadata={"min": 1, "max": 64})
    stall_us: int = field(
        default=10_000_000, metadata={"key": "stall", "unit": "duration", "min": 1_000_000}
    )
    public: bool = False

    @property
    def fields(self) -> str:
        """Header lines of every picture."""
        return CROSS_ORIGIN if self.public else ""
