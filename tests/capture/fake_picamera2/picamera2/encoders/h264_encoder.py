from __future__ import annotations

from .. import stage
from .v4l2_encoder import V4L2Encoder


class H264Encoder(V4L2Encoder):
    def __init__(
        self,
        bitrate: int | None = None,
        repeat: bool = True,
        iperiod: int | None = None,
        framerate: int | None = None,
        enable_sps_framerate: bool = False,
        qp: int | None = None,
        profile: str | None = None,
    ) -> None:
        super().__init__(bitrate, 0)
        self.iperiod, self.framerate, self.profile = iperiod, framerate or 30, profile

    if not stage.settings["no_force"]:

        def force_key_frame(self) -> None:
            stage.note("force", stream=self.name)
            self._key_frames_requested += 1
