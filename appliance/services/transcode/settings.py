"""`[transcode]`: sound encoded anew for viewers who cannot have it as it is."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Settings:
    """workers: sounds encoded at once; 0 for none, ever. aac_bps, opus_bps: of each channel.

    close_us: a worker ends so long after the last listener. nice: how much the workers stand back
    behind the server.
    """

    workers: int = field(default=4, metadata={"max": 64})
    aac_bps: int = field(
        default=64_000, metadata={"key": "aac", "unit": "bps", "min": 16_000, "max": 256_000}
    )
    opus_bps: int = field(
        default=48_000, metadata={"key": "opus", "unit": "bps", "min": 8_000, "max": 256_000}
    )
    close_us: int = field(default=10_000_000, metadata={"key": "close", "unit": "duration"})
    nice: int = field(default=2, metadata={"max": 19})
