"""`[pull]`: streams fetched from other servers."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Settings:
    """open_us: from connecting to the first media. silence_us: without media, and it is tried
    anew. ca: a PEM file of authorities, instead of the system's. insecure: any certificate will do.
    """

    open_us: int = field(
        default=10_000_000, metadata={"key": "open", "unit": "duration", "min": 1_000_000}
    )
    silence_us: int = field(
        default=5_000_000, metadata={"key": "silence", "unit": "duration", "min": 500_000}
    )
    ca: str = ""
    insecure: bool = False
