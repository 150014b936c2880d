"""Motion JPEG: its size and nothing else, for every picture is a whole JFIF file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from appliance.errors import PeerError
from appliance.media.track import Codec, Kind

MAX_SIDE_PX = 65_535  # SOF has 16 bits (ITU-T T.81 B.2.2)


@dataclass(frozen=True, slots=True)
class MjpegConfig:
    """A unit has one part, the file from SOI to EOI, and is key. Raises: PeerError without size."""

    kind: ClassVar[Kind] = Kind.VIDEO
    codec: ClassVar[Codec] = Codec.MJPEG
    width_px: int
    height_px: int

    def __post_init__(self) -> None:
        if not 1 <= self.width_px <= MAX_SIDE_PX or not 1 <= self.height_px <= MAX_SIDE_PX:
            raise PeerError(f"a JPEG picture of {self.width_px}x{self.height_px}")

    @property
    def rfc6381(self) -> str:
        """The object type of JPEG in MP4 (mp4ra.org)."""
        return "mp4v.6C"
