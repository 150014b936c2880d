"""`[camera]`: what holds for all local sources."""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.services.camera.ladder import Bounds

MIN_STEP_US = 100_000


@dataclass(frozen=True, slots=True)
class Settings:
    """What a stream shows is in its own `[[stream]]`.

    open: until the first picture. The next four: how long pictures, or keyframes, may be missing
    before a keyframe is asked for, the encoder started anew, the camera opened anew, the worker
    killed. rounds: so many kills without one good minute, and the service's own watchdog acts;
    0 is never. nice: how much the workers stand back behind the server.
    """

    open_us: int = field(
        default=15_000_000, metadata={"key": "open", "unit": "duration", "min": 1_000_000}
    )
    keyframe_after_us: int = field(
        default=2_000_000,
        metadata={"key": "keyframe_after", "unit": "duration", "min": MIN_STEP_US},
    )
    encoder_after_us: int = field(
        default=4_000_000,
        metadata={"key": "encoder_after", "unit": "duration", "min": MIN_STEP_US},
    )
    reopen_after_us: int = field(
        default=7_000_000, metadata={"key": "reopen_after", "unit": "duration", "min": MIN_STEP_US}
    )
    stall_us: int = field(
        default=10_000_000, metadata={"key": "stall", "unit": "duration", "min": 500_000}
    )
    rounds: int = field(default=20, metadata={"max": 1_000_000})
    nice: int = field(default=5, metadata={"max": 19})

    @property
    def bounds(self) -> Bounds:
        return Bounds(
            self.keyframe_after_us, self.encoder_after_us, self.reopen_after_us, self.stall_us
        )
