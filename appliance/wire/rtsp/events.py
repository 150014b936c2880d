"""What a peer asks of an RTSP server, and what arrives at it."""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.wire.rtsp.interleaved import Frames
from appliance.wire.rtsp.target import Target
from appliance.wire.rtsp.transport import Transport


@dataclass(frozen=True, slots=True)
class Asked:
    """A question; `method`, `url` and `authorization` are what credentials are checked against.

    target: with the query that the session began with, as clients leave it out later on.

    agent: what the peer calls itself.
    """

    method: str
    url: str = field(repr=False)  # its query may hold a key
    target: Target
    authorization: str = field(default="", repr=False)
    agent: str = ""


@dataclass(frozen=True, slots=True)
class DescribeAsked(Asked):
    """Answer by `answer_describe`."""


@dataclass(frozen=True, slots=True)
class AnnounceAsked(Asked):
    """Answer by `accept_announce`."""

    sdp: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class SetupAsked(Asked):
    """Answer by `accept_setup` with one of `transports`, which are possible and in the peer's
    order; channels that another track has are replaced.
    """

    transports: tuple[Transport, ...] = ()

    @property
    def control(self) -> str:
        """Of the track, relative to what was described or announced; empty if it is all of it."""
        return self.target.control


@dataclass(frozen=True, slots=True)
class PlayAsked(Asked):
    """Answer by `accept_play`. range: as it came; what is live has but one.

    is_resumed: after PAUSE, or once more while playing.
    """

    range: str = ""
    is_resumed: bool = False


@dataclass(frozen=True, slots=True)
class RecordAsked(Asked):
    """Answer by `accept_record`."""


@dataclass(frozen=True, slots=True)
class Paused:
    """No packets please, until it plays again. Answered already."""


@dataclass(frozen=True, slots=True)
class TornDown:
    """The session is over; the connection may begin another. Answered already."""


Question = DescribeAsked | AnnounceAsked | SetupAsked | PlayAsked | RecordAsked
Event = Question | Paused | TornDown | Frames
