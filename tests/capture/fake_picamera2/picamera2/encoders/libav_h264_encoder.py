from __future__ import annotations

from typing import Any

from .encoder import Encoder


class LibavH264Encoder(Encoder):
    def __init__(
        self,
        bitrate: int | None = None,
        repeat: bool = True,
        iperiod: int = 30,
        framerate: int = 30,
        qp: int | None = None,
        profile: str | None = None,
    ) -> None:
        super().__init__()
        self.bitrate, self.iperiod, self.framerate = bitrate, iperiod, framerate
        self.profile = profile
        self.threads = 0

    def _encode(self, stream: str, request: Any) -> None:
        if self._key_frames_requested > self._key_frames_generated:
            raise TypeError("an integer is required")  # as the real one does with av 14 and later
        for data, key, timestamp in self._packets(stream, request):
            self.outputframe(data, key, timestamp)

    def force_key_frame(self) -> None:
        self._key_frames_requested += 1
