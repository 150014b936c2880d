"""One live stream: its tracks, the ring of its units, its renditions and its figures."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import dropwhile
from typing import ParamSpec, TypeVar

from appliance.errors import ApplianceError, CodecUnsupported, LimitExceeded, StreamNotFound
from appliance.hub.alternatives import CATCH_UP_US, Alternative, Alternatives
from appliance.hub.clock import Clock
from appliance.hub.demand import Demand
from appliance.hub.publisher import Publisher
from appliance.hub.rendition import MuxerFactory, Rendition
from appliance.hub.ring import Ring, Timed
from appliance.hub.signal import Signal
from appliance.hub.stats import TrackStats
from appliance.hub.subscription import DEFAULT_MAX_LAG_US, Start, Subscription
from appliance.media.track import Kind, Track
from appliance.media.unit import AccessUnit

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T", bound=Timed)

MAX_STREAMS = 64
SOUND_WAIT_S = 2.0  # for sound that is to be encoded anew; it comes later if it cannot by then
MAX_PATIENCE_US = 100_000  # while nobody watches
CLOCK_STEP_US = 500_000  # a wall clock that moved more than this has been set, not slewed
TOLD_STEP_US = 10_000  # a sender's clock that drifted so far from its stamps is followed
MAX_TOLD_DISTANCE_US = 60_000_000  # of a sender's clock from ours; what is beyond, nobody set
FIRST_TRUE_UNIX_US = 1_577_836_800_000_000  # 2020-01-01: our own clock says less until it is set


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the hub; each says whom it defends against."""

    max_streams: int = MAX_STREAMS  # publishers with ever new names
    max_unit_bytes: int = 4 << 20  # an access unit whose end never comes
    units_bytes: int = 8 << 20  # a stream of any bitrate and keyframe interval
    units_us: int = 12_000_000  # a stream of any bitrate and keyframe interval
    units_keep_us: int = 8_000_000  # the past of a new rendition: three HLS segments of 2 s
    unwatched_bytes: int = 128 << 20  # of all streams that nobody watches: many publishers
    rendition_bytes: int = 8 << 20
    rendition_us: int = 12_000_000
    rendition_keep_us: int = 4_000_000  # a cursor's lag before it jumps, and some more
    max_renditions: int = 16  # requests for ever new forms of one stream
    rendition_grace_us: int = 30_000_000  # how long an unwatched rendition is kept
    linger_us: int = 10_000_000  # how long viewers wait for a publisher that left


@dataclass(frozen=True, slots=True)
class Anchor:
    """dts_us happened at unix_us; the one mapping from media time to wall time."""

    dts_us: int
    unix_us: int
    is_told: bool = False  # by the sender

    def unix_us_at(self, dts_us: int) -> int:
        return self.unix_us + dts_us - self.dts_us


def has_stepped(before: Anchor | None, after: Anchor | None) -> bool:
    """Whether dates by the two are not to be compared; a little more or less is no step."""
    if before is None or after is None:
        return before is not after
    return abs(before.unix_us_at(after.dts_us) - after.unix_us) > CLOCK_STEP_US


def _is_near(told_us: int, arrived_us: int, unix_us: int) -> bool:
    """Whether a sender's clock is to be believed; a board's that was never set cannot judge."""
    return unix_us < FIRST_TRUE_UNIX_US or abs(told_us - arrived_us) <= MAX_TOLD_DISTANCE_US


class Stream:
    """Made by the hub; publishers and viewers come and go.

    permanent: a source is configured for it, so it exists while nobody publishes.
    """

    def __init__(self, name: str, clock: Clock, limits: Limits, *, permanent: bool = False) -> None:
        self.name = name
        self.clock = clock
        self.limits = limits
        self.permanent = permanent
        self.borrowed = False  # fetched from an origin for viewers; never handed back to it
        self.tracks: tuple[Track, ...] = ()
        self.has_video = False
        self.units: Ring[AccessUnit] = Ring(
            max_bytes=limits.units_bytes,
            max_duration_us=limits.units_us,
            keep_us=limits.units_keep_us,
        )
        self.renditions: dict[str, Rendition] = {}
        self.alternatives = Alternatives(self)
        self.publisher: Publisher | None = None
        self.demand = Demand(clock)
        self.changed = Signal()  # tracks described, publisher came or went, closed
        self.stats: dict[int, TrackStats] = {}
        self.anchor: Anchor | None = None
        self.newest_dts_us: int | None = None
        self.offline_since_us = clock.monotonic_us()
        self._past_us: int | None = None  # the stamp of the last unit of a publisher who has gone
        self.restarts = 0
        self.has_run = False  # there has been media
        self._readers = 0  # who say so by `reading`
        self.closed = False

    # -- the publisher's side ------------------------------------------------------------------

    def describe(self, tracks: tuple[Track, ...]) -> None:
        if len(tracks) == len(self.tracks) and all(
            new is old for new, old in zip(tracks, self.tracks, strict=True)
        ):
            return
        self.units.forget_keys()
        self.tracks = tracks
        self.has_video = any(track.kind is Kind.VIDEO for track in tracks)
        ids = {track.id for track in tracks}
        if self.placeholder:  # the figures of the media it stands for stay
            ids |= self.stats.keys()
        self.stats = {number: self.stats.get(number, TrackStats()) for number in ids}
        self.alternatives.renew()
        self._describe_renditions()
        self.changed.fire()

    def append(self, unit: AccessUnit, told_us: int | None = None) -> None:
        """told_us: the unit's Unix time by its sender, who may be wrong."""
        now_us = self.clock.monotonic_us()
        if not self.placeholder:
            self.stats[unit.track.id].count(unit, now_us)
            self.has_run = True
        if self.newest_dts_us is None or unit.dts_us > self.newest_dts_us:
            self.newest_dts_us = unit.dts_us
        if unit.key:
            self._check_anchor(unit, now_us, told_us)
        # A picture can only begin with a picture, so sound is a key where there is nothing else.
        key = unit.key and (unit.track.kind is Kind.VIDEO or not self.has_video)
        self.units.append(unit, key=key)
        for rendition in list(self.renditions.values()):
            self._guard(rendition, rendition.feed, unit)

    def append_alternative(self, alternative: Alternative, unit: AccessUnit) -> None:
        """One more unit of it, with stamps as those of its native units."""
        if alternative.closed:
            return
        alternative.stats.count(unit, self.clock.monotonic_us())
        alternative.units.append(unit)
        for rendition in list(self.renditions.values()):
            if rendition.alternative is alternative:
                self._guard(rendition, rendition.feed, unit)

    def tell_missing(self, alternative: Alternative, *, is_missing: bool) -> None:
        """Whether renditions shall go on without it."""
        if alternative.closed or alternative.is_missing is is_missing:
            return
        alternative.is_missing = is_missing
        alternative.units.signal.fire()
        self._describe_renditions()

    def _describe_renditions(self) -> None:
        for rendition in list(self.renditions.values()):
            self._guard(rendition, self._describe, rendition)

    def _describe(self, rendition: Rendition) -> None:
        """What there is of it, to its muxer; its viewers count for what is made for them."""
        choice = self.alternatives.choose(rendition.muxer)
        parent = self.demand if choice.alternative is None else choice.alternative.demand
        rendition.demand.move(parent)
        rendition.describe(choice)

    def _check_anchor(self, unit: AccessUnit, now_us: int, told_us: int | None) -> None:
        """Wall time of the timeline: by its sender, if that is near to ours, else by arrival.

        Made once, and re-based only when a clock is set: by arrival there is jitter, and by two
        clocks, drift. What a sender told stays when it tells no more, as after connecting anew.
        """
        unix_us = self.clock.unix_us()
        arrived_us = unix_us - now_us + unit.dts_us
        if told_us is not None and _is_near(told_us, arrived_us, unix_us):
            anchor, here_us, step_us = Anchor(unit.dts_us, told_us, True), told_us, TOLD_STEP_US
        else:
            anchor, here_us, step_us = Anchor(unit.dts_us, arrived_us), arrived_us, CLOCK_STEP_US
        old = self.anchor
        if old is not None and old.is_told >= anchor.is_told:
            then_us = old.unix_us_at(unit.dts_us)
            is_kept = abs(then_us - here_us) <= step_us
            if is_kept or (old.is_told > anchor.is_told and _is_near(then_us, here_us, unix_us)):
                return
        self.anchor = anchor

    def release(self, publisher: Publisher) -> None:
        if self.publisher is not publisher:
            return
        self.publisher = None
        self.offline_since_us = self.clock.monotonic_us()
        self._past_us = self.newest_dts_us
        for rendition in list(self.renditions.values()):
            self._guard(rendition, rendition.flush)
        self.changed.fire()

    def _guard(
        self, rendition: Rendition, action: Callable[P, None], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """A rendition's outermost frame: its fault is its viewers' alone, never the publisher's."""
        try:
            action(*args, **kwargs)
        except ApplianceError as error:
            log.warning("%s: rendition %s ends: %s", self.name, rendition.name, error)
            self._drop(rendition, error)
        except Exception:
            log.exception("%s: rendition %s ends by a fault of ours", self.name, rendition.name)
            self._drop(rendition, CodecUnsupported("internal fault, see the log"))

    def _drop(self, rendition: Rendition, error: ApplianceError | None = None) -> None:
        if error is None:
            rendition.close()
        else:
            rendition.fail(error)
        if self.renditions.get(rendition.name) is rendition:
            del self.renditions[rendition.name]

    # -- the viewers' side ---------------------------------------------------------------------

    def subscribe(
        self, start: Start = Start.LAST_KEY, *, max_lag_us: int = DEFAULT_MAX_LAG_US
    ) -> Subscription[AccessUnit]:
        """A cursor over units; whoever uses it also counts itself, in `demand` or by `reading`."""
        return Subscription(self.units, start, max_lag_us=max_lag_us)

    def rendition(self, name: str, make_muxer: MuxerFactory) -> Rendition:
        """The shared rendition of this name, made now if it is the first call.

        What the unit ring holds from its oldest key on is muxed at once, so a new rendition
        starts with a past. Raises: CodecUnsupported, LimitExceeded, StreamNotFound (no tracks yet:
        `await wait_tracks()` first).
        """
        existing = self.renditions.get(name)
        if existing is not None:
            return existing
        self._check_room()
        rendition = Rendition(
            name,
            make_muxer(),
            clock=self.clock,
            parent=self.demand,
            max_bytes=self.limits.rendition_bytes,
            max_duration_us=self.limits.rendition_us,
        )
        self._describe(rendition)
        for unit in self._past(rendition.alternative):
            rendition.feed(unit)
        if self.publisher is None:
            rendition.flush()  # nothing will follow to end the last chunk
        # From the next unit on; whoever asked for the rendition takes the past before that.
        rendition.ring.keep_us = self.limits.rendition_keep_us
        self.renditions[name] = rendition
        return rendition

    def _check_room(self) -> None:
        if self.closed or not self.tracks:
            raise StreamNotFound(f"{self.name} has no media yet")
        if len(self.renditions) >= self.limits.max_renditions:
            raise LimitExceeded(f"{self.name} is already muxed in {len(self.renditions)} forms")

    def _past(self, alternative: Alternative | None) -> Iterable[AccessUnit]:
        """From the oldest key on; sound may go before the first picture."""
        past = self.units.since(self.units.fresh)
        past = list(dropwhile(lambda unit: not unit.key, past))
        if alternative is not None and past:
            past += self.alternatives.past(alternative, past[0].dts_us)
            past.sort(key=lambda unit: unit.dts_us)
        return past

    def check_rendition(self, name: str, make_muxer: MuxerFactory) -> None:
        """Raises: what `rendition` would; nothing is made."""
        if name not in self.renditions:
            self._check_room()
            muxer = make_muxer()
            muxer.header(self.alternatives.choose(muxer).tracks)

    async def open_rendition(self, name: str, make_muxer: MuxerFactory) -> Rendition:
        """As `rendition`; sound that is encoded anew for it has a moment to catch up before."""
        if name not in self.renditions and self.tracks and not self.closed:
            alternative = self.alternatives.choose(make_muxer()).alternative
            if alternative is not None:
                with suppress(TimeoutError), alternative.demand.viewer():
                    async with asyncio.timeout(SOUND_WAIT_S):
                        await alternative.wait_until(self._newest_us(alternative.native))
        return self.rendition(name, make_muxer)

    def _newest_us(self, native: Track) -> int:
        """When its alternative has caught up."""
        newest_first = reversed(self.units.items)
        newest = next((unit for unit in newest_first if unit.track.id == native.id), None)
        return 0 if newest is None else newest.dts_us - CATCH_UP_US

    @property
    def is_unwatched(self) -> bool:
        return not self.demand.viewers and not self._readers

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Somebody wants each unit at once, and is no viewer."""
        self._readers += 1
        try:
            yield
        finally:
            self._readers -= 1

    def patience_us(self) -> int:
        """For how long a publisher may leave unread what comes now, before anybody misses it.

        Reading seldom is reading much at a time, which costs a fraction.
        """
        watched = [one for one in self.renditions.values() if one.demand.viewers]
        if self._readers or self.demand.viewers > sum(one.demand.viewers for one in watched):
            return 0
        least_us = MAX_PATIENCE_US
        for rendition in watched:
            asked = rendition.patience_us
            least_us = min(least_us, 0 if asked is None else asked())
        return least_us

    async def wait_tracks(self) -> Sequence[Track]:
        """The tracks, once described and published. Raises: StreamNotFound when the stream ends."""
        while not self.tracks or (self.publisher is None and not self.units.items):
            if self.closed:
                raise StreamNotFound(f"{self.name} has ended")
            await self.changed.wait()
        return self.tracks

    def place_to_join(self, ring: Ring[T]) -> int:
        """Where who comes now begins in the units or a rendition: at the newest key, or else with
        the next one. What a publisher left behind who has gone is no picture of the present, and
        may be hours old where the source runs on demand."""
        key = ring.last_key()
        if key is None or (self._past_us is not None and ring[key].dts_us <= self._past_us):
            return ring.next
        return key

    def request_keyframe(self) -> bool:
        """Ask a local encoder for a keyframe because a viewer joined."""
        return self.publisher is not None and self.publisher.request_keyframe()

    # -- figures and housekeeping --------------------------------------------------------------

    @property
    def placeholder(self) -> str:
        """What the picture says that is shown in place of media; empty while there is media."""
        return self.publisher.placeholder if self.publisher is not None else ""

    @property
    def is_live(self) -> bool:
        """Whether media is published; a placeholder is none."""
        return self.publisher is not None and not self.publisher.placeholder

    def last_unit_us(self) -> int | None:
        """When the newest unit came of the track that matters (video if there is any)."""
        stamps = [
            self.stats[track.id].last_unit_us
            for track in self.tracks
            if track.kind is Kind.VIDEO or not self.has_video
        ]
        return max((stamp for stamp in stamps if stamp is not None), default=None)

    def last_unit_age_us(self) -> int | None:
        """Its age."""
        newest_us = self.last_unit_us()
        return None if newest_us is None else self.clock.monotonic_us() - newest_us

    def sweep(self) -> None:
        """Drop what nobody watches any more."""
        for rendition in list(self.renditions.values()):
            if rendition.demand.is_idle_for(self.limits.rendition_grace_us):
                self._drop(rendition)
        self.alternatives.sweep(self.limits.rendition_grace_us)

    def is_stale(self) -> bool:
        """Nobody publishes, nothing is configured to, and viewers have waited long enough."""
        waited_us = self.clock.monotonic_us() - self.offline_since_us
        return self.publisher is None and not self.permanent and waited_us > self.limits.linger_us

    def close(self) -> None:
        """The stream ends: every cursor drains and stops."""
        self.closed = True
        for rendition in list(self.renditions.values()):
            self._drop(rendition)
        self.alternatives.close()
        self.units.close()
        self.changed.fire()
