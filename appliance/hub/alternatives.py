"""Other forms of a stream's sound, for viewers whose container has none for the one it came in.

Theory of operation: a `Bridge` says which forms it could make of a sound. The first rendition that
needs one makes an `Alternative`, which stands in the place of the native track in what that
rendition's muxer is told; its description is known before its first unit is, so nobody starts
again when sound arrives. Viewers of the rendition are viewers of the alternative, and that is what
keeps somebody making its units. They have a ring of their own: cursors over the stream's units
never meet them, and old ones that come late push nothing out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from appliance.hub.demand import Demand
from appliance.hub.ring import Ring
from appliance.hub.stats import TrackStats
from appliance.media.track import Codec, CodecConfig, Kind, Track
from appliance.media.unit import AccessUnit

if TYPE_CHECKING:
    from appliance.hub.stream import Stream

CATCH_UP_US = (
    300_000  # sound this much older than the newest has caught up: encoders hold some back
)
MAX_BYTES = 4 << 20  # of one form; the ring of units has its past in seconds


class Bridge(Protocol):
    """Who makes other forms."""

    def offers(self, native: Track) -> Sequence[Track]:
        """What could be made of this sound, the usual first; cheap and always the same."""
        ...

    def begin(self, stream: Stream, alternative: Alternative) -> Callable[[], object]:
        """Make this one, whenever there is demand for it, until what is returned is called."""
        ...


@runtime_checkable
class Choosy(Protocol):
    """A muxer that may need sound in another form; others are given what there is."""

    def takes(self, config: CodecConfig) -> bool:
        """Whether sound of this kind needs no other form."""
        ...


class Alternative:
    """One other form of one sound.

    is_missing: it could not be made for too long; renditions go on without it.
    """

    def __init__(self, stream: Stream, native: Track, track: Track) -> None:
        limits = stream.limits
        self.native = native
        self.track = track
        self.demand = Demand(stream.clock, stream.demand)
        self.stats = TrackStats()
        self.is_missing = False
        self.closed = False
        self.end: Callable[[], object] | None = None
        self.units: Ring[AccessUnit] = Ring(
            max_bytes=MAX_BYTES, max_duration_us=limits.units_us, keep_us=limits.units_keep_us
        )

    @property
    def newest_us(self) -> int | None:
        return self.units.items[-1].dts_us if self.units.items else None

    async def wait_until(self, dts_us: int) -> None:
        """Returns once there are units until then, or none will come."""
        while not self.closed and not self.is_missing and (self.newest_us or 0) < dts_us:
            await self.units.signal.wait()

    def close(self) -> None:
        self.closed = True
        if self.end is not None:
            self.end()
        self.units.close()


@dataclass(frozen=True, slots=True)
class Choice:
    """What one muxer is to be told: the tracks, and the alternative among them, if there is one."""

    tracks: tuple[Track, ...]
    alternative: Alternative | None = None


class Alternatives:
    """Those of one stream; at most one per codec that the bridge offers."""

    def __init__(self, stream: Stream) -> None:
        self.bridge: Bridge | None = None
        self.by_codec: dict[Codec, Alternative] = {}
        self._stream = stream

    def choose(self, muxer: object) -> Choice:
        """The native sound wherever it can be carried, else the first form that can."""
        tracks = self._stream.tracks
        sounds = [track for track in tracks if track.kind is Kind.AUDIO]
        if self.bridge is None or not sounds or not isinstance(muxer, Choosy):
            return Choice(tracks)
        if any(muxer.takes(track.config) for track in sounds):
            return Choice(tracks)
        native = sounds[0]
        offered = next((t for t in self.bridge.offers(native) if muxer.takes(t.config)), None)
        if offered is None:
            return Choice(tracks)
        alternative = self._find(native, offered)
        if alternative.is_missing:
            return Choice(tracks, alternative)
        track = alternative.track
        return Choice(tuple(track if one is native else one for one in tracks), alternative)

    def _find(self, native: Track, offered: Track) -> Alternative:
        alternative = self.by_codec.get(offered.codec)
        if alternative is None:
            alternative = Alternative(self._stream, native, offered)
            self.by_codec[offered.codec] = alternative
            assert self.bridge is not None
            alternative.end = self.bridge.begin(self._stream, alternative)
        return alternative

    def renew(self) -> None:
        """The stream's tracks have changed: what is no form of any of them goes."""
        tracks = {track.id: track for track in self._stream.tracks}
        for codec, alternative in list(self.by_codec.items()):
            native = tracks.get(alternative.native.id)
            if native is None or native.config != alternative.native.config:
                self._drop(codec)
            else:
                alternative.native = native

    def past(self, alternative: Alternative, since_us: int) -> list[AccessUnit]:
        """What is held from then on, in order."""
        newest_first = reversed(alternative.units.items)
        return list(takewhile(lambda unit: unit.dts_us >= since_us, newest_first))[::-1]

    def sweep(self, grace_us: int) -> None:
        """Drop what nobody has listened to for so long."""
        for codec, alternative in list(self.by_codec.items()):
            if alternative.demand.is_idle_for(grace_us):
                self._drop(codec)

    def _drop(self, codec: Codec) -> None:
        self.by_codec.pop(codec).close()

    def close(self) -> None:
        for codec in list(self.by_codec):
            self._drop(codec)
