"""`[[forward]]`"""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from appliance.errors import ConfigError
from appliance.services.forward.destination import check_template

MAX_DESTINATIONS = 16  # of one rule; each costs its own uplink


def check_backend(url: str) -> None:
    """Raises: ConfigError."""
    if url and not url.startswith(("http://", "https://")):
        raise ConfigError("write http://host/path or https://host/path")


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """Of rtmps:// destinations. ca: a file with their authorities, in place of the system's;
    insecure: take any certificate."""

    ca: str = ""
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """stream: patterns of names, with commas between them.

    to: addresses in which {device}, {app} and {stream} are replaced; backend: who is asked for
    them when somebody publishes, in place of `to`. fail_over: to one of them, and to the next when
    it fails; else to all.
    max_backlog_us: when a destination is further behind, it is brought to the newest keyframe.
    """

    stream: str = "live/*"
    to: tuple[str, ...] = field(
        default=(), repr=False, metadata={"check": check_template, "secret": True}
    )
    backend: str = field(default="", repr=False, metadata={"check": check_backend, "secret": True})
    fail_over: bool = False
    enabled: bool = True
    tls: TlsOptions = field(default_factory=TlsOptions)
    max_backlog_us: int = field(
        default=3_000_000,
        metadata={"key": "max_backlog", "unit": "duration", "min": 200_000, "max": 10_000_000},
    )

    def __post_init__(self) -> None:
        if len(self.to) > MAX_DESTINATIONS:
            raise ConfigError(f"to has {len(self.to)} addresses, at most {MAX_DESTINATIONS} go")
        if bool(self.to) == bool(self.backend):
            raise ConfigError("give addresses in `to`, or a backend that names them")

    def matches(self, name: str) -> bool:
        patterns = (pattern.strip() for pattern in self.stream.split(","))
        return any(fnmatchcase(name, pattern) for pattern in patterns)


Settings = tuple[Rule, ...]
