"""What was learned of a camera, for the next connection to it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from appliance.media.track import Kind

FORGIVEN_FAULTS = 2  # of sound: a microphone that is off shall not cost the picture


class Way(StrEnum):
    """How packets of media come."""

    TCP = "tcp"
    UDP = "udp"
    MULTICAST = "multicast"
    HTTP = "http"


AUTO = (Way.TCP, Way.UDP)  # TCP first: nearly all have it, and nothing gets lost


@dataclass(slots=True)
class Notes:
    """tried: the way of the newest attempt; good: the one that brought media last.

    faults: by kind of track, how often it was promised and did not come.
    """

    tried: Way | None = None
    good: Way | None = None
    faults: Counter[Kind] = field(default_factory=Counter)

    def ways(self, transport: str, *, is_tls: bool) -> tuple[Way, ...]:
        """In the order to try them. transport: as configured.

        By TLS there is only its own connection: what comes by UDP everybody can read.
        """
        if transport != "auto":
            return (Way(transport),)
        if is_tls:
            return (Way.TCP,)
        if self.good is not None:
            return (self.good, *(way for way in AUTO if way is not self.good))
        if self.tried is not None:
            return (*(way for way in AUTO if way is not self.tried), self.tried)
        return AUTO

    def is_forgiven(self, kind: Kind) -> bool:
        """Whether a session goes on without tracks of this kind."""
        return kind is Kind.AUDIO and self.faults[kind] >= FORGIVEN_FAULTS
