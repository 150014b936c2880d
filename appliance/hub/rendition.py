"""One form of a stream, muxed once and shared by all its viewers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from appliance.errors import ApplianceError
from appliance.hub.alternatives import Alternative, Choice
from appliance.hub.clock import Clock
from appliance.hub.demand import Demand
from appliance.hub.ring import Ring
from appliance.hub.subscription import DEFAULT_MAX_LAG_US, Start, Subscription
from appliance.media.track import Track
from appliance.media.unit import AccessUnit, Chunk

log = logging.getLogger(__name__)


class Muxer(Protocol):
    """Turns units into chunks of one container.

    One that may need sound in another form than it came in says so by `takes`
    (hub/alternatives.py).
    """

    def header(self, tracks: Sequence[Track]) -> bytes:
        """Describe the tracks of what follows; called first, and again whenever they change.

        Raises: CodecUnsupported if none of them can be carried. Tracks that cannot are left out
        and their units ignored.
        """
        ...

    def feed(self, unit: AccessUnit) -> list[Chunk]:
        """The chunks that this unit completes, often none."""
        ...

    def flush(self) -> list[Chunk]:
        """What is left: the source paused, ended or changed its tracks."""
        ...


MuxerFactory = Callable[[], Muxer]


class Rendition:
    """A muxer with the ring of what it made. A fault of the muxer ends the rendition, no more.

    tracks: as the muxer was told them; alternative: the sound among them that is not native.
    patience_us: asked for how long what comes now may wait, for all its viewers; set by whom they
        are served by, None if they want everything at once.
    """

    __slots__ = (
        *("alternative", "demand", "error", "header", "muxer", "name", "patience_us", "ring"),
        "tracks",
    )

    def __init__(
        self,
        name: str,
        muxer: Muxer,
        *,
        clock: Clock,
        parent: Demand,
        max_bytes: int,
        max_duration_us: int,
    ) -> None:
        self.name = name
        self.muxer = muxer
        self.ring: Ring[Chunk] = Ring(max_bytes=max_bytes, max_duration_us=max_duration_us)
        self.demand = Demand(clock, parent)
        self.header = b""
        self.tracks: tuple[Track, ...] = ()
        self.alternative: Alternative | None = None
        self.error: ApplianceError | None = None
        self.patience_us: Callable[[], int] | None = None

    def describe(self, choice: Choice) -> None:
        """New track descriptions. Raises: CodecUnsupported if the container carries none."""
        self._extend(self.muxer.flush())
        self.tracks, self.alternative = choice.tracks, choice.alternative
        self.header = self.muxer.header(choice.tracks)

    def feed(self, unit: AccessUnit) -> None:
        self._extend(self.muxer.feed(unit))

    def flush(self) -> None:
        self._extend(self.muxer.flush())

    def _extend(self, chunks: list[Chunk]) -> None:
        for chunk in chunks:
            self.ring.append(chunk)

    def subscribe(
        self, start: Start = Start.LAST_KEY, *, max_lag_us: int = DEFAULT_MAX_LAG_US
    ) -> Subscription[Chunk]:
        """A cursor; whoever uses it also counts itself in `demand`."""
        return Subscription(self.ring, start, max_lag_us=max_lag_us)

    def fail(self, error: ApplianceError) -> None:
        self.error = error
        self.close()

    def close(self) -> None:
        self.ring.close()
